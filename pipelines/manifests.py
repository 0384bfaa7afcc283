"""A manifest as it is read back: what it must have, and that it is whole, unedited and of the place where it lies."""

import json
from pathlib import Path
from typing import Any, NotRequired

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from pipelines.errors import DamageError
from pipelines.integrity import MANIFEST, SEAL, seal_of


class Entry(TypedDict):
    """What a manifest says of a file."""

    size: int
    sha256: str
    link: NotRequired[str]


class _Manifest(TypedDict):
    """What a manifest must have to be read; it records more."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]
    stage: str
    fingerprint: str
    values: dict[str, Any]
    files: dict[str, Entry]
    links: NotRequired[dict[str, str]]
    seal: NotRequired[str]


_MANIFEST = TypeAdapter(_Manifest)


def parsed(text: bytes, path: Path) -> dict[str, Any]:
    """The manifest of the artifact that lies in this place.

    Raises:
        DamageError: it is not JSON, lacks a key, has a value of another type, was edited, or is another artifact's.
    """
    try:
        manifest = json.loads(text)
        _MANIFEST.validate_python(manifest)
    except (ValueError, RecursionError) as error:  # of JSON, of Unicode and of pydantic alike
        why = " ".join(str(error).split())
        raise DamageError(f"{path / MANIFEST} is damaged: {why}") from None
    found, expected = f"{manifest['stage']} {manifest['fingerprint'][:20]}", f"{path.parent.name} {path.name}"
    if found != expected:
        raise DamageError(f"{path / MANIFEST} is of {found}, expected {expected}")
    if manifest.get(SEAL, seal_of(manifest)) != seal_of(manifest):
        raise DamageError(f"{path / MANIFEST} was changed since it was sealed")
    return dict(manifest)
