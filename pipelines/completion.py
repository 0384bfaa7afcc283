"""What a shell completes behind `drift COMMAND`: keys, the choices of conf's groups, tables.

bash parts words at `=`, zsh and fish don't; both are understood. Nothing is composed: a key may be one that the choices
made so far don't have.
"""

from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from drift import words

CONF = Path(__file__).resolve().parent.parent / "conf"


def complete(command: str, keys: str, given: Sequence[str], incomplete: str) -> list[str]:
    """The words that may stand where `incomplete` does.

    Args:
        command: the sub-command.
        keys: "module:dataclass" whose fields are its keys; empty where they are Hydra's.
        given: the words before.
    """
    key, found, start = incomplete.partition("=")
    if len(given) > 1 and given[-1] == "=":
        return _values(given[-2], keys, incomplete)
    if not incomplete and given and (values := _values(given[-1], keys, "")):
        return values  # click takes a lone `=` away
    if found:
        return [f"{key}={value}" for value in _values(key, keys, start)]
    return _starting(_words(command, keys), incomplete)


def _words(command: str, keys: str) -> Iterable[str]:
    if keys:
        return words.keys(_load(keys))
    from pipelines.overrides import known_keys

    tables = [path.stem for path in (CONF / "table").glob("*.yaml")] if command == "table" else []
    groups = [f"{path.name}=" for path in CONF.iterdir() if path.is_dir() and path.name != "table"]
    return [*tables, *groups, *(f"{key}=" for key in known_keys() if not (CONF / key).is_dir())]


def _values(key: str, keys: str, start: str) -> list[str]:
    if keys:
        return _starting(words.choices(_load(keys), key), start)
    return _starting((path.stem for path in (CONF / key).glob("[!_]*.yaml")), start)


def _starting(known: Iterable[str], start: str) -> list[str]:
    return sorted(word for word in known if word.startswith(start))


def _load(place: str) -> Any:
    module, name = place.split(":")
    return getattr(import_module(module), name)
