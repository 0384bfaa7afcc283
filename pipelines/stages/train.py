"""SFT and DRIFT as a stage: one process here, or several through torchrun or the deepspeed launcher."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drift.training.config import TrainingJob
from pipelines.errors import StageError
from pipelines.stage import Runtime
from pipelines.stages import TrainParams
from pipelines.stages.checkpoints import PRIOR
from pipelines.stages.models import CHECKPOINT, TRAIN_FILE

WORKER = "drift.training.worker"


def run_training(params: TrainParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """A trained checkpoint `model/` with its metrics; values: its summary (w_eff, loss, steps, coverage)."""
    job = TrainingJob(
        model=(inputs["model"] / CHECKPOINT).resolve(),
        data=(inputs["data"] / TRAIN_FILE).resolve(),
        out=(out / CHECKPOINT).resolve(),
        prior=(inputs["prior"] / PRIOR).resolve(),
        training=params.training,
        injection=params.injection,
        processes=params.processes,
    )
    if params.processes == 1:
        from drift.training import run_job

        run_job(job)
    else:
        job.write(out / "job.json")
        _launch(runtime, params.processes, out / "job.json")
    summary: dict[str, Any] = json.loads((out / CHECKPOINT / "summary.json").read_text())
    return summary


def _launch(runtime: Runtime, processes: int, job: Path) -> None:
    """Runs the worker in `processes` processes of this machine; `local` means torchrun here.

    Raises:
        StageError: the launcher ended with another status than 0.
    """
    if runtime.launcher == "deepspeed":
        command = ["-m", "deepspeed.launcher.runner", f"--num_gpus={processes}", "--module", WORKER]
    else:
        command = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", WORKER]
    threads = {"OMP_NUM_THREADS": str(max(1, runtime.threads // processes))}
    status = subprocess.run([sys.executable, *command, str(job)], env=os.environ | threads, check=False).returncode
    if status != 0:
        raise StageError(f"the {runtime.launcher} launcher ended with status {status}; the cause is in the log")
