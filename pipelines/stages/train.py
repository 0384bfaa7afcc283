"""SFT and DRIFT as a stage: in this process, or in several through torchrun or the deepspeed launcher."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from drift.training import run_job
from drift.training.config import TrainingJob
from drift.training.launch import JOB, launch_command, run_launched
from drift.training.rendezvous import rendezvous
from pipelines.layout import CHECKPOINT, PRIOR, TRAIN_FILE
from pipelines.stage import Runtime
from pipelines.stages import TrainParams


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
        return asdict(run_job(job))
    launcher = "torchrun" if runtime.launcher == "local" else runtime.launcher
    threads = max(1, runtime.threads * params.nodes // params.processes)
    return asdict(run_launched(job, launcher, threads, params.nodes))


def agent(params: TrainParams, out: Path, environ: Mapping[str, str]) -> list[str]:
    """What a node that is not the first runs of a training: torchrun's agent, which waits for the first's.

    Args:
        out: the stage's folder, where the first node leaves what is to be trained.
        environ: where the nodes meet.
    """
    job = (out / CHECKPOINT / JOB).resolve()
    return launch_command(job, params.processes, "torchrun", rendezvous(environ, params.nodes))
