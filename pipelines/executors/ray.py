"""Jobs as Ray tasks with the resources that they need; what a lost node was making is started again elsewhere."""

import os
from typing import Any

from pipelines import job as jobs
from pipelines.errors import ConfigError
from pipelines.job import Job
from pipelines.schema import Launcher
from pipelines.stage import Needs, Runtime

_LOST_NODES = 3  # so often a job is started again after its node was lost


class Ray:
    """Executes jobs on a Ray cluster whose nodes see the store at the same path; on this machine without an address.

    Args:
        launcher: `workers` tasks may be submitted at a time, `gpus` are a node's; `options` are ray.init's.
    """

    def __init__(self, runtime: Runtime, launcher: Launcher) -> None:
        try:
            import ray
        except ImportError as error:
            raise ConfigError(f"launcher=ray needs ray (pip install 'drift-reproduction[ray]'): {error}") from None
        self._ray: Any = ray
        self.runtime, self.launcher, self.width = runtime, launcher, launcher.workers
        self._submitted: dict[Any, tuple[Job, Any]] = {}
        options: dict[str, Any] = {"address": None, "logging_level": "warning", **launcher.options}
        try:
            ray.init(**options, log_to_driver=False, ignore_reinit_error=True)
        except ConnectionError as error:
            raise ConfigError(f"no Ray cluster at launcher.options.address={options['address']}: {error}") from None
        self._start = ray.remote(_task())

    def check(self, needs: Needs) -> None:
        """Raises ConfigError where a job wants more GPUs than a node has."""
        if needs.gpus > self.launcher.gpus:
            raise ConfigError(f"a stage wants {needs.gpus} GPUs and a node has launcher.gpus={self.launcher.gpus}")

    def has_room(self, needs: Needs) -> bool:
        """Whether one more may be submitted; Ray knows about GPUs."""
        return len(self._submitted) < self.width

    def submit(self, job: Job) -> None:
        """Submits the job as a task."""
        needs, file = job.needs, jobs.write(job, self.runtime)
        task = self._start.options(
            name=job.name,
            num_cpus=needs.cores,
            num_gpus=needs.gpus,
            memory=needs.memory_gb * 2**30,
            max_retries=_LOST_NODES,
        ).remote(jobs.command(file), jobs.environment())
        self._submitted[task] = (job, file)

    def poll(self, seconds: float) -> list[tuple[Job, str]]:
        """The jobs whose task has ended."""
        if not self._submitted:
            return []
        tasks = list(self._submitted)
        ready, _ = self._ray.wait(tasks, num_returns=1, timeout=seconds)
        if ready:
            ready, _ = self._ray.wait(tasks, num_returns=len(tasks), timeout=0)
        return [self._ended(task) for task in ready]

    def _ended(self, task: Any) -> tuple[Job, str]:
        job, file = self._submitted.pop(task)
        try:
            said = f"status {self._ray.get(task)}"
        except self._ray.exceptions.RayError as error:
            said = f"Ray's {type(error).__name__}: {' '.join(str(error).split())}"
        file.unlink(missing_ok=True)
        return job, said

    def cancel(self) -> None:
        """Cancels what is submitted; each worker's guardian ends what it started."""
        for task in self._submitted:
            self._ray.cancel(task, force=True)
        self._submitted.clear()


def _task() -> Any:
    """The task, a function that Ray sends by value: a node need not find this module before the path is set."""

    def start(command: list[str], environment: dict[str, str]) -> int:
        import subprocess

        return subprocess.run(command, check=False, env=os.environ | environment).returncode

    return start
