"""Jobs on this machine, in processes forked from a warm one; each gets GPUs of its own where there are slots."""

import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess

from pipelines import worker
from pipelines.environment import OUTPUT, SCHEDULER
from pipelines.errors import ConfigError, StageError
from pipelines.job import Job
from pipelines.stage import Needs, Runtime

_END_SECONDS = 8.0


@dataclass(frozen=True)
class _Running:
    job: Job
    process: ForkServerProcess
    gpus: Sequence[str]


class Local:
    """Executes jobs in forked, warm worker processes.

    Args:
        workers: jobs that may run at the same time.
        gpus: slots to hand out, by CUDA_VISIBLE_DEVICES; 0 leaves GPUs to the stages, which then all see the same.
    """

    def __init__(self, runtime: Runtime, workers: int, gpus: int = 0) -> None:
        self.runtime, self.width, self.gpus = runtime, workers, gpus
        self._free = _visible(gpus)
        self._running: list[_Running] = []
        self._said = runtime.store / ".jobs" / "warm.log"
        os.environ |= {OUTPUT: str(self._said), SCHEDULER: str(os.getpid())}
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["pipelines.warm"])

    def check(self, needs: Needs) -> None:
        """Raises ConfigError where a job wants more GPUs than there are slots."""
        if self.gpus and needs.gpus > self.gpus:
            raise ConfigError(
                f"a stage wants {needs.gpus} GPUs and launcher.gpus is {self.gpus}: lower launcher.processes, or "
                "take a machine that has them"
            )

    def has_room(self, needs: Needs) -> bool:
        """Whether a worker and the GPUs are free."""
        return len(self._running) < self.width and (not self.gpus or needs.gpus <= len(self._free))

    def submit(self, job: Job) -> None:
        """Forks a worker for the job.

        Raises:
            StageError: the process that it should be forked from has just ended; the next job gets a new one.
        """
        taken: list[str] = []
        environment = {}
        if self.gpus:
            taken = [self._free.pop(0) for _ in range(job.needs.gpus)]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
        process = self._context.Process(target=worker.main, args=(job, self.runtime, environment), name=job.stage.name)
        try:
            process.start()
        except (EOFError, ConnectionError):
            self._free = sorted([*self._free, *taken])
            time.sleep(0.2)  # its end is seen a moment after that of its socket
            raise StageError(
                f"the process that stages are forked from was killed, perhaps for want of memory; {self._said} may say "
                "why. The same command goes on from here"
            ) from None
        self._running.append(_Running(job, process, taken))

    def poll(self, seconds: float) -> list[tuple[Job, str]]:
        """The jobs whose worker has ended, with its exit status."""
        ready = connection.wait([item.process.sentinel for item in self._running], seconds)
        ended = [item for item in self._running if item.process.sentinel in ready]
        for item in ended:
            item.process.join()
            self._running.remove(item)
            self._free = sorted([*self._free, *item.gpus])
        return [(item.job, f"status {item.process.exitcode}") for item in ended]

    def cancel(self) -> None:
        """Asks every worker to end, and kills those that do not; their guardians end what they have started."""
        until = time.monotonic() + _END_SECONDS
        for item in self._running:
            item.process.terminate()
        for item in self._running:
            item.process.join(max(0.0, until - time.monotonic()))
            item.process.kill()
        self._running.clear()


def _visible(gpus: int) -> list[str]:
    """The names of this machine's first GPUs, of those that this process may see.

    Raises:
        ConfigError: fewer are visible.
    """
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = said.split(",") if said else [str(place) for place in range(gpus)]
    if len(names) < gpus:
        raise ConfigError(
            f"launcher.gpus is {gpus} and CUDA_VISIBLE_DEVICES={said} shows {len(names)}; set it to fewer"
        )
    return names[:gpus]
