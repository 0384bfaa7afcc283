"""Artifacts on disk: a folder per fingerprint that exists whole or not at all.

A stage writes into `.partial/<stage>-<fingerprint>`, which outlives a kill so that the stage can resume there. The
manifest (sizes and sha256 of every file, hashes of what it was made from) is written last, then the folder is renamed
to its place. One writer per fingerprint, on a filesystem that several hosts may share: see `pipelines.lease`. What is
taken from the store is looked at first: see `pipelines.integrity`. Nothing is ever deleted for being damaged: it goes
to `.quarantine`.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drift.files import is_part, write_whole
from pipelines import integrity
from pipelines.errors import DamageError, OutdatedError, StoreError
from pipelines.integrity import LINKS, LOG, MANIFEST, SEAL, File, Record, content, seal_of
from pipelines.layout import SUMMARY
from pipelines.lease import BEAT_SECONDS, EXPIRY_SECONDS, Holder, Lease
from pipelines.manifests import Entry, parsed

__all__ = ["LOG", "MANIFEST", "Artifact", "Store"]
log = logging.getLogger(__name__)
_WEIGHTS = ".safetensors"


@dataclass(frozen=True)
class Artifact:
    """A finished artifact: its folder, its manifest, and which files' bytes were given up (pipelines.retention)."""

    path: Path
    manifest: dict[str, Any]
    evicted: frozenset[str] = frozenset()

    @property
    def fingerprint(self) -> str:
        return str(self.manifest["fingerprint"])

    @property
    def values(self) -> dict[str, Any]:
        """What the stage measured about itself, by name."""
        return dict(self.manifest["values"])

    @property
    def present(self) -> dict[str, Entry]:
        """What the manifest says of the files whose bytes are there."""
        return {name: entry for name, entry in self.manifest["files"].items() if name not in self.evicted}

    @property
    def content(self) -> str:
        """The hash of what it holds, by which those that are made from it are linked to it."""
        return content(self.manifest)


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
        """The finished artifact, its manifest and its list of files in order; None where there is none.

        Raises:
            DamageError: it was finished and is damaged since.
            StoreError: its folder is a link, or may not be read.
        """
        seen = self._look(stage, fingerprint)
        return seen and seen[0]

    def usable(self, stage: str, fingerprint: str) -> Artifact | None:
        """As `find`, for a plan: what is known to have changed is read again, what is damaged counts as not there."""
        try:
            seen = self._look(stage, fingerprint)
            if seen is not None and (record := self._record(seen[0])) is not None:
                _check_record(*seen, record)
        except DamageError as error:
            log.warning("%s", error)
            return None
        return seen and seen[0]

    def take(self, stage: str, fingerprint: str, inputs: Mapping[str, Artifact]) -> Artifact | None:
        """The artifact for use: as `find`, with all that changed since it was last read read again.

        Args:
            inputs: what it was made from.
        Raises:
            DamageError: bytes differ.
            OutdatedError: an input is not the one that it was made from.
            StoreError: as `find`.
        """
        seen = self._look(stage, fingerprint)
        if seen is None:
            return None
        artifact, found = seen
        known = self._record(artifact)
        if known is not None:
            _check_record(artifact, found, known)
        else:
            _check_all(artifact)
        made_from = artifact.manifest.get(LINKS) or (known.links if known else _links(inputs))
        for name in inputs:
            if made_from.get(name) != inputs[name].content:
                raise OutdatedError(f"{artifact.path} was made from another {name} than is in the store now")
        now = Record(seal_of(artifact.manifest), made_from, integrity.marks_of(found))
        if now != known:
            now.write(self.record(artifact.path))
        return artifact

    def check(self, artifact: Artifact) -> None:
        """What is about to be read is what was sealed; only what changed since it was last read is read again.

        Raises:
            DamageError: it is not.
        """
        seen = self._look(artifact.manifest["stage"], artifact.fingerprint)
        if seen is None:
            raise DamageError(f"{artifact.path} has gone")
        known = self._record(artifact)
        if known is None:
            _check_all(seen[0])
        else:
            _check_record(*seen, known)

    def claim(self, stage: str, fingerprint: str, inputs: Mapping[str, Artifact]) -> Artifact | None:
        """The artifact, or None where it is to be made, what is damaged set aside; the caller holds its lease."""
        try:
            return self.take(stage, fingerprint, inputs)
        except OutdatedError:
            return None  # it stays until another takes its place
        except DamageError as error:
            self._set_aside(self.path(stage, fingerprint), error.args[0])
            return None

    def record(self, path: Path) -> Path:
        """Where it is kept that the artifact in a place was found whole."""
        return self.root / ".verified" / f"{path.parent.name}-{path.name}"

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
        """Seals the partial folder: the manifest last, then one rename; what was there before is gone then."""
        for path in partial.rglob(".*.part"):
            if is_part(path.name):
                path.unlink()
        found = integrity.inventory(partial)
        files = {name: integrity.entry_of(partial, name, found[name]) for name in sorted(found)}
        path = self.path(manifest["stage"], manifest["fingerprint"])
        path.parent.mkdir(parents=True, exist_ok=True)
        is_replaced = (path / MANIFEST).exists()
        if is_replaced:
            manifest = manifest | {"remade": _compared(path, self._evicted(path), files)}
        manifest = integrity.sealed(json.loads(json.dumps(manifest | {"files": files}, allow_nan=False)))
        write_whole(partial / MANIFEST, json.dumps(manifest, indent=2, allow_nan=False))
        if is_replaced:
            self._replace(path, partial)
        else:
            if os.path.lexists(path):
                self._set_aside(path, f"{path} had no {MANIFEST}")
            os.rename(partial, path)
        for known in (self._eviction(path), self.trust(path), self._of(partial)):
            known.unlink(missing_ok=True)
        artifact = Artifact(path, manifest)
        Record(manifest[SEAL], manifest.get(LINKS, {}), integrity.marks_of(found)).write(self.record(path))
        return artifact

    def evict(self, artifact: Artifact) -> Artifact:
        """Gives up an artifact's weights, the list of them first; the artifact as it is then."""
        gone = frozenset(name for name in artifact.manifest["files"] if name.endswith(_WEIGHTS))
        if gone:
            write_whole(self._eviction(artifact.path), json.dumps(sorted(gone)))
        for name in gone:
            (artifact.path / name).unlink(missing_ok=True)
        return Artifact(artifact.path, artifact.manifest, gone)

    def remove(self, path: Path) -> None:
        """Removes an artifact, or what is left of one, with what is known of it."""
        shutil.rmtree(path)
        for known in (self.record(path), self._eviction(path), self.trust(path)):
            known.unlink(missing_ok=True)

    def trust(self, path: Path) -> Path:
        """Where it is kept of which code an artifact counts, beside the one that made it (`pipelines.staleness`)."""
        return self.root / ".trusted" / f"{path.parent.name}-{path.name}.json"

    def begin(self, stage: str, fingerprint: str, code: str) -> Path:
        """The folder to make an artifact in; what other code has left there is no start (`code`: empty for any)."""
        partial = self.partial(stage, fingerprint)
        of = self._of(partial)
        if code and of.exists() and of.read_text() != code:
            shutil.rmtree(partial, ignore_errors=True)
            log.info("%s was begun by other code, and is begun anew", partial.name)
        partial.mkdir(parents=True, exist_ok=True)
        if code:
            write_whole(of, code)
        return partial

    @staticmethod
    def _of(partial: Path) -> Path:
        """Where it is kept which code is making an artifact."""
        return partial.with_suffix(".code")

    @staticmethod
    def _replace(path: Path, partial: Path) -> None:
        """Puts an artifact in another's place; killed in between, the place is free and the artifact is made again."""
        before = partial.with_suffix(".before")
        shutil.rmtree(before, ignore_errors=True)
        os.rename(path, before)
        os.rename(partial, path)
        shutil.rmtree(before)

    def _eviction(self, path: Path) -> Path:
        """Where it is kept which files of an artifact were given up."""
        return self.root / ".evicted" / f"{path.parent.name}-{path.name}.json"

    def _evicted(self, path: Path) -> frozenset[str]:
        try:
            return frozenset(json.loads(self._eviction(path).read_text()))
        except (FileNotFoundError, ValueError):  # without the list its weights are missing, and it is made again
            return frozenset()

    def _lease(self, stage: str, fingerprint: str) -> Lease:
        path = self.partial(stage, fingerprint).with_suffix(".lease")
        return self._leases.setdefault(path, Lease(path, self.beat, self.expiry))

    def places(self) -> list[Path]:
        """Where an artifact lies, or should."""
        return sorted(path for path in self.root.glob("[!.]*/*") if path.is_symlink() or path.is_dir())

    def manifests(self) -> Iterator[Artifact]:
        """Every finished artifact by its manifest alone; at its files nobody looks.

        Raises:
            DamageError: a manifest is not what was written.
        """
        for path in self.root.glob(f"[!.]*/*/{MANIFEST}"):
            yield self.manifest_of(path.parent)

    def manifest_of(self, path: Path) -> Artifact:
        """The finished artifact in a place by its manifest alone.

        Raises:
            DamageError: the manifest is not what was written.
        """
        return Artifact(path, parsed((path / MANIFEST).read_bytes(), path))

    def open(self, path: Path) -> tuple[Artifact, dict[str, File]] | None:
        """Whatever artifact lies in a place, with its files; None where nothing was finished there.

        Raises:
            DamageError, StoreError: as `find`.
        """
        if path.is_symlink():
            raise StoreError(
                f"{path} is a link to {os.readlink(path)}, and an artifact lies in the store itself. Remove the link: "
                f"rm {path}. To keep artifacts on another disk, put the whole store there: store=FOLDER"
            )
        try:
            text = (path / MANIFEST).read_bytes()
            artifact = Artifact(path, parsed(text, path), self._evicted(path))
            found = {name: file for name, file in integrity.inventory(path).items() if name not in artifact.evicted}
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise StoreError(f"{error.filename} may not be read ({error.strerror}); give this user the right") from None
        integrity.check_listed(path, artifact.manifest | {"files": artifact.present}, found)
        return artifact, found

    def _look(self, stage: str, fingerprint: str) -> tuple[Artifact, dict[str, File]] | None:
        return self.open(self.path(stage, fingerprint))

    def _record(self, artifact: Artifact) -> Record | None:
        return Record.read(self.record(artifact.path))

    def _set_aside(self, path: Path, why: str) -> None:
        """Moves what lies in an artifact's place without being one; somebody may still want to look at it."""
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        aside = self.root / ".quarantine" / f"{path.parent.name}-{path.name}-{now}"
        aside.parent.mkdir(exist_ok=True)
        os.rename(path, aside)
        log.warning("%s: it was moved to %s and is made again", why, aside)


def _links(inputs: Mapping[str, Artifact]) -> dict[str, str]:
    return {name: artifact.content for name, artifact in inputs.items()}


def _check_record(artifact: Artifact, found: Mapping[str, File], known: Record) -> None:
    """All is as when it was last found whole, or is read again.

    Raises:
        DamageError: bytes differ, or a manifest of before there were seals was edited.
    """
    if SEAL not in artifact.manifest and known.seal != seal_of(artifact.manifest):
        raise DamageError(f"{artifact.path / MANIFEST} was changed since it was written")
    if known.marks != integrity.marks_of(found):
        _check_all(artifact)


def _check_all(artifact: Artifact) -> None:
    for name, recorded in artifact.present.items():
        integrity.check_bytes(artifact.path, name, recorded)


def _compared(path: Path, evicted: frozenset[str], files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Whether what was made again has the bytes that it had: the weights that were given up, or else every file."""
    was = parsed((path / MANIFEST).read_bytes(), path)["files"]
    compared = evicted or (was.keys() | files.keys()) - {SUMMARY}
    known: tuple[Mapping[str, Mapping[str, Any]], ...] = (was, files)
    differing = sorted(name for name in compared if len({each.get(name, {}).get("sha256") for each in known}) > 1)
    if differing:
        log.warning(
            "%s was made again and is not what it was: %s differ; what was made from it is made again too",
            path,
            ", ".join(differing),
        )
    return {"same": not differing, "differing": differing}
