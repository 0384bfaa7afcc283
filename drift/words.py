"""Typed `key=value` command lines: a command is a frozen dataclass, its fields are the keys, its docstring the help.

The words look like Hydra's overrides, so every command of the project is written in one way. In `drift`, because each
layer has commands; nothing that `import drift` brings imports this.
"""

import inspect
import logging
import re
import sys
import textwrap
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, Field, fields
from functools import partial
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from drift.errors import DriftError, closest

Command = TypeVar("Command")

HELP = ("--help", "-h")
POSITIONAL = {"positional": True}  # metadata of the field that takes the words which are no key=value
OPEN = POSITIONAL | {"open": True}  # of one that takes a key=value too whose key the command does not have
_filled = partial(textwrap.fill, width=100, initial_indent="  ", subsequent_indent=" " * 6, break_on_hyphens=False)
_EXPECTED = {"float_parsing": "a number", "int_parsing": "a whole number", "bool_parsing": "true or false"}


class ArgumentError(DriftError):
    """The words of a command don't fit it; lists every fault."""


def keys_of(owner: type) -> dict[str, type]:
    """Metadata of a mapping field whose keys are the fields of the dataclass `owner`, each given or left out."""
    return {"keys_of": owner}


def parse(words: Sequence[str], command: type[Command]) -> Command:
    """The command that the words describe; commas separate a tuple's entries, `none` is None, `key=` is not given.

    Raises:
        ArgumentError: words that are no key=value, unknown, repeated or missing keys, values that their types refuse:
            all of them in one message.
    """
    own, known = fields(command), _kinds(command)  # type: ignore[arg-type]
    is_open = any("open" in f.metadata for f in own)
    given, loose = _split(words, known if is_open else None)
    values: dict[str, Any] = {}
    faults: list[str] = []
    positional = next((f.name for f in own if "positional" in f.metadata), None)
    if positional is not None:
        values[positional] = TypeAdapter(known.pop(positional)).validate_python(tuple(loose))
    else:
        faults += [f"argument {word!r} is not key=value; {closest(word, known)}" for word in loose]
    for key, texts in given.items():
        if key not in known:
            faults.append(f"unknown argument {key!r}: {closest(key, known)}")
        elif len(texts) > 1:
            faults.append(f"argument {key!r} is given twice ({', '.join(map(repr, texts))}); give it once")
        elif texts[0]:
            try:
                values[key] = TypeAdapter(known[key]).validate_python(_raw(known[key], texts[0]))
            except ValidationError as error:
                faults.append(f"{key}={texts[0]!r}; {_expected(error, texts[0], known[key])}")
    absent = [f.name for f in own if _is_required(f) and f.name != positional and not any(given.get(f.name, ()))]
    if absent:
        faults.append(f"missing {', '.join(f'{key}=...' for key in absent)}; known: {', '.join(known)}")
    if faults:
        raise ArgumentError("; ".join(faults))
    for group in own:
        if "keys_of" in group.metadata:
            names = [f.name for f in fields(group.metadata["keys_of"])]
            values[group.name] = {name: values.pop(name) for name in names if name in values}
    return command(**values)


def run(
    words: Sequence[str], command: type[Command], body: Callable[[Command], str], *, level: int = logging.INFO
) -> int:
    """Runs a command on its words; the exit status.

    0 with the body's text on standard output, 2 with a DriftError as one line on standard error, 130 after Ctrl-C;
    --help prints the command's docstring and keys.
    """
    if any(word in HELP for word in words):
        sys.stdout.write(help_text(command))
        return 0
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    try:
        result = body(parse(words, command))
    except DriftError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130
    sys.stdout.write(f"{result}\n")
    return 0


def help_text(command: type) -> str:
    """The docstring of a command, and below it each key with its choices, what it means, and its default."""
    text, meanings = _documented(command)
    own = {f.name: f for f in fields(command)}
    lines = []
    for key, kind in _kinds(command).items():
        shown = f"{key}={'|'.join(_choices(kind)) or '...'}"
        if key in own and "positional" in own[key].metadata:
            shown = f"{key.upper()} ..."
        note = _default(own[key]) if key in own else ""
        lines.append(_filled(f"{shown}  {meanings.get(key, '')}{note}"))
    return f"{text}\n\nKeys:\n" + "\n".join(lines) + "\n"


def keys(command: type) -> list[str]:
    """The keys of a command, `=` behind each: what a shell completes."""
    return [f"{key}=" for key in _kinds(command)]


def choices(command: type, key: str) -> tuple[str, ...]:
    """What a key of a command may be, where that can be listed."""
    return _choices(_kinds(command).get(key))


def _split(words: Sequence[str], known: Collection[str] | None) -> tuple[dict[str, list[str]], list[str]]:
    """The values by key in the order given, and the words that are no key=value (a path may hold a `=`).

    Args:
        known: the keys that count as such; None is all.
    """
    given: dict[str, list[str]] = {}
    loose = []
    for word in words:
        key, found, text = word.partition("=")
        if found and key.isidentifier() and (known is None or key in known):
            given.setdefault(key, []).append(text)
        else:
            loose.append(word)
    return given, loose


def _kinds(command: type) -> dict[str, Any]:
    """The type of each key, those of a `keys_of` field in its place."""
    hints = get_type_hints(command, include_extras=True)
    kinds: dict[str, Any] = {}
    for item in fields(command):
        owner = item.metadata.get("keys_of")
        kinds |= _kinds(owner) if owner else {item.name: hints[item.name]}
    return kinds


def _is_required(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _raw(kind: Any, text: str) -> Any:
    """The text as pydantic takes it: cut at the commas of a tuple, `none` as None."""
    options = get_args(kind)
    if NoneType in options:
        return None if text == "none" else _raw(next(o for o in options if o is not NoneType), text)
    if get_origin(kind) is tuple:
        return tuple(_raw(options[0], part) for part in text.split(",") if part)
    return text


def _expected(error: ValidationError, text: str, kind: Any) -> str:
    """What the type expected, in our words where pydantic's name Python."""
    found = error.errors(include_url=False)[0]
    if found["type"] == "literal_error":
        return closest(text, _choices(kind))
    wanted = found["msg"].removeprefix("Input should be ")
    return f"expected {_EXPECTED.get(found['type'], wanted)}"


def _choices(kind: Any) -> tuple[str, ...]:
    """The choices of a Literal, also inside a tuple or an optional."""
    if get_origin(kind) is Literal:
        return tuple(map(str, get_args(kind)))
    return tuple(choice for option in get_args(kind) for choice in _choices(option))


def _default(item: Field[Any]) -> str:
    if _is_required(item):
        return " (required)"
    default = ",".join(map(str, item.default)) if isinstance(item.default, tuple) else item.default
    return "" if default in (None, "", MISSING) else f" [{default}]"


def _documented(command: type) -> tuple[str, dict[str, str]]:
    """The docstring without its `Attributes:`, and the meaning of each of these, of a `keys_of` field's too."""
    text, _, attributes = inspect.cleandoc(command.__doc__ or "").partition("Attributes:\n")
    meanings: dict[str, str] = {}
    for names, meaning in re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE):
        meanings |= dict.fromkeys(names.split(", "), " ".join(meaning.split()))
    for item in fields(command):
        if "keys_of" in item.metadata:
            meanings |= _documented(item.metadata["keys_of"])[1]
    return text.strip(), meanings
