"""Command-line arguments of the form key=value, checked against the keys that a command knows."""

from collections.abc import Sequence

from drift.errors import DataError, closest


def parse_arguments(words: Sequence[str], required: Sequence[str], defaults: dict[str, str]) -> dict[str, str]:
    """The values by key, defaults filled in.

    Raises:
        DataError: a word without `=`, an unknown or repeated key, or a required key that is absent.
    """
    known = [*required, *defaults]
    values: dict[str, str] = {}
    for word in words:
        key, found, value = word.partition("=")
        if not found:
            raise DataError(f"argument {word!r} is not key=value; {closest(key, known)}")
        if key not in known:
            raise DataError(f"unknown argument {key!r}: {closest(key, known)}")
        if key in values:
            raise DataError(f"argument {key!r} is given twice ({values[key]!r} and {value!r}); give it once")
        values[key] = value
    missing = [key for key in required if not values.get(key)]
    if missing:
        raise DataError(f"missing {', '.join(f'{key}=...' for key in missing)}; known: {', '.join(known)}")
    return {**defaults, **values}


def parse_switch(key: str, value: str) -> bool:
    """True or False for `true` and `false`.

    Raises:
        DataError: anything else.
    """
    if value not in ("true", "false"):
        raise DataError(f"{key}={value!r}; expected true or false")
    return value == "true"
