"""What a plan comes to before it is run: its stages played through in the scheduler's order, each taking what it needs.

The same order, the same slots and the same retention as the run's (`pipelines.order`, `pipelines.retention`), with a
clock that jumps. It knows no cluster's queue, no failure and no second run on the machine.
"""

import heapq
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from pipelines.order import ranks
from pipelines.retention import Keep, Retention, live_weights
from pipelines.stage import Call, Needs


@dataclass(frozen=True)
class Machine:
    """Where it would run: stages side by side, GPUs to hand out (0: none is needed, or all see the same)."""

    width: int
    gpus: int


@dataclass(frozen=True)
class Forecast:
    """Wall seconds, GPU seconds, bytes that stay in the store and the most that lie there, downloads, dollars."""

    seconds: float
    gpu_seconds: float
    kept: float
    peak: float
    downloaded: float
    dollars: float


def forecast(
    calls: Sequence[Call], held: Collection[str], keep: Keep, machine: Machine, needs: Callable[[Call], Needs]
) -> Forecast:
    """Plays the calls through that are not held.

    Args:
        calls: sources first; `held` are the keys of those that the store has.
    """
    return _Play(calls, held, keep, machine, {call.key: needs(call) for call in calls}).run()


def downloads(calls: Sequence[Call]) -> list[Call]:
    """The calls that fetch something from the hub, each repository and each set of tables once."""
    fetched = [call for call in calls if call.needs.downloaded]
    return list({getattr(call.params, "repo", "") or call.params.names: call for call in reversed(fetched)}.values())[
        ::-1
    ]


class _Play:
    def __init__(
        self, calls: Sequence[Call], held: Collection[str], keep: Keep, machine: Machine, needs: dict[str, Needs]
    ) -> None:
        self.machine, self.needs, self.done = machine, needs, set(held)
        self.ranks = ranks(calls, lambda call: needs[call.key].seconds)
        self.retention = Retention(keep, live_weights(machine.width), calls)
        self.waiting = [call for call in calls if call.key not in self.done]
        self.waiting.sort(key=lambda call: self.ranks[call.key])
        self.running: list[tuple[float, str, Call]] = []
        self.now = self.kept = self.passing = self.peak = 0.0
        self.gpus = machine.gpus
        for call in calls:
            if call.key in self.done:
                self.retention.finished(call)

    def run(self) -> Forecast:
        todo = list(self.waiting)
        needs = [self.needs[call.key] for call in todo]
        self._start()
        while self.running:
            self.now, _, call = heapq.heappop(self.running)
            self._end(call)
            self._start()
        return Forecast(
            self.now,
            sum(each.nodes * each.gpus * each.seconds for each in needs),
            self.kept,
            self.peak,
            sum(self.needs[call.key].downloaded for call in downloads(todo)),
            sum(each.dollars for each in needs),
        )

    def _start(self) -> None:
        self._begin_ready(spares=True)
        if not self.running:
            self._begin_ready(spares=False)

    def _begin_ready(self, spares: bool) -> None:
        """As the scheduler does; `spares` holds back what has no room for its weights yet."""
        crowded = False
        for call in list(self.waiting):
            if any(source.key not in self.done for source in call.sources):
                continue
            needs = self.needs[call.key]
            gpus = min(needs.gpus, self.machine.gpus)
            if len(self.running) >= self.machine.width or gpus > self.gpus or (crowded and gpus):
                crowded = crowded or gpus > 0
            elif not spares or self.retention.may_begin(call):
                self._begin(call, needs, gpus)

    def _begin(self, call: Call, needs: Needs, gpus: int) -> None:
        self.waiting.remove(call)
        self.retention.begun(call)
        self.gpus -= gpus
        self.kept += needs.kept
        self.passing += needs.passing
        self.peak = max(self.peak, self.kept + self.passing)
        heapq.heappush(self.running, (self.now + needs.seconds, call.key, call))

    def _end(self, call: Call) -> None:
        needs = self.needs[call.key]
        self.done.add(call.key)
        self.gpus += min(needs.gpus, self.machine.gpus)
        self.passing -= needs.passing
        self.kept -= sum(self.needs[key].kept for key in self.retention.finished(call))
