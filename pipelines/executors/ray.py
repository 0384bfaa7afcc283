"""Jobs as Ray tasks with the resources that they need; what a lost node was making is started again elsewhere.

A training on several nodes is a gang: a placement group of as many bundles, a task in each. The first is the worker,
the others run torchrun's agent of their node, and all find the first by the group.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drift.processes import guarded
from pipelines import job as jobs
from pipelines.errors import ConfigError
from pipelines.executors import Cluster
from pipelines.job import Job
from pipelines.schema import Launcher
from pipelines.stage import Needs, Runtime
from pipelines.store import Store

_LOST_NODES = 3  # so often a job is started again after its node was lost
_PORTS = range(20000, 30000)
_MEETING_SECONDS = 600  # that a node waits for the first, which checks its inputs before it comes


@dataclass(frozen=True)
class _Queued:
    job: Job
    file: Path
    group: Any = None
    others: tuple[Any, ...] = ()


class Ray(Cluster):
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
        super().__init__(runtime, launcher)
        self.queued: dict[Any, _Queued] = {}
        options: dict[str, Any] = {"address": None, "logging_level": "warning", **launcher.options}
        try:
            ray.init(**options, log_to_driver=False, ignore_reinit_error=True)
        except ConnectionError as error:
            raise ConfigError(f"no Ray cluster at launcher.options.address={options['address']}: {error}") from None
        self._start = ray.remote(_task())

    def submit(self, job: Job) -> None:
        """Submits the job as a task, or as a task a node."""
        file, needs = jobs.write(job, self.runtime), job.needs
        command, options = jobs.command(file), self._options(job)
        if needs.nodes == 1:
            task = self._start.options(**options).remote(command, jobs.environment())
            self.queued[task] = _Queued(job, file)
            return
        group = self._ray.util.placement_group([self._bundle(needs)] * needs.nodes, strategy="STRICT_SPREAD")
        first, *others = (
            self._start.options(**options, scheduling_strategy=self._place(group, place)).remote(
                command if place == 0 else self._agent(job), jobs.environment(), self._meeting(job, place)
            )
            for place in range(needs.nodes)
        )
        self.queued[first] = _Queued(job, file, group, tuple(others))

    def _options(self, job: Job) -> dict[str, Any]:
        needs = job.needs
        amounts = {"num_cpus": needs.cores, "num_gpus": needs.gpus, "memory": needs.memory_gb * 2**30}
        return {"name": job.name, "max_retries": _LOST_NODES, **amounts}

    def _bundle(self, needs: Needs) -> dict[str, float]:
        share = {"CPU": needs.cores, "GPU": needs.gpus, "memory": needs.memory_gb * 2**30}
        return {name: amount for name, amount in share.items() if amount}

    def _place(self, group: Any, place: int) -> Any:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        return PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=place)

    def _meeting(self, job: Job, place: int) -> dict[str, str]:
        """What a torchrun's agent is told; the host, which Ray knows by another address, is filled in where it runs."""
        port = _PORTS[int(job.fingerprint[:8], 16) % len(_PORTS)]
        return {
            "PET_NNODES": str(job.needs.nodes),
            "PET_RDZV_ENDPOINT": f"{{host}}:{port}",
            "PET_RDZV_ID": job.name,
            "PET_RDZV_CONF": f"is_host={int(place == 0)},read_timeout={_MEETING_SECONDS}",
        }

    def _agent(self, job: Job) -> list[str]:
        """torchrun on a node that is not the first, below a guardian."""
        from pipelines.stages.train import agent

        partial = Store(self.runtime.store).partial(job.stage.name, job.fingerprint)
        return guarded(agent(job.params, partial, self._meeting(job, 1)))

    def poll(self, seconds: float) -> list[tuple[Job, str]]:
        """The jobs whose task has ended."""
        if not self.queued:
            return []
        tasks = list(self.queued)
        ready, _ = self._ray.wait(tasks, num_returns=1, timeout=seconds)
        if ready:
            ready, _ = self._ray.wait(tasks, num_returns=len(tasks), timeout=0)
        return [self._ended(task) for task in ready]

    def _ended(self, task: Any) -> tuple[Job, str]:
        submitted = self.queued.pop(task)
        try:
            said = f"status {self._ray.get(task)}"
        except self._ray.exceptions.RayError as error:
            said = f"Ray's {type(error).__name__}: {' '.join(str(error).split())}"
        submitted.file.unlink(missing_ok=True)
        self._dissolve(submitted)
        return submitted.job, said

    def _dissolve(self, submitted: _Queued) -> None:
        """Ends what is left of a gang."""
        for task in submitted.others:
            self._ray.cancel(task, force=True)
        if submitted.group is not None:
            self._ray.util.remove_placement_group(submitted.group)

    def cancel(self) -> None:
        """Cancels what is submitted; each worker's guardian ends what it started."""
        for task, submitted in self.queued.items():
            self._ray.cancel(task, force=True)
            self._dissolve(submitted)
        self.queued.clear()


def _task() -> Any:
    """The task, a function that Ray sends by value: a node need not find this module before the path is set."""

    def start(command: list[str], environment: dict[str, str], meeting: dict[str, str] | None = None) -> int:
        import subprocess

        import ray

        if meeting:
            group = ray.util.get_current_placement_group()
            first = ray.util.placement_group_table(group)["bundles_to_node_id"][0]
            host = next(node["NodeManagerAddress"] for node in ray.nodes() if node["NodeID"] == first)
            environment |= {name: value.format(host=host) for name, value in meeting.items()}
            command = [word.format(host=host) if "{host}" in word else word for word in command]
        return subprocess.run(command, check=False, env=os.environ | environment).returncode

    return start
