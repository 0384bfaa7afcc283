"""Starts a job in several processes, here or on all nodes of a cluster's job, and brings its error back as one.

"local" is this process itself; "torchrun" and "deepspeed" are the launchers of those names. Where the nodes of one
training meet is drift.training.rendezvous'.
"""

import json
import os
import sys
from pathlib import Path

from drift.errors import TrainingError, closest
from drift.processes import run_guarded
from drift.training.config import TrainingJob, TrainingResult
from drift.training.disk import SUMMARY
from drift.training.rendezvous import Rendezvous, rendezvous
from drift.training.worker import ERROR_FILE

LAUNCHERS = ("local", "torchrun", "deepspeed")
LOG = "worker.log"
JOB = "launched.json"


def launch_command(
    job_file: Path, processes: int, launcher: str = "torchrun", meeting: Rendezvous | None = None
) -> list[str]:
    """The command line that runs `job_file` in `processes` processes over all nodes of the meeting.

    Raises:
        TrainingError: an unknown launcher, or one that does not span nodes.
    """
    worker, meeting = "drift.training.worker", meeting or Rendezvous()
    if launcher in LAUNCHERS and launcher != "torchrun" and meeting.nodes > 1:
        raise TrainingError(
            f"launcher {launcher!r} starts processes on one node, not on {meeting.nodes}; take torchrun"
        )
    if launcher == "local":
        return [sys.executable, "-m", worker, str(job_file)]
    if launcher == "torchrun":
        run = ["torch.distributed.run", *meeting.torchrun(processes), "-m"]
        return [*meeting.everywhere, sys.executable, "-m", *run, worker, str(job_file)]
    if launcher == "deepspeed":
        run = ["deepspeed.launcher.runner", "--num_gpus", str(processes), "--no_local_rank", "--module"]
        return [sys.executable, "-m", *run, worker, str(job_file)]
    raise TrainingError(f"unknown launcher {launcher!r}; {closest(launcher, LAUNCHERS)}")


def run_launched(job: TrainingJob, launcher: str = "torchrun", threads: int = 1, nodes: int = 1) -> TrainingResult:
    """Runs the job in `job.processes` new processes, none of which outlives this one; their output goes to worker.log.

    Args:
        job: what to run.
        launcher: torchrun or deepspeed; local for one process.
        threads: of each process, on the CPU.
        nodes: over which the processes are spread; their engine's environment says where they meet.
    Raises:
        TrainingError: the workers failed, with what they reported; or nothing says where the nodes meet.
    """
    meeting = rendezvous(os.environ, nodes)
    job.out.mkdir(parents=True, exist_ok=True)
    job_file = job.out / JOB
    job.write(job_file)
    (job.out / ERROR_FILE).unlink(missing_ok=True)
    with (job.out / LOG).open("a") as output:
        command = launch_command(job_file, job.processes, launcher, meeting)
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        status = run_guarded(command, environment, output)
    if (job.out / ERROR_FILE).is_file():
        raise TrainingError((job.out / ERROR_FILE).read_text().strip())
    if status or not (job.out / SUMMARY).is_file():
        raise TrainingError(f"{launcher} ended with status {status}; the end of {job.out / LOG} says why")
    return TrainingResult(**json.loads((job.out / SUMMARY).read_text()))
