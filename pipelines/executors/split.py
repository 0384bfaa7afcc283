"""Short work stays on this machine, the rest goes to an engine: nobody queues a job for a tenth of a second."""

import time

from pipelines.executors import Executor
from pipelines.job import Job
from pipelines.stage import Needs

_LOOK_SECONDS = 0.5


class Split:
    """Two executors as one: `local` for what takes less than `short` seconds, no GPU and one node."""

    def __init__(self, local: Executor, remote: Executor, short: float) -> None:
        self.local, self.remote, self.short, self.width = local, remote, short, remote.width

    def _of(self, needs: Needs) -> Executor:
        is_short = not needs.gpus and needs.nodes == 1 and needs.seconds < self.short
        return self.local if is_short else self.remote

    def check(self, needs: Needs) -> None:
        """As the one that the job would run in."""
        self._of(needs).check(needs)

    def has_room(self, needs: Needs) -> bool:
        """As the one that the job would run in."""
        return self._of(needs).has_room(needs)

    def submit(self, job: Job) -> None:
        """Gives the job to one of both."""
        self._of(job.needs).submit(job)

    def poll(self, seconds: float) -> list[tuple[Job, str]]:
        """The jobs of both that have ended."""
        until = time.monotonic() + seconds
        while True:
            began = time.monotonic()
            found = [*self.local.poll(_LOOK_SECONDS), *self.remote.poll(0)]
            if found or time.monotonic() > until:
                return found
            time.sleep(max(0.0, began + _LOOK_SECONDS - time.monotonic()))

    def cancel(self) -> None:
        """Ends the jobs of both."""
        self.remote.cancel()
        self.local.cancel()
