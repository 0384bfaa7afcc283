"""Whatever of the project runs while a stage is made was reached when its code was asked for."""

import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pipelines import compose, plan, tables, worker
from pipelines.code.digests import ROOT, Code
from pipelines.code.reach import is_naming
from pipelines.code.shapes import OURS
from pipelines.job import Job
from pipelines.scheduler import Scheduler
from pipelines.stage import Call, Needs, Runtime, Stage, ordered
from pipelines.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


class Inline:
    """Makes each job in this process."""

    width = 1

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.ended = runtime, list[tuple[Job, str]]()

    def check(self, needs: Needs) -> None: ...

    def has_room(self, needs: Needs) -> bool:
        return not self.ended

    def submit(self, job: Job) -> None:
        worker.run(job, self.runtime, Store(self.runtime.store).begin(job.stage.name, job.fingerprint, ""))
        self.ended.append((job, ""))

    def poll(self, seconds: float) -> Sequence[tuple[Job, str]]:
        ended, self.ended = self.ended, []
        return ended

    def cancel(self) -> None: ...


class Watch:
    """The project's functions that ran below a call, as places of `Reached.texts`."""

    def __init__(self) -> None:
        self.ran: set[tuple[str, str]] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        ran = code.co_filename, code.co_qualname
        is_new = event == "call" and ran not in self.ran and code.co_filename.startswith(str(ROOT))
        if is_new and not _is_left_out(frame):
            self.ran.add(ran)

    def places(self) -> set[tuple[str, ...]]:
        found = set()
        for file, name in self.ran:
            module = _dotted(file)
            if module.partition(".")[0] in OURS:
                found.add((module, *name.split(".<locals>")[0].split(".")[:2]))
        return found


def _is_left_out(frame: FrameType | None) -> bool:
    """Whether this runs because a module is imported (what its constants take, used or not), or in order to name."""
    while frame is not None:
        if _leaves_out(frame.f_code.co_filename, frame.f_code.co_qualname):
            return True
        frame = frame.f_back
    return False


@cache
def _leaves_out(file: str, name: str) -> bool:
    if not file.startswith(str(ROOT)):
        return False
    return name == "<module>" or is_naming(f"{_dotted(file)}:{name.replace('.', ':')}")


def _dotted(file: str) -> str:
    """The module in a file of the project."""
    return str(Path(file).relative_to(ROOT)).removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def targets() -> list[Call]:
    """Every kind of stage that a lab world has, at the smallest size."""
    words = ["profile=smoke", "seeds=[0]", "tracker=disabled"]
    found = [plan.score(compose.load([*words, f"method={method}"])) for method in ("drift", "ties", "dare_linear")]
    found.append(plan.score(compose.load([*words, "method=ties", "merge.coefficient=auto"])))
    report, _ = tables.as_asked([tables.load("table3"), tables.load("figure2")], words, online=False)
    return [*found, report]


def test_whatever_a_stage_runs_was_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, missed, original = Code(), dict[str, set[str]](), Stage.function
    calls = {call.stage.name + call.label: call for call in ordered(targets())}

    def watched(stage: Stage) -> Callable[..., dict[str, Any]]:
        def run(params: Any, *rest: Any) -> dict[str, Any]:
            watch, function = Watch(), original(stage)
            sys.setprofile(watch)
            threading.setprofile(watch)
            try:
                return function(params, *rest)
            finally:
                sys.setprofile(None)
                threading.setprofile(None)
                made[stage.name].append(watch.places())

        return run

    made: dict[str, list[set[tuple[str, ...]]]] = {call.stage.name: [] for call in calls.values()}
    monkeypatch.setattr(Stage, "function", watched)
    order: list[Job] = []
    runtime = Runtime(tmp_path)
    inline = Inline(runtime)
    submit = inline.submit
    monkeypatch.setattr(inline, "submit", lambda job: (order.append(job), submit(job)))
    Scheduler(runtime, inline, lambda artifact: None).execute(list(calls.values()))
    for job in order:
        texts = code.reached(job.stage.run, set(job.wanted.words)).texts
        names = {each.split("@")[0] for each in texts}
        for module, *name in made[job.stage.name].pop(0):
            is_part = len(name) == 2 and not name[1].startswith(("__", "<"))
            place = f"{module}:{name[0]}:{name[1]}" if is_part else f"{module}:{name[0]}"
            if place not in names and not name[0].startswith("<"):
                missed.setdefault(place, set()).add(f"{job.stage.name} {job.label}")
    assert missed == {}
