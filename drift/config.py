"""What every frozen config shares: the mark of a runtime knob, and one check of choices and ranges. Light: no torch."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from drift.errors import closest

# For `field(metadata=RUNTIME)`: a knob of how it runs, not of what comes out, so it stands in no hash of a config.
RUNTIME: Mapping[str, bool] = {"identity": False}


def identity_of(config: Any) -> dict[str, Any]:
    """The fields of a config by name, those marked RUNTIME left out; nested configs stay as they are."""
    return {f.name: getattr(config, f.name) for f in fields(config) if f.metadata.get("identity", True)}


def faults(config: Any, *ranges: tuple[str, bool, str]) -> list[str]:
    """What is wrong with a config: values that their Literal does not name, and ranges that don't hold.

    Args:
        ranges: (field, whether its value is fine, what is expected).
    """
    values = vars(config)
    choices = {
        name: get_args(kind) for name, kind in get_type_hints(type(config)).items() if get_origin(kind) is Literal
    }
    unknown = [
        f"unknown {name} {values[name]!r}; {closest(str(values[name]), known)}"
        for name, known in choices.items()
        if values[name] not in known
    ]
    return unknown + [f"{name} is {values[name]!r}, expected {expected}" for name, ok, expected in ranges if not ok]
