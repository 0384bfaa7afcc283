"""Artifacts on disk: a folder per fingerprint that exists whole or not at all.

A stage writes into `.partial/<stage>-<fingerprint>`, which outlives a kill so that the stage can resume there. The
manifest (sizes and sha256 of every file) is written last, then the folder is renamed to its place. One writer per
fingerprint, on a filesystem that several hosts may share: see `pipelines.lease`.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from drift.files import sha256_of, write_whole
from pipelines.errors import StoreError
from pipelines.lease import BEAT_SECONDS, EXPIRY_SECONDS, Holder, Lease

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
LOG = "log.txt"
EVICTED = "evicted.json"  # the names of the files that were given up (pipelines.retention)
WEIGHTS = ".safetensors"


class _File(TypedDict):
    size: int
    sha256: str


class _Manifest(TypedDict):
    """What a manifest must have to be read; it records more."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]
    stage: str
    fingerprint: str
    values: dict[str, Any]
    files: dict[str, _File]


_MANIFEST = TypeAdapter(_Manifest)


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

    @property
    def evicted(self) -> frozenset[str]:
        """The files whose hashes are kept and whose bytes are not."""
        path = self.path / EVICTED
        return frozenset(json.loads(path.read_text())) if path.exists() else frozenset()

    def check_sizes(self) -> None:
        """Every file is there at its recorded size, or was given up; raises StoreError with the first that is not."""
        for name, recorded in self._present().items():
            _check_size(self.path, name, recorded["size"])

    def verify(self) -> None:
        """Every file still has the bytes that the manifest recorded.

        Raises:
            StoreError: a file is missing or differs; names it.
        """
        self.check_sizes()
        for name, recorded in self._present().items():
            if sha256_of(self.path / name) != recorded["sha256"]:
                raise StoreError(f"{self.path / name} differs from its manifest (sha256). {_remedy(self.path)}")

    def _present(self) -> dict[str, _File]:
        evicted = self.evicted
        return {name: recorded for name, recorded in self.manifest["files"].items() if name not in evicted}


class Store:
    """The artifacts below one folder.

    Args:
        beat, expiry: of the leases (`pipelines.lease`).
    """

    def __init__(self, root: Path, beat: float = BEAT_SECONDS, expiry: float = EXPIRY_SECONDS) -> None:
        self.root, self.beat, self.expiry = root, beat, expiry
        self._leases: dict[Path, Lease] = {}

    def path(self, stage: str, fingerprint: str) -> Path:
        return self.root / stage / fingerprint[:20]

    def partial(self, stage: str, fingerprint: str) -> Path:
        """Where an artifact is made; what an earlier, killed process has left there waits to be resumed."""
        return self.root / ".partial" / f"{stage}-{fingerprint[:20]}"

    def error(self, stage: str, fingerprint: str) -> Path:
        """Where a worker says why it could not make the artifact."""
        return self.partial(stage, fingerprint).with_suffix(".error")

    def find(self, stage: str, fingerprint: str) -> Artifact | None:
        """The finished artifact, its files present at their recorded sizes; None where there is none.

        Raises:
            StoreError: it was finished and is damaged since, or its folder is a link.
        """
        path = self.path(stage, fingerprint)
        if path.is_symlink():
            raise StoreError(
                f"{path} is a link to {os.readlink(path)}, and an artifact lies in the store itself. Remove the link: "
                f"rm {path}. To keep artifacts on another disk, put the whole store there: store=FOLDER"
            )
        try:
            text = (path / MANIFEST).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        artifact = Artifact(path, _parsed(text, path, stage, fingerprint))
        artifact.check_sizes()
        return artifact

    def holder(self, stage: str, fingerprint: str) -> Holder | None:
        """The living process that makes this artifact now, on whichever host."""
        return self._lease(stage, fingerprint).holder()

    @contextmanager
    def holding(self, stage: str, fingerprint: str) -> Iterator[None]:
        """Makes this process the only one that may write the artifact; waits for another that is writing it."""
        (self.root / ".partial").mkdir(parents=True, exist_ok=True)
        with self._lease(stage, fingerprint).held(f"{stage} {fingerprint[:20]}"):
            if self.path(stage, fingerprint).parent.is_dir():
                os.listdir(self.path(stage, fingerprint).parent)  # NFS may still remember that it was not there
            yield

    @contextmanager
    def writing(self, stage: str, fingerprint: str) -> Iterator[Path]:
        """The partial folder of this fingerprint, held by this process alone."""
        with self.holding(stage, fingerprint):
            partial = self.partial(stage, fingerprint)
            partial.mkdir(exist_ok=True)
            yield partial

    def commit(self, partial: Path, manifest: dict[str, Any]) -> Artifact:
        """Seals the partial folder: the manifest last, then one rename."""
        files: dict[str, _File] = {
            name: {"size": (partial / name).stat().st_size, "sha256": sha256_of(partial / name)}
            for name in _contents(partial)
        }
        manifest = manifest | {"files": files}
        path = self.path(manifest["stage"], manifest["fingerprint"])
        path.parent.mkdir(parents=True, exist_ok=True)
        before = self.find(manifest["stage"], manifest["fingerprint"])
        if before is not None:
            manifest["remade"] = _compared(before, files)
        write_whole(partial / MANIFEST, json.dumps(manifest, indent=2, allow_nan=False))
        if before is not None:
            shutil.rmtree(path)
        elif os.path.lexists(path):
            self._set_aside(path)
        os.rename(partial, path)
        return Artifact(path, manifest)

    def evict(self, artifact: Artifact) -> int:
        """Gives up an artifact's weights, the list of them first; how many bytes that frees."""
        sizes = {name: f["size"] for name, f in artifact.manifest["files"].items() if name.endswith(WEIGHTS)}
        write_whole(artifact.path / EVICTED, json.dumps(sorted(sizes)))
        for name in sizes:
            (artifact.path / name).unlink(missing_ok=True)
        return sum(sizes.values())

    def _lease(self, stage: str, fingerprint: str) -> Lease:
        path = self.partial(stage, fingerprint).with_suffix(".lease")
        return self._leases.setdefault(path, Lease(path, self.beat, self.expiry))

    def _set_aside(self, path: Path) -> None:
        """Moves what lies in an artifact's place without being one; somebody may still want to look at it."""
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        aside = self.root / ".quarantine" / f"{path.parent.name}-{path.name}-{now}"
        aside.parent.mkdir(exist_ok=True)
        os.rename(path, aside)
        log.warning("%s had no %s: it was moved to %s and made again", path, MANIFEST, aside)


def _compared(before: Artifact, files: dict[str, _File]) -> dict[str, Any]:
    """Whether weights that were given up came out again with the same bytes."""
    was = before.manifest["files"]
    differing = sorted(name for name in before.evicted if name not in files or files[name] != was[name])
    if differing:
        log.warning(
            "%s was made again and is not what it was: %s differ; what was read from it before is of the other bytes",
            before.path,
            ", ".join(differing),
        )
    return {"same": not differing, "differing": differing}


def _parsed(text: bytes, path: Path, stage: str, fingerprint: str) -> dict[str, Any]:
    """The manifest of this very artifact.

    Raises:
        StoreError: it is not JSON, lacks a key, has a value of another type, or is another artifact's.
    """
    try:
        manifest = json.loads(text)
        _MANIFEST.validate_python(manifest)
    except ValueError as error:  # of JSON, of Unicode and of pydantic alike
        why = " ".join(str(error).split())
        raise StoreError(f"{path / MANIFEST} is damaged: {why}. {_remedy(path)}") from None
    if (manifest["stage"], manifest["fingerprint"]) != (stage, fingerprint):
        raise StoreError(
            f"{path / MANIFEST} is of {manifest['stage']} {manifest['fingerprint']}, expected {stage} {fingerprint}. "
            f"{_remedy(path)}"
        )
    if not manifest["files"] and _contents(path):
        raise StoreError(f"{path / MANIFEST} lists no files, and {_contents(path)[0]} is there. {_remedy(path)}")
    return manifest


def _contents(folder: Path) -> list[str]:
    """The files of an artifact by name, its log and manifest left out."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return [name for name in names if name not in (LOG, MANIFEST) and not name.startswith(f".{MANIFEST}.")]


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
