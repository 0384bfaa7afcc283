"""Runs a plan: what is in the store is taken, the rest runs in dependency order, a few calls at a time.

Fingerprints are computed as sources finish, because a bound parameter is known only then; a bound call that comes out
equal to one that has run is a hit like any other.
"""

import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from pipelines import worker
from pipelines.errors import StageError
from pipelines.fingerprint import fingerprint
from pipelines.stage import Bind, Call, Runtime, ordered, with_value
from pipelines.store import LOG, Artifact, Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """The artifacts of a plan by call key, and how many calls were run for it."""

    artifacts: dict[str, Artifact]
    executed: int

    def __getitem__(self, call: Call) -> Artifact:
        return self.artifacts[call.key]


@dataclass
class _Running:
    process: ForkServerProcess
    pipe: connection.Connection
    job: worker.Job
    keys: list[str]


def resolve(call: Call, done: dict[str, Artifact]) -> worker.Job:
    """The call with its bound parameters read and its fingerprint computed; its sources must be done."""
    params = call.params
    for path, bind in call.binds.items():
        params = with_value(params, path, _bound_value(bind, done))
    inputs = {name: done[source.key] for name, source in call.inputs.items()}
    mark = fingerprint(
        call.stage.name, call.stage.version, params, {name: item.fingerprint for name, item in inputs.items()}
    )
    return worker.Job(call.stage, mark, params, inputs, call.label)


def _bound_value(bind: Bind, done: dict[str, Artifact]) -> object:
    values = done[bind.source.key].values
    if bind.value not in values:
        raise StageError(f"{bind.source.stage.name} has no value {bind.value!r}; it has {', '.join(sorted(values))}")
    return values[bind.value]


@dataclass
class Progress:
    """Counts what is done and estimates what is left from the wall times seen so far, per stage."""

    left: Counter[str]
    guess: dict[str, float]
    workers: int
    seen: dict[str, list[float]] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def finished(self, stage: str, seconds: float) -> None:
        self.left[stage] -= 1
        self.seen.setdefault(stage, []).append(seconds)

    def seconds_left(self) -> float:
        """Seconds of wall time, taking all workers as busy."""
        each = {name: sum(times) / len(times) for name, times in self.seen.items()}
        return sum(count * each.get(name, self.guess[name]) for name, count in self.left.items()) / self.workers


class Scheduler:
    """Executes plans in forked, warm worker processes.

    Args:
        workers: calls that may run at the same time.
        on_finished: told of every artifact that was made (not of hits), in the scheduling process.
    """

    def __init__(self, runtime: Runtime, workers: int, on_finished: Callable[[Artifact], None]) -> None:
        self.runtime, self.workers, self.on_finished = runtime, workers, on_finished
        self.store = Store(runtime.store)
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["pipelines.warm"])

    def execute(self, targets: list[Call]) -> Outcome:
        """Makes every artifact that the targets need.

        Raises:
            StageError: a stage failed; calls that were running are waited for and kept, no other is started.
        """
        waiting = {call.key: call for call in ordered(targets)}
        depth = _critical_seconds(list(waiting.values()))
        counts = Counter(call.stage.name for call in waiting.values())
        progress = Progress(counts, {c.stage.name: c.stage.seconds for c in waiting.values()}, self.workers)
        done: dict[str, Artifact] = {}
        running: list[_Running] = []
        failures: list[str] = []
        executed, total = 0, len(waiting)
        log.info("%d stages; those that the store holds are taken from it", total)
        try:
            while waiting or running:
                if not failures:
                    self._start_ready(waiting, running, done, depth, progress)
                if not running:
                    break
                for item in self._finished(running):
                    running.remove(item)
                    outcome = self._collect(item)
                    if isinstance(outcome, str):
                        failures.append(outcome)
                        continue
                    executed += 1
                    done.update(dict.fromkeys(item.keys, outcome))
                    progress.finished(item.job.stage.name, outcome.manifest["seconds"])
                    self.on_finished(outcome)
                    left = total - len(waiting) - len(running)
                    log.info(
                        "[%d/%d] %s %s  %.1f s, about %.0f min left",
                        left, total, item.job.stage.name, item.job.label, outcome.manifest["seconds"],
                        progress.seconds_left() / 60,
                    )  # fmt: skip
        finally:
            _end(running)
        if failures:
            raise StageError("\n".join(failures))
        return Outcome(done, executed)

    def _start_ready(
        self,
        waiting: dict[str, Call],
        running: list[_Running],
        done: dict[str, Artifact],
        depth: dict[str, float],
        progress: Progress,
    ) -> None:
        """Takes hits until none is left, then starts the ready calls with the longest way still before them."""
        found = True
        while found:
            found = False
            ready = [call for call in waiting.values() if all(source.key in done for source in call.sources)]
            for call in sorted(ready, key=lambda c: -depth[c.key]):
                job = resolve(call, done)
                twin = next((r for r in running if r.job.fingerprint == job.fingerprint), None)
                artifact = None if twin else self.store.find(call.stage.name, job.fingerprint)
                if artifact is not None:
                    done[call.key] = artifact
                    progress.left[call.stage.name] -= 1
                    found = True
                elif twin is not None:
                    twin.keys.append(call.key)
                    progress.left[call.stage.name] -= 1
                elif len(running) < self.workers:
                    running.append(self._start(job, call.key))
                else:
                    continue
                del waiting[call.key]

    def _start(self, job: worker.Job, key: str) -> _Running:
        receiver, sender = self.context.Pipe(duplex=False)
        process = self.context.Process(target=worker.main, args=(job, self.runtime, sender), name=job.stage.name)
        process.start()
        sender.close()
        return _Running(process, receiver, job, [key])

    def _finished(self, running: list[_Running]) -> list[_Running]:
        ready = connection.wait([item.process.sentinel for item in running])
        return [item for item in running if item.process.sentinel in ready]

    def _collect(self, item: _Running) -> Artifact | str:
        """The artifact, or what went wrong as a message."""
        item.process.join()
        with item.pipe:
            try:
                kind, content = item.pipe.recv()
            except EOFError:  # it ended without a word
                kind, content = "crash", ""
        artifact = self.store.find(item.job.stage.name, item.job.fingerprint)
        if kind == "ok" and artifact is not None:
            return artifact
        partial = self.runtime.store / ".partial" / f"{item.job.stage.name}-{item.job.fingerprint[:20]}" / LOG
        name = f"stage {item.job.stage.name} ({item.job.label})"
        if kind == "error":
            return f"{name}: {content}\n  log: {partial}"
        return f"{name} ended with status {item.process.exitcode}: {last_line(partial)}\n  log: {partial}"


def _end(running: list[_Running]) -> None:
    """Ends what still runs: nothing after a plan, all of it after a Ctrl-C."""
    for item in running:
        item.process.terminate()
    for item in running:
        item.process.join()


def last_line(path: Path) -> str:
    """The last line of a log that is not empty: of a traceback, the error."""
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()] if path.exists() else []
    return lines[-1] if lines else "it left no log"


def _critical_seconds(calls: list[Call]) -> dict[str, float]:
    """Per call key, the guessed seconds from its start to the end of the longest chain that waits for it."""
    after: dict[str, float] = dict.fromkeys((call.key for call in calls), 0.0)
    for call in reversed(calls):
        mine = after[call.key] + call.stage.seconds
        for source in call.sources:
            after[source.key] = max(after[source.key], mine)
    return {call.key: after[call.key] + call.stage.seconds for call in calls}
