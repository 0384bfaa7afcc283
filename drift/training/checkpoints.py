"""A run's checkpoints: sealed when whole, checked before they are trusted, taken up by any number of processes.

A checkpoint counts once its `complete.json` exists: it lists every file with its size and is written last, after all
ranks. One that a kill left without it, or whose files are damaged, is deleted at the next start, and the older one that
lies beside it is taken. DeepSpeed shards the optimizer by process, so another number of processes goes on from its
universal checkpoint, which replaces the one that it is made from.
"""

import hashlib
import json
import logging
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drift.errors import TrainingError
from drift.files import write_whole
from drift.injection.shards import rank, world_size
from drift.processes import run_guarded
from drift.training import distributed

log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
MARKER = "complete.json"
UNIVERSAL = "latest_universal"  # DeepSpeed's name for the file that names a universal checkpoint
_LARGE = 2**24  # bytes; what is larger was written by torch.save, with checksums of its own
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class ResumePoint:
    """Where to go on: step 0 with no folder is a fresh start. `seconds` were spent before."""

    step: int
    folder: Path | None
    seconds: float
    is_universal: bool = False


def seal(folder: Path, seconds: float) -> None:
    """Marks a checkpoint whole, of this many processes and after so many seconds of training."""
    universal = (folder / UNIVERSAL).is_file()
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MARKER]
    names = {path: str(path.relative_to(folder)) for path in found}
    content = {
        "seconds": seconds,
        "processes": None if universal else world_size(),
        "files": {names[path]: path.stat().st_size for path in found},
        "sums": {names[path]: _sum(path.read_bytes()) for path in found if path.stat().st_size < _LARGE},
    }
    write_whole(folder / MARKER, json.dumps(content | {"seal": _sum(json.dumps(content).encode())}))


def keep_newest(out: Path) -> None:
    """Deletes all checkpoints but the last: with the one that is about to be written there are two."""
    for _, folder in _found(out)[:-1]:
        shutil.rmtree(folder)


def find_resume_point(out: Path, zero_stage: int) -> ResumePoint:
    """The last whole checkpoint under `out`, fit for the processes of this run; all of them call this together.

    Raises:
        TrainingError: it is of another number of processes and DeepSpeed can't convert it.
    """
    if rank() == 0:
        _drop_damaged(out)
    distributed.barrier()
    found = _found(out)
    if not found:
        return ResumePoint(0, None, 0.0)
    step, folder = found[-1]
    marker = _marker(folder)
    # Without ZeRO every process holds the whole optimizer, and the checkpoint is of none in particular.
    if zero_stage and marker["processes"] not in (None, world_size()):
        _convert_together(out, folder, marker)
    return ResumePoint(step, folder, marker["seconds"], (folder / UNIVERSAL).is_file())


def _found(out: Path) -> list[tuple[int, Path]]:
    return sorted((int(folder.name.split("-")[1]), folder) for folder in (out / CHECKPOINTS).glob("checkpoint-*"))


def _marker(folder: Path) -> Mapping[str, Any]:
    return json.loads((folder / MARKER).read_text())


def _drop_damaged(out: Path) -> None:
    """Deletes checkpoints from the newest back to the first that is whole."""
    for _, folder in reversed(_found(out)):
        fault = _fault(folder)
        if not fault:
            return
        log.warning("dropping %s, which is damaged: %s", folder.name, fault)
        shutil.rmtree(folder)


def _fault(folder: Path) -> str:
    """Why a checkpoint can't be taken; empty where it can."""
    if not (folder / MARKER).is_file():
        return "it was never finished"
    try:
        marker = dict(_marker(folder))
        seal = marker.pop("seal")
    except (ValueError, KeyError, TypeError):
        return f"{MARKER} is not what was written"
    if seal != _sum(json.dumps(marker).encode()):
        return f"{MARKER} fails its checksum"
    for name, size in marker["files"].items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else 0
        if found != size:
            return f"{name} has {found} of {size} bytes"
        if not (marker["sums"][name] == _sum(path.read_bytes()) if size < _LARGE else _is_sound(path)):
            return f"{name} fails its checksum"
    return ""


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _is_sound(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except zipfile.BadZipFile:
        return False


def _convert_together(out: Path, folder: Path, marker: Mapping[str, Any]) -> None:
    """Rank 0 converts; the others look for the result, since a collective would time out while they wait."""
    if rank() == 0:
        log.info("%s is of %d processes, %d go on with it", folder.name, marker["processes"], world_size())
        keep_newest(out)
        _convert(folder, marker)
    while _marker(folder)["processes"] is not None:
        time.sleep(_LOOK_SECONDS)
    distributed.barrier()


def _convert(folder: Path, marker: Mapping[str, Any]) -> None:
    source = folder / (folder / "latest").read_text().strip()
    target, said = source.with_name(f"{source.name}_universal"), folder / "universal.log"
    shutil.rmtree(target, ignore_errors=True)
    words = ["--input_folder", str(source), "--output_folder", str(target), "--inject_missing_state"]
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", *words]
    with said.open("w") as output:
        status = run_guarded(command, os.environ, output)
    if status:
        (folder / UNIVERSAL).unlink(missing_ok=True)
        raise TrainingError(
            f"DeepSpeed can't make {folder.name}, of {marker['processes']} processes, fit {world_size()}: {said} says "
            f"why; go on with {marker['processes']} processes, or delete {folder.parent} to begin again"
        )
    seal(folder, marker["seconds"])
    shutil.rmtree(source)
