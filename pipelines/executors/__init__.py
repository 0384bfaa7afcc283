"""Where work is put: an executor takes jobs whose inputs are done, and says which have ended.

A new engine is a file here and a branch in `make`. What ended well is not its to say: the store knows.
"""

from collections.abc import Sequence, Sized
from typing import Protocol

from pipelines.errors import ConfigError
from pipelines.job import Job
from pipelines.schema import Launcher
from pipelines.stage import Needs, Runtime


class Executor(Protocol):
    """Submits jobs, polls them, cancels them."""

    width: int

    def check(self, needs: Needs) -> None:
        """Raises ConfigError where a job can never run here."""

    def has_room(self, needs: Needs) -> bool:
        """Whether a job can be submitted now."""

    def submit(self, job: Job) -> None:
        """Starts the job, or queues it where it will start."""

    def poll(self, seconds: float) -> Sequence[tuple[Job, str]]:
        """The jobs that have ended and how ("status 1"), after waiting up to so many seconds for the first."""

    def cancel(self) -> None:
        """Ends every job that was submitted and not yet reported, within ten seconds."""


class Cluster:
    """What engines of several nodes share: they queue jobs themselves, `launcher.workers` of them at a time."""

    queued: Sized

    def __init__(self, runtime: Runtime, launcher: Launcher) -> None:
        self.runtime, self.gpus, self.width = runtime, launcher.gpus, launcher.workers

    def check(self, needs: Needs) -> None:
        """Raises ConfigError where a job wants more GPUs than a node has."""
        if needs.gpus > self.gpus:
            raise ConfigError(f"a stage wants {needs.gpus} GPUs and a node has launcher.gpus={self.gpus}")

    def has_room(self, needs: Needs) -> bool:
        """Whether one more may be queued; the engine knows about GPUs."""
        return len(self.queued) < self.width


def make(launcher: Launcher, runtime: Runtime) -> Executor:
    """The executor that the launcher group names.

    Raises:
        ConfigError: it can't be used here; says what to install or to set.
    """
    from pipelines.executors.local import Local
    from pipelines.executors.split import Split

    if launcher.engine == "local":
        return Local(runtime, launcher.workers, launcher.gpus)
    if launcher.engine == "slurm":
        from pipelines.executors.slurm import Slurm

        return Split(Local(runtime, 2), Slurm(runtime, launcher), launcher.short_seconds)
    from pipelines.executors.ray import Ray

    return Split(Local(runtime, 2), Ray(runtime, launcher), launcher.short_seconds)
