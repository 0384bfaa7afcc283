"""Runs a plan: what is in the store is taken, the rest is given to an executor in dependency order.

Fingerprints are computed as sources finish, because a bound parameter is known only then; a bound call that comes out
equal to one that has run is a hit like any other. What fails stops what depends on it and nothing else. What another
scheduler is making in the same store is left to it and taken from there.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipelines.errors import DamageError, OutdatedError, StageError, StoreError
from pipelines.executors import Executor
from pipelines.fingerprint import fingerprint
from pipelines.job import Job
from pipelines.order import ranks
from pipelines.outcome import Failure, Outcome, last_line
from pipelines.progress import Running, State, Times, View, finding, view
from pipelines.retention import Keep, Retention, live_weights
from pipelines.stage import Bind, Call, Runtime, ordered, with_value
from pipelines.staleness import Freshness, Wanted
from pipelines.store import LOG, MANIFEST, Artifact, Store

log = logging.getLogger(__name__)
About = Callable[[Call, Job, dict[str, Artifact]], Mapping[str, Any]]
_ELSEWHERE_SECONDS = 0.5  # between two looks at what another scheduler is making


def _unheard(*told: object) -> None:
    """Nobody asked to be told."""


def resolve(call: Call, done: dict[str, Artifact], wanted: Wanted | None = None) -> Job:
    """The call with its bound parameters read and its fingerprint computed; its sources must be done.

    Args:
        wanted: what is asked of the artifact beyond that; anything will do without it.
    """
    params = call.params
    for path, bind in call.binds.items():
        params = with_value(params, path, _bound_value(bind, done))
    inputs = {name: done[source.key] for name, source in call.inputs.items()}
    mark = fingerprint(
        call.stage.name, call.stage.version, params, {name: item.fingerprint for name, item in inputs.items()}
    )
    return Job(call.stage, mark, params, inputs, call.label, call.needs, wanted or Wanted())


def _bound_value(bind: Bind, done: dict[str, Artifact]) -> object:
    values = done[bind.source.key].values
    if bind.value not in values:
        raise StageError(f"{bind.source.stage.name} has no value {bind.value!r}; it has {', '.join(sorted(values))}")
    return values[bind.value]


class Scheduler:
    """Executes plans.

    Args:
        on_finished: told of every artifact that was made (not of hits), in the scheduling process.
        seconds: a guess at a call's wall time.
        keep: whose weights stay (`pipelines.retention`).
        fresh: which of the artifacts that are there are taken; those of the code at hand.
        about: what the manifest of a call's artifact says beside what the worker knows.
        on_planned: told of a plan's calls, and of the artifacts by call key, which fill as it goes on.
        on_started: told of every job that begins, with the call's key.
    """

    def __init__(
        self,
        runtime: Runtime,
        executor: Executor,
        on_finished: Callable[[Artifact], None],
        seconds: Callable[[Call], float] = lambda call: call.needs.seconds,
        keep: Keep = "all",
        fresh: Freshness | None = None,
        about: About = lambda call, job, done: {},
        on_planned: Callable[[Sequence[Call], Mapping[str, Artifact]], None] = _unheard,
        on_started: Callable[[str, Job], None] = _unheard,
    ) -> None:
        self.store, self.executor, self.on_finished = Store(runtime.store), executor, on_finished
        self.seconds, self.keep, self.fresh, self.about = seconds, keep, fresh or Freshness(self.store), about
        self.on_planned, self.on_started = on_planned, on_started

    def execute(self, targets: list[Call]) -> Outcome:
        """Makes every artifact that the targets need.

        Raises:
            StageError: calls failed; everything that does not depend on them was made before it is raised.
        """
        outcome = self.attempt(targets)
        outcome.check()
        return outcome

    def attempt(self, targets: list[Call]) -> Outcome:
        """As `execute`, with the failures in the outcome."""
        calls = ordered(targets)
        for call in calls:
            self.executor.check(call.needs)
        shown = view()
        try:
            return _Execution(self, calls, shown).run()
        finally:
            shown.close()
            self.executor.cancel()


class _Execution:
    """One plan on its way: a call is waiting, ready (resolved and not in the store), running, done or failed."""

    def __init__(self, scheduler: Scheduler, calls: list[Call], shown: View) -> None:
        self.store, self.executor, self.on_finished = scheduler.store, scheduler.executor, scheduler.on_finished
        self.on_started = scheduler.on_started
        self.calls, self.ranks, self.shown = {call.key: call for call in calls}, ranks(calls, scheduler.seconds), shown
        self.fresh, self.about = scheduler.fresh, scheduler.about
        self.retention = Retention(scheduler.keep, live_weights(self.executor.width), calls)
        self.waiting = {call.key: call for call in calls}
        self.ready: dict[str, Job] = {}
        self.elsewhere: set[str] = set()  # of the ready ones, those that another scheduler is making
        self.damaged: set[str] = set()  # of the ready ones, those whose worker finds a place to clear
        self.stale: set[str] = set()  # of the ready ones, those that are there and are to be made again
        self.running: dict[str, list[str]] = {}  # fingerprint -> the keys that it will serve
        self.places: dict[str, Running] = {}  # fingerprint -> what is shown of it
        self.done: dict[str, Artifact] = {}
        self.failures: dict[str, Failure] = {}
        self.attempts: Counter[str] = Counter()
        self.executed = 0
        self.times = Times(_means(calls, scheduler.seconds))
        scheduler.on_planned(calls, self.done)

    def run(self) -> Outcome:
        log.info("%d stages; those that the store holds are taken from it", len(self.calls))
        while True:
            for key in list(self.elsewhere):
                self._take(key)
            self._admit()
            self._start()
            if not self.running and not self.elsewhere:
                return Outcome(self.done, self.executed, self.failures, len(self.waiting))
            self.shown.show(self._state())
            seconds = min(self.shown.seconds, _ELSEWHERE_SECONDS) if self.elsewhere else self.shown.seconds
            if not self.running:
                time.sleep(seconds)
                continue
            for job, said in self.executor.poll(seconds):
                self._collect(job, said)

    def _admit(self) -> None:
        """Makes ready what has its sources, or takes it from the store, until nothing more has them."""
        found = True
        while found:
            found = False
            for key, call in list(self.waiting.items()):
                if all(source.key in self.done for source in call.sources):
                    found = True
                    del self.waiting[key]
                    try:
                        self.ready[key] = resolve(call, self.done, self.fresh.wanted(call))
                    except StageError as error:
                        self.failures[key] = Failure(call.stage.name, call.label, f": {error}")
                    else:
                        self._take(key)
        self.fresh.say()

    def _take(self, key: str) -> None:
        """Takes a ready call's artifact from the store, if it is there and what it should be.

        A damaged one stays where it is until a worker holds its lease: only that may clear the place.
        """
        job = self.ready[key]
        try:
            artifact = self.store.take(job.stage.name, job.fingerprint, job.inputs)
        except OutdatedError:
            self.stale.add(key)
            self._want_weights(key)
            return
        except DamageError as error:
            if key not in self.damaged:
                log.warning("%s", error)
            self.damaged.add(key)
            return
        except StoreError as error:
            self.failures[key] = Failure(job.stage.name, job.label, f": {error}")
        else:
            if artifact is None or (artifact.evicted and key in self.retention.wanted):
                self._want_weights(key)
                return
            if not self.fresh.takes(artifact, job.wanted, job.stage.run):
                self.stale.add(key)
                self._want_weights(key)
                return
            self.stale.discard(key)
            self.done[key] = artifact
            self._evict(key)
            self.times.add(job.stage.name, artifact.manifest["seconds"])
        self.elsewhere.discard(key)
        del self.ready[key]

    def _want_weights(self, key: str) -> None:
        """Puts a call back that reads weights which were given up, and those that make them again before it."""
        call = self.calls[key]
        gone = self.retention.missing(call, self.done)
        if gone:
            del self.ready[key]
            self.elsewhere.discard(key)
            self.waiting[key] = call
        for source in gone:
            del self.done[source]
            self.waiting[source] = self.calls[source]

    def _evict(self, key: str) -> None:
        """Gives up the weights that nobody reads any more, now that this call is done."""
        for free in self.retention.finished(self.calls[key]):
            if free in self.done and not self.done[free].evicted:
                self.done[free] = self.store.evict(self.done[free])
                log.info("the weights of %s were given up: nothing reads them any more", self.calls[free].label)

    def _start(self) -> None:
        """Starts ready calls in their order, those whose weights would pile up only where all else waits."""
        self._start_ready(spares=True)
        if not self.running and not self.elsewhere:
            self._start_ready(spares=False)

    def _start_ready(self, spares: bool) -> None:
        """One that must wait for GPUs keeps later ones from taking those that become free: it would wait for ever."""
        crowded = False
        for key in sorted(self.ready, key=self.ranks.__getitem__):
            job = self.ready[key]
            if job.fingerprint in self.running:
                self.running[job.fingerprint].append(key)
            elif (crowded and job.needs.gpus) or not self.executor.has_room(job.needs):
                crowded = crowded or job.needs.gpus > 0
                continue
            elif (spares and not self.retention.may_begin(self.calls[key])) or self._is_elsewhere(key, job):
                continue
            else:
                self.store.error(job.stage.name, job.fingerprint).unlink(missing_ok=True)
                self._submit(key, job)
            self.elsewhere.discard(key)
            del self.ready[key]

    def _submit(self, key: str, job: Job) -> None:
        """Hands a job to the executor; a refusal of this one is its own failure."""
        self.fresh.remember(job.wanted, job.stage.run)
        try:
            self.executor.submit(replace(job, about=self.about(self.calls[key], job, self.done)))
        except StageError as error:
            self.failures[key] = Failure(job.stage.name, job.label, f": {error}")
        else:
            self.running[job.fingerprint] = [key]
            self.retention.begun(self.calls[key])
            partial = self.store.partial(job.stage.name, job.fingerprint)
            self.places[job.fingerprint] = Running(job.stage.name, job.label, partial, job.params)
            self.on_started(key, job)

    def _is_elsewhere(self, key: str, job: Job) -> bool:
        """Whether another scheduler's worker makes it, or has made it since this plan last looked."""
        holder = self.store.holder(job.stage.name, job.fingerprint)
        is_made = self.store.path(job.stage.name, job.fingerprint).joinpath(MANIFEST).exists()
        is_wanted = key in self.damaged or key in self.stale or key in self.retention.wanted
        if holder is None and (is_wanted or not is_made):
            return False
        if key not in self.elsewhere and holder is not None:
            log.info("%s %s is being made by %s; it is taken from there", job.stage.name, job.label, holder)
        self.elsewhere.add(key)
        return True

    def _collect(self, job: Job, said: str) -> None:
        """Takes what a job that ended has made; else starts it again, or counts it as failed."""
        keys, stage = self.running.pop(job.fingerprint), job.stage.name
        del self.places[job.fingerprint]
        result = self._result(job, said)
        if isinstance(result, Failure):
            self.attempts[job.fingerprint] += 1
            if self.attempts[job.fingerprint] <= job.needs.retries:
                log.warning(
                    "%s\n  starting it again (%d of %d)", result, self.attempts[job.fingerprint], job.needs.retries
                )
                self.ready.update(dict.fromkeys(keys, job))
                return
            log.error("%s", result)
            self.failures.update(dict.fromkeys(keys, result))
            return
        self.executed += 1
        self.done.update(dict.fromkeys(keys, result))
        for key in keys:
            self._evict(key)
        self.times.add(stage, result.manifest["seconds"])
        self.on_finished(result)
        self.shown.finished(finding(result))

    def _state(self) -> State:
        """Where every call stands; one that needs what failed is counted as failed with it."""
        running = {key for keys in self.running.values() for key in keys}
        lost: set[str] = set()
        counts: dict[str, Counter[str]] = {}
        for key, call in self.calls.items():
            if key in self.failures or any(source.key in lost for source in call.sources):
                lost.add(key)
                state = "failed"
            else:
                state = "done" if key in self.done else "running" if key in running else "queued"
            counts.setdefault(call.stage.name, Counter())[state] += 1
        open_calls = {stage: each["running"] + each["queued"] for stage, each in counts.items()}
        left = {stage: count * self.times.each(stage) for stage, count in open_calls.items()}
        seconds = sum(left.values()) / max(1, min(self.executor.width, sum(open_calls.values())))
        return State(counts, list(self.places.values()), left, seconds)

    def _result(self, job: Job, said: str) -> Artifact | Failure:
        asked = (job.stage.name, job.fingerprint)
        text, error_file = self.store.partial(*asked) / LOG, self.store.error(*asked)
        try:
            artifact = self.store.take(*asked, job.inputs)
        except StoreError as error:
            return Failure(job.stage.name, job.label, f": {error}")
        if artifact is not None:
            return artifact
        if error_file.exists():
            reason = f": {error_file.read_text()}"
            error_file.unlink()
            return Failure(job.stage.name, job.label, reason, text)
        return Failure(job.stage.name, job.label, f" ended with {said}: {last_line(text)}", text)


def _means(calls: list[Call], seconds: Callable[[Call], float]) -> dict[str, float]:
    """Per stage the mean of its calls' guesses."""
    found: dict[str, list[float]] = {}
    for call in calls:
        found.setdefault(call.stage.name, []).append(seconds(call))
    return {name: sum(each) / len(each) for name, each in found.items()}
