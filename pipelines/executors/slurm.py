"""Jobs as SLURM jobs, through submitit: one a job, requeued when preempted, resumed from the store's partial folder.

submitit asks sacct for states, which needs an accounting database that many clusters lack; squeue and scontrol always
answer. The files of submitit (logs of the engine, pickles) are in the store's `.jobs/slurm`.
"""

import os
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import job as jobs
from pipelines.errors import ConfigError, StageError
from pipelines.executors import Cluster
from pipelines.job import Job
from pipelines.schema import Launcher
from pipelines.stage import Runtime

_LOOK_SECONDS = 2.0  # between two questions to slurmctld
_VANISHED_SECONDS = 15.0  # a job that left the queue may take so long to show its result on this host
_KILL_SECONDS = 300.0  # longer than any KillWait between SLURM's SIGTERM and SIGKILL
_MINUTES = 24 * 60


class Start:
    """What runs on the node: a worker.

    submitit calls `checkpoint` when SLURM takes the node away, and starts the job again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> int:
        if os.environ["SLURM_PROCID"] != "0":
            return 0  # one of several nodes: the worker on the first takes them all (drift.training.rendezvous)
        status = subprocess.run(jobs.command(self.path), check=False).returncode
        if status in (-signal.SIGTERM, 128 + signal.SIGTERM):
            time.sleep(_KILL_SECONDS)  # SLURM is ending this job, perhaps to requeue it: that is no result
        return status

    def checkpoint(self) -> Any:
        """The same again: the worker goes on where the store's partial folder stands."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@dataclass
class _Queued:
    job: Job
    handle: Any
    file: Path
    missed: float | None = None


class Slurm(Cluster):
    """Executes jobs on a SLURM cluster whose nodes see the store at the same path.

    Args:
        launcher: `workers` jobs may be queued at a time, `gpus` are a node's; `options` are submitit.SlurmExecutor's.
    """

    def __init__(self, runtime: Runtime, launcher: Launcher) -> None:
        super().__init__(runtime, launcher)
        try:
            import submitit

            self._executor: Any = submitit.SlurmExecutor(runtime.store / ".jobs" / "slurm")
            self._executor.update_parameters(time=_MINUTES, **launcher.options)
        except (ImportError, RuntimeError) as error:
            raise ConfigError(
                f"launcher=slurm needs submitit==1.5.4 (pip install 'drift-reproduction[slurm]') and SLURM's commands "
                f"on the PATH: {error}"
            ) from None
        except ValueError as error:
            raise ConfigError(f"launcher.options: {error}") from None
        self.queued: list[_Queued] = []
        self._looked = 0.0

    def submit(self, job: Job) -> None:
        """Queues the job.

        Raises:
            StageError: sbatch refused it; says what it said.
        """
        from submitit.core.utils import FailedJobError

        file, needs = jobs.write(job, self.runtime), job.needs
        self._executor.update_parameters(
            job_name=job.name,
            nodes=needs.nodes,
            cpus_per_task=needs.cores,
            mem=f"{needs.memory_gb}G",
            gres=f"gpu:{needs.gpus}" if needs.gpus else None,
            setup=[f"export {name}={shlex.quote(value)}" for name, value in jobs.environment().items()],
            additional_parameters={"requeue": True},
        )
        try:
            handle = self._executor.submit(Start(file))
        except FailedJobError as error:
            raise StageError(f"SLURM refused stage {job.stage.name} ({job.label}, {needs}): {error}") from None
        self.queued.append(_Queued(job, handle, file))

    def poll(self, seconds: float) -> list[tuple[Job, str]]:
        """The jobs that left their result, or the queue."""
        until = time.monotonic() + seconds
        while True:
            ended = self._ended()
            if ended or time.monotonic() >= until:
                return ended
            time.sleep(_LOOK_SECONDS)

    def _ended(self) -> list[tuple[Job, str]]:
        if not self.queued or time.monotonic() - self._looked < _LOOK_SECONDS:
            return []
        self._looked = time.monotonic()
        ask = ["squeue", "--me", "--noheader", "--format", "%i"]
        answer = subprocess.run(ask, capture_output=True, text=True, check=False)
        ended = [item for item in self.queued if self._has_ended(item, answer)]
        for item in ended:
            self.queued.remove(item)
            item.file.unlink(missing_ok=True)
        return [(item.job, _said(item.handle)) for item in ended]

    def _has_ended(self, item: _Queued, answer: subprocess.CompletedProcess[str]) -> bool:
        if answer.returncode or item.handle.job_id in answer.stdout.split():  # or slurmctld is away for a moment
            item.missed = None
            return False
        item.missed = item.missed or time.monotonic()
        return item.handle.paths.result_pickle.exists() or time.monotonic() - item.missed > _VANISHED_SECONDS

    def cancel(self) -> None:
        """Cancels what is queued or running."""
        if self.queued:
            subprocess.run(["scancel", *(item.handle.job_id for item in self.queued)], check=False)
        self.queued.clear()


def _said(handle: Any) -> str:
    """How SLURM says that the job ended, and where its own log is."""
    show = ["scontrol", "--oneliner", "show", "job", handle.job_id]
    words = subprocess.run(show, capture_output=True, text=True, check=False).stdout.split()
    state = next((word.partition("=")[2] for word in words if word.startswith("JobState=")), "unknown to SLURM")
    return f"SLURM job {handle.job_id} {state}, log {handle.paths.stderr}"
