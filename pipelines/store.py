"""Artifacts on disk: a folder per fingerprint that exists whole or not at all.

A stage writes into `.partial/<stage>-<fingerprint>`, which outlives a kill so that the stage can resume there. The
manifest (sizes and sha256 of every file) is written last, then the folder is renamed to its place. One writer per
fingerprint: a lock file held by the writing process, released by the kernel when that process ends, however it ends.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import StoreError

MANIFEST = "manifest.json"
LOG = "log.txt"


@dataclass(frozen=True)
class Artifact:
    """A finished artifact: its folder and its manifest."""

    path: Path
    manifest: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        return str(self.manifest["fingerprint"])

    @property
    def values(self) -> dict[str, Any]:
        """What the stage measured about itself, by name."""
        return dict(self.manifest["values"])

    def check_sizes(self) -> None:
        """Every file is there at its recorded size; raises StoreError with the first that is not."""
        for name, recorded in self.manifest["files"].items():
            _check_size(self.path, name, recorded["size"])

    def verify(self) -> None:
        """Every file still has the bytes that the manifest recorded.

        Raises:
            StoreError: a file is missing or differs; names it.
        """
        self.check_sizes()
        for name, recorded in self.manifest["files"].items():
            if sha256_of(self.path / name) != recorded["sha256"]:
                raise StoreError(f"{self.path / name} differs from its manifest (sha256). {_remedy(self.path)}")


class Store:
    """The artifacts below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, stage: str, fingerprint: str) -> Path:
        return self.root / stage / fingerprint[:20]

    def find(self, stage: str, fingerprint: str) -> Artifact | None:
        """The finished artifact, its files present at their recorded sizes; None where there is none.

        Raises:
            StoreError: it was finished, and has since lost or changed a file.
        """
        path = self.path(stage, fingerprint)
        if not (path / MANIFEST).exists():
            return None
        artifact = Artifact(path, json.loads((path / MANIFEST).read_text()))
        artifact.check_sizes()
        return artifact

    @contextmanager
    def writing(self, stage: str, fingerprint: str) -> Iterator[Path]:
        """The partial folder of this fingerprint, held by this process alone.

        Raises:
            StoreError: another process is writing the same artifact; names its pid.
        """
        partial = self.root / ".partial" / f"{stage}-{fingerprint[:20]}"
        partial.mkdir(parents=True, exist_ok=True)
        with open(f"{partial}.lock", "a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise StoreError(
                    f"{stage} {fingerprint[:20]} is being written by process {lock.read().strip() or 'unknown'}; "
                    "wait for it to end, or stop it, then start again"
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield partial

    def commit(self, partial: Path, manifest: dict[str, Any]) -> Artifact:
        """Seals the partial folder: the manifest last, then one rename."""
        names = sorted(str(p.relative_to(partial)) for p in partial.rglob("*") if p.is_file())
        files = {
            name: {"size": (partial / name).stat().st_size, "sha256": sha256_of(partial / name)}
            for name in names
            if name not in (LOG, MANIFEST)
        }
        manifest = manifest | {"files": files}
        write_atomic(partial / MANIFEST, json.dumps(manifest, indent=2, allow_nan=False))
        path = self.path(manifest["stage"], manifest["fingerprint"])
        path.parent.mkdir(parents=True, exist_ok=True)
        os.rename(partial, path)
        return Artifact(path, manifest)


def write_atomic(path: Path, text: str) -> None:
    """The file holds the old text or the new, never a part."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_size(folder: Path, name: str, expected: int) -> None:
    """Raises StoreError where a file is missing or of another size."""
    try:
        found = (folder / name).stat().st_size
    except FileNotFoundError:
        raise StoreError(f"{folder / name} is missing. {_remedy(folder)}") from None
    if found != expected:
        raise StoreError(f"{folder / name} has {found} bytes, its manifest says {expected}. {_remedy(folder)}")


def _remedy(folder: Path) -> str:
    return f"Remove the artifact to have it rebuilt: rm -r {folder}"
