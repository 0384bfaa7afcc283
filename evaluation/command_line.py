"""Typed `key=value` command lines: a command is a frozen dataclass, its fields are the keys."""

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from drift.errors import DriftError
from evaluation.arguments import parse_arguments, parse_switch

Command = TypeVar("Command")


class ArgumentError(DriftError):
    """A value of the command line is of the wrong kind."""


def parse(words: Sequence[str], command: type[Command]) -> Command:
    """The command that `key=value` words describe; commas separate the entries of a tuple, `none` is None.

    Raises:
        DataError: an unknown, repeated or missing key.
        ArgumentError: values that their types can't read, all of them at once.
    """
    known: tuple[Field, ...] = fields(command)  # type: ignore[arg-type]
    hints = get_type_hints(command)
    required = [f.name for f in known if f.default is MISSING and f.default_factory is MISSING]
    texts = parse_arguments(words, required, {f.name: "" for f in known if f.name not in required})
    given = {word.partition("=")[0] for word in words}
    values: dict[str, Any] = {}
    problems = []
    for name in given:
        try:
            values[name] = _read(name, texts[name], hints[name])
        except ValueError as error:
            problems.append(f"{name}={texts[name]!r}: {error}")
    if problems:
        raise ArgumentError("; ".join(sorted(problems)))
    return command(**values)


def run(main: Callable[[Sequence[str]], str]) -> None:
    """Run a command on this process's arguments: its result to stdout, a DriftError as one line and status 2."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        result = main(sys.argv[1:])
    except DriftError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    sys.stdout.write(f"{result}\n")


def _read(name: str, text: str, kind: Any) -> Any:
    options = get_args(kind)
    if kind is bool:
        return parse_switch(name, text)
    if NoneType in options:
        return None if text == "none" else _read(name, text, next(o for o in options if o is not NoneType))
    if options and options[-1] is Ellipsis:
        return tuple(_read(name, part, options[0]) for part in text.split(",") if part)
    return kind(text)
