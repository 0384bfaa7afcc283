"""What an artifact IS: sha256 of its stage, the stage's version, its typed parameters and its inputs' fingerprints.

Nothing about where or how fast it ran is hashed: fields marked `drift.config.RUNTIME` are left out. Parameters must be
typed before they come here: a raw `1` and `1.0` hash apart.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from drift.config import identity_of


def canonical(value: Any, whole: bool = False) -> Any:
    """A parameter as plain JSON data, dataclasses as objects and tuples as lists.

    Args:
        whole: with the fields that say how a thing runs; they are recorded and never hashed.
    Raises:
        TypeError: the value has no canonical form (a path, a tensor): it is no parameter.
    """
    if value is None or isinstance(value, (str, bool, int, float)):  # nine in ten, so they come first
        return value
    if is_dataclass(value) and not isinstance(value, type):
        kept = {f.name: getattr(value, f.name) for f in fields(value)} if whole else identity_of(value)
        return {name: canonical(item, whole) for name, item in kept.items()}
    if isinstance(value, Mapping):
        return {str(key): canonical(item, whole) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(item, whole) for item in value]
    raise TypeError(f"{type(value).__name__} can't be part of an artifact's identity: {value!r}")


def fingerprint(stage: str, version: int, params: Any, inputs: Mapping[str, str]) -> str:
    """64 hex digits that change when, and only when, the artifact could."""
    identity = {"stage": stage, "version": version, "params": canonical(params), "inputs": dict(inputs)}
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
