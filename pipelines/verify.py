"""Every byte of the store read and compared with what was sealed: drift verify [--results] [overrides]

A run reads again only what has changed by its size, times or inode; this reads all of it, as a failing disk wants. What
is damaged is named, and the next run sets it aside and makes it again. With --results it is the committed results that
are looked at: that they follow from the store, or without one that their numbers follow from the values which stand in
their own provenance.json. Status 1 where something is wrong.

Example:
    drift verify
    drift verify store=/mnt/store
    drift verify --results profile=lab
"""

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from drift.errors import closest
from pipelines import compose, integrity
from pipelines.errors import ConfigError, StoreError
from pipelines.integrity import LINKS, SEAL, File, Record
from pipelines.report.committed import check_results
from pipelines.session import guarded, rooted
from pipelines.store import Artifact, Store

log = logging.getLogger(__name__)
RESULTS = "--results"
Seen = Mapping[Path, tuple[Artifact, Mapping[str, File]]]


def main(words: Sequence[str]) -> int:
    """The command `drift verify`; the exit status."""
    return guarded(lambda: verify(words), words, __doc__)


def verify(words: Sequence[str]) -> int:
    """Looks at the store or at the results; 1 where something is wrong.

    Raises:
        ConfigError: an unknown option or override.
    """
    options = [word for word in words if word.startswith("-")]
    if unknown := [option for option in options if option != RESULTS]:
        raise ConfigError(f"unknown option {unknown[0]!r}: {closest(unknown[0], (RESULTS, '--help'))}")
    config = compose.load([word for word in words if word not in options])
    store = Store(rooted(config.store))
    if options:
        said, faults = check_results(rooted(config.results), store)
    else:
        said, faults = check_store(store)
    for fault in faults:
        log.error("%s", fault)
    log.info("%s; %s", said, f"{len(faults)} faults" if faults else "all is as it was sealed")
    return int(bool(faults))


def check_store(store: Store) -> tuple[str, list[str]]:
    """What was looked at, in one line, and every fault.

    Raises:
        StoreError: there is no artifact.
    """
    seen, faults = _opened(store)
    if not seen and not faults:
        raise StoreError(f"{store.root} holds no artifacts; make some first: make reproduce")
    made = {artifact.fingerprint: artifact for artifact, _ in seen.values()}
    faults |= dict(_differing(seen)) | dict(_unlinked(store, seen, made))
    for path, (artifact, found) in seen.items():
        record = store.record(path)
        links = _links(artifact, record, made)
        if path in faults:
            record.unlink(missing_ok=True)  # the next run reads it again
        elif links is not None:
            Record(integrity.seal_of(artifact.manifest), links, integrity.marks_of(found)).write(record)
    size = sum(file.size for _, found in seen.values() for file in found.values())
    return f"{len(seen)} artifacts of {size / 1e9:.2f} GB in {store.root} were read", list(faults.values())


def _opened(store: Store) -> tuple[Seen, dict[Path, str]]:
    seen, faults = {}, {}
    for path in store.places():
        try:
            found = store.open(path)
        except StoreError as error:
            faults[path] = str(error)
        else:
            if found is None:
                faults[path] = f"{path} has no manifest; a run sets it aside and makes it again"
            else:
                seen[path] = found
    return seen, faults


def _differing(seen: Seen) -> Iterator[tuple[Path, str]]:
    """The artifacts whose bytes are others, read by all cores at a time: hashing lets go of Python's lock."""

    def read(task: tuple[Path, str, Mapping[str, Any]]) -> tuple[Path, int, str]:
        path, name, recorded = task
        try:
            integrity.check_bytes(path, name, recorded)
        except StoreError as error:
            return path, recorded["size"], str(error)
        return path, recorded["size"], ""

    tasks = [(path, name, entry) for path, (a, _) in seen.items() for name, entry in a.present.items()]
    size = sum(recorded["size"] for _, _, recorded in tasks)
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=size, unit="B", unit_scale=True, desc="verify", disable=None) as progress,
    ):
        for path, count, fault in pool.map(read, tasks):
            progress.update(count)
            if fault:
                yield path, fault


def _unlinked(store: Store, seen: Seen, made: Mapping[str, Artifact]) -> Iterator[tuple[Path, str]]:
    """The artifacts that were made from another input than lies there now, or whose old manifest was edited."""
    for path, (artifact, _) in seen.items():
        known = Record.read(store.record(path))
        if SEAL not in artifact.manifest and known and known.seal != integrity.seal_of(artifact.manifest):
            yield path, f"{path} has a manifest that was changed since; a run sets it aside and makes it again"
        for name, link in (_links(artifact, store.record(path), made) or {}).items():
            source = made.get(artifact.manifest["inputs"][name])
            if source is not None and link != source.content:
                yield path, f"{path} was made from another {name} than is there; a run sets it aside and makes it again"


def _links(artifact: Artifact, record: Path, made: Mapping[str, Artifact]) -> Mapping[str, str] | None:
    """The links of an artifact; one of before there were any is linked to what is there, None where that is gone."""
    known = Record.read(record)
    if LINKS in artifact.manifest or known is not None:
        links: Mapping[str, str] = artifact.manifest.get(LINKS) or (known.links if known else {})
        return links
    inputs = artifact.manifest.get("inputs", {})
    return {name: made[mark].content for name, mark in inputs.items()} if set(inputs.values()) <= made.keys() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
