"""What a plan comes to before it is run: its stages played through in the scheduler's order, each taking what it needs.

The same order, the same slots and the same retention as the run's (`pipelines.order`, `pipelines.retention`), with a
clock that jumps. It knows no cluster's queue, no failure and no second run on the machine.
"""

import bisect
import heapq
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from evaluation.judging.config import LocalJudge
from pipelines.order import Rank, ranks
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
    """The calls that fetch something from outside, each source once."""
    found: dict[str, Call] = {}
    for call in calls:
        if call.needs.downloaded:
            found.setdefault(origin_of(call), call)
    return list(found.values())


def origin_of(call: Call) -> str:
    """What a call that fetches fetches: a repository, a judge's too, or the benchmarks' tables."""
    params = call.params
    if isinstance(judge := getattr(params, "judge", None), LocalJudge):
        return judge.repo
    return getattr(params, "repo", "") or getattr(params, "repository", "") or ", ".join(params.names)


class _Play:
    def __init__(
        self, calls: Sequence[Call], held: Collection[str], keep: Keep, machine: Machine, needs: dict[str, Needs]
    ) -> None:
        self.machine, self.needs, self.done = machine, needs, set(held)
        self.ranks = ranks(calls, lambda call: needs[call.key].seconds)
        self.retention = Retention(keep, live_weights(machine.width), calls)
        self.todo = [call for call in calls if call.key not in self.done]
        self.lacking = {call.key: {source.key for source in call.sources} - self.done for call in self.todo}
        self.users: dict[str, list[Call]] = {}
        for call in self.todo:
            for key in self.lacking[call.key]:
                self.users.setdefault(key, []).append(call)
        self.ready = sorted((call for call in self.todo if not self.lacking[call.key]), key=self._rank)
        self.running: list[tuple[float, str, Call]] = []
        self.now = self.kept = self.passing = self.peak = 0.0
        self.gpus = machine.gpus
        for call in calls:
            if call.key in self.done:
                self.retention.finished(call)

    def _rank(self, call: Call) -> Rank:
        return self.ranks[call.key]

    def run(self) -> Forecast:
        needs = [self.needs[call.key] for call in self.todo]
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
            sum(self.needs[call.key].downloaded for call in downloads(self.todo)),
            sum(each.dollars for each in needs),
        )

    def _start(self) -> None:
        self._begin_ready(spares=True)
        if not self.running:
            self._begin_ready(spares=False)

    def _begin_ready(self, spares: bool) -> None:
        """As the scheduler does; `spares` holds back what has no room for its weights yet."""
        crowded = False
        for call in list(self.ready):
            if len(self.running) >= self.machine.width:
                return
            needs = self.needs[call.key]
            gpus = min(needs.nodes * needs.gpus, self.machine.gpus)
            if gpus > self.gpus or (crowded and gpus):
                crowded = crowded or gpus > 0
            elif not spares or self.retention.may_begin(call):
                self._begin(call, needs, gpus)

    def _begin(self, call: Call, needs: Needs, gpus: int) -> None:
        self.ready.remove(call)
        self.retention.begun(call)
        self.gpus -= gpus
        self.kept += needs.kept
        self.passing += needs.passing
        self.peak = max(self.peak, self.kept + self.passing)
        heapq.heappush(self.running, (self.now + needs.seconds, call.key, call))

    def _end(self, call: Call) -> None:
        needs = self.needs[call.key]
        for user in self.users.get(call.key, ()):
            self.lacking[user.key].discard(call.key)
            if not self.lacking[user.key]:
                bisect.insort(self.ready, user, key=self._rank)
        self.gpus += min(needs.nodes * needs.gpus, self.machine.gpus)
        self.passing -= needs.passing
        self.kept -= sum(self.needs[key].kept for key in self.retention.finished(call))
