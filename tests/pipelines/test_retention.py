"""Weights go once nothing reads them, what is left still counts as made, and the disk's peak is what the plan said."""

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pipelines import compose, held, plan, worker
from pipelines.forecast import Machine, forecast
from pipelines.job import Job
from pipelines.outcome import Outcome
from pipelines.retention import Keep
from pipelines.scheduler import Scheduler
from pipelines.session import scheduler
from pipelines.stage import Call, Needs, Runtime, Stage, ordered
from pipelines.store import Store

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Params:
    """Bytes of weights to write; `drawn` ones are others each time."""

    number: int
    size: int = 0
    drawn: bool = False


def make(params: Params, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    for path in inputs.values():
        if params.size == 0 and (path / "model.safetensors").exists():
            assert (path / "model.safetensors").stat().st_size == MEGABYTE
    (out / "small.txt").write_text("stays")
    if params.size:
        content = os.urandom(params.size) if params.drawn else bytes([params.number]) * params.size
        (out / "model.safetensors").write_bytes(content)
    return {}


def needs(call: Call, machine: Any = None) -> Needs:
    return Needs(seconds=2.0 if call.params.size else 1.0, kept=call.params.size)


def call(stage: str, number: int, size: int = 0, drawn: bool = False, **inputs: Call) -> Call:
    row = Stage(stage, 1, f"{__name__}:make", 1.0, needs)
    return Call(row, Params(number, size, drawn), inputs, label=f"{stage} {number}")


MERGES = ("task_arithmetic", "ties", "dare_ties", "dare_linear", "layer_swap", "slerp", "model_stock", "tsv")
METHODS = [["sft"], ["drift", "injection.alpha=-1.0"], *([name] for name in MERGES)]


class Scale:
    """Weighs a store over and over while it is filled."""

    def __init__(self, store: Path) -> None:
        self.store, self.peak, self._ended = store, 0, threading.Event()
        self._thread = threading.Thread(target=self._weigh)

    def __enter__(self) -> "Scale":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _weigh(self) -> None:
        while not self._ended.wait(0.02):
            size = 0
            for path in self.store.rglob("*"):
                with suppress(FileNotFoundError):
                    size += path.stat().st_size if path.is_file() else 0
            self.peak = max(self.peak, size)


class Inline:
    """Two jobs at a time, in this process; the store is weighed after each."""

    width = 2

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.store, self.queue, self.peak = runtime, Store(runtime.store), list[Job](), 0

    def check(self, needs: Needs) -> None: ...

    def has_room(self, needs: Needs) -> bool:
        return len(self.queue) < self.width

    def submit(self, job: Job) -> None:
        self.queue.append(job)

    def poll(self, seconds: float) -> Sequence[tuple[Job, str]]:
        job = self.queue.pop(0)
        with self.store.writing(job.stage.name, job.fingerprint) as partial:
            worker.run(job, self.runtime, partial)
        self.peak = max(self.peak, sum(path.stat().st_size for path in self.runtime.store.rglob("*.safetensors")))
        return [(job, "status 0")]

    def cancel(self) -> None: ...


def run(store: Path, target: Call, keep: Keep = "scores") -> tuple[Outcome, int]:
    executor = Inline(Runtime(store))
    return Scheduler(Runtime(store), executor, lambda artifact: None, keep=keep).execute([target]), executor.peak


def chains(count: int, drawn: bool = False) -> tuple[list[Call], Call]:
    """Merges, a generation on each, a score over all; the merges, and a choice."""
    merges = [call("merge", number, MEGABYTE, drawn) for number in range(count)]
    answers = {f"a{merge.params.number}": call("generate", merge.params.number, model=merge) for merge in merges}
    return merges, call("choose", 0, **answers)


def test_the_stores_peak_is_what_the_forecast_said(tmp_path: Path) -> None:
    merges, target = chains(12)
    outcome, peak = run(tmp_path, target)
    calls = ordered([target])
    said = forecast(calls, (), "scores", Machine(Inline.width, 0), lambda c: c.needs)
    assert peak == said.peak == 2 * MEGABYTE  # as many as run side by side
    assert said.kept == 0
    assert forecast(calls, (), "all", Machine(Inline.width, 0), lambda c: c.needs).peak == 12 * MEGABYTE
    gone = outcome[merges[0]]
    assert (gone.evicted, (gone.path / "small.txt").exists()) == ({"model.safetensors"}, True)
    Store(tmp_path).check(gone)


def test_what_gave_up_its_weights_is_held_until_something_reads_them(tmp_path: Path) -> None:
    merges, target = chains(2)
    run(tmp_path, target)
    again, _ = run(tmp_path, target)
    assert again.executed == 0
    assert {state.word for state in held.states(ordered([target]), Store(tmp_path)).values()} == {"store"}
    other = call("generate", 7, model=merges[1])
    words = held.states(ordered([other]), Store(tmp_path))
    assert [words[merges[1].key].word, words[other.key].word] == ["run", "run"]
    made, _ = run(tmp_path, call("choose", 1, a=other, b=call("generate", 0, model=merges[0])))
    assert made.executed == 3  # the merge that is read, its reader and the choice
    assert made[merges[1]].manifest["remade"] == {"same": True, "differing": []}
    assert made[merges[1]].evicted


def test_weights_that_come_out_otherwise_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    merges, target = chains(1, drawn=True)
    run(tmp_path, target)
    made, _ = run(tmp_path, call("generate", 7, model=merges[0]))
    assert made[merges[0]].manifest["remade"] == {"same": False, "differing": ["model.safetensors"]}
    assert "was made again and is not what it was: model.safetensors differ" in caplog.text


def test_what_is_made_from_weights_that_are_gone_is_made_again_from_the_start(tmp_path: Path) -> None:
    prior = call("prior", 1, MEGABYTE)
    train = call("train", 2, MEGABYTE, prior=prior)
    run(tmp_path, call("generate", 3, model=train))
    made, _ = run(tmp_path, call("generate", 4, model=train))
    assert made.executed == 3
    assert made[prior].evicted == made[train].evicted == {"model.safetensors"}


@pytest.mark.parametrize(("keep", "left"), [("all", 2), ("weights", 1), ("scores", 0)])
def test_keep_says_what_stays(tmp_path: Path, keep: Keep, left: int) -> None:
    train = call("train", 2, MEGABYTE, prior=call("prior", 1, MEGABYTE))
    run(tmp_path, call("generate", 3, model=train), keep)
    assert len(list(tmp_path.rglob("*.safetensors"))) == left


def test_a_reader_that_failed_keeps_its_weights(tmp_path: Path) -> None:
    merge = call("merge", 0, MEGABYTE)
    broken = call("generate", 1, model=merge)
    broken = replace(broken, stage=replace(broken.stage, run=f"{__name__}:nowhere"))
    with pytest.raises(AttributeError):
        run(tmp_path, broken)
    assert (tmp_path / "merge").exists()
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1


@pytest.mark.slow
def test_a_smoke_worlds_disk_peaks_where_the_plan_says(tmp_path: Path) -> None:
    """Eight merges and two trainings of a smoke world, two at a time: at most the plan's peak, and close to it."""
    config = compose.load(["profile=smoke", f"store={tmp_path / 'store'}", "tracker=disabled", "keep=scores"])
    targets = [plan.score(compose.load(["profile=smoke", f"method={name}", *more])) for name, *more in METHODS]
    calls, machine = ordered(targets), Machine(config.launcher.workers, config.launcher.gpus)
    said = forecast(calls, (), config.keep, machine, lambda each: each.needs)
    with Scale(tmp_path / "store") as scale:
        scheduler(config).execute(targets)
    assert 0.6 * said.peak < scale.peak < 1.15 * said.peak
    weights = tmp_path.rglob("*.safetensors")
    assert {path.relative_to(tmp_path / "store").parts[0] for path in weights} == {"model"}
