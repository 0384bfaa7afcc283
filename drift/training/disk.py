"""Disk: enough room before a run starts, final files that appear whole, and a full disk told from other failures."""

import errno
import shutil
from pathlib import Path

from drift.errors import TrainingError
from drift.training.config import TrainingJob

SUMMARY = "summary.json"
FINAL = ".final"


def publish(out: Path, scratch: Path) -> None:
    """Moves the final files into place, summary.json last, and deletes `scratch`, which only resuming needs."""
    files = sorted((out / FINAL).iterdir(), key=lambda path: path.name == SUMMARY)
    for file in files:
        file.replace(out / file.name)
    (out / FINAL).rmdir()
    shutil.rmtree(scratch, ignore_errors=True)


def require_space(job: TrainingJob) -> None:
    """Enough room for the final model, and for two checkpoints: the last, and the one that is being written.

    Raises:
        TrainingError: it can't fit.
    """
    weights = sum(shard.stat().st_size for shard in job.model.glob("*.safetensors"))
    # fp32 master weights and two moments: 12 bytes for each parameter, 3 or 6 times the weights
    states = 3 * weights if job.training.precision == "fp32" else 6 * weights
    needed = weights + (2 * (weights + states) if job.training.save_steps else 0)
    free = shutil.disk_usage(job.out).free
    if free < needed:
        raise TrainingError(
            f"{job.out} has {free / 1e9:.2f} GB free and the run needs up to {needed / 1e9:.2f} GB; "
            f"free some, or choose save_steps=0"
        )


def is_disk_full(error: Exception) -> bool:
    """Whether a write failed for lack of space; torch and safetensors report it as text alone."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return True
    text = str(error)
    return "No space left on device" in text or "PytorchStreamWriter failed writing" in text
