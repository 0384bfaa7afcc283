"""Which model answered: the identity of a checkpoint folder by content, so that a renamed copy is the same model."""

import hashlib
from pathlib import Path

_SUFFIXES = frozenset({".json", ".safetensors", ".jinja", ".txt", ".model"})


def folder_sha256(folder: Path) -> str:
    """The hash of every configuration, vocabulary, template and weight file, with their names but not their place.

    Reads the weights whole: about a second for each gigabyte.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in _SUFFIXES:
            with path.open("rb") as stream:
                digest.update(f"{path.name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\0".encode())
    return digest.hexdigest()
