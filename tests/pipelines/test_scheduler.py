"""A plan runs once, in order, in processes of its own; what fails stops what needs it and nothing else."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from multiprocessing import forkserver
from pathlib import Path

import pytest
from toy_stages import toy

from pipelines import timeline
from pipelines.errors import ConfigError, StageError
from pipelines.executors.local import Local
from pipelines.outcome import Outcome
from pipelines.scheduler import Scheduler
from pipelines.stage import Call, Runtime
from pipelines.store import Artifact, Store


@pytest.fixture
def execute(tmp_path: Path) -> Callable[..., Outcome]:
    def run(*targets: Call, on_finished: Callable[[Artifact], None] = lambda artifact: None) -> Outcome:
        return Scheduler(Runtime(tmp_path), Local(Runtime(tmp_path), 2), on_finished).execute(list(targets))

    return run


def runs(tmp_path: Path) -> list[str]:
    return (tmp_path / "runs.log").read_text().split()


def test_inputs_flow_and_a_second_time_nothing_runs(tmp_path: Path, execute: Callable[..., Outcome]) -> None:
    target = toy(4, toy(1), toy(2, toy(1)))
    first = execute(target)
    assert first[target].values == {"total": 8.0}
    assert first.executed == 3
    again = execute(target)
    assert again.executed == 0
    assert again[target].fingerprint == first[target].fingerprint
    assert sorted(runs(tmp_path)) == ["1", "2", "4"]


def test_a_bound_parameter_takes_the_measured_value(execute: Callable[..., Outcome]) -> None:
    target = toy(0, bound=toy(5, toy(2)))
    assert execute(target)[target].values == {"total": 7.0}


def test_a_bound_call_that_equals_another_is_not_run_twice(tmp_path: Path, execute: Callable[..., Outcome]) -> None:
    bound, plain = toy(0, bound=toy(3.0)), toy(3.0)
    outcome = execute(bound, plain)
    assert outcome[bound].fingerprint == outcome[plain].fingerprint
    assert runs(tmp_path).count("3.0") == 1


def test_every_artifact_that_was_made_is_reported_once_and_hits_never(execute: Callable[..., Outcome]) -> None:
    seen: list[str] = []
    execute(toy(1), toy(2), on_finished=lambda artifact: seen.append(artifact.manifest["label"]))
    execute(toy(1), toy(2), on_finished=lambda artifact: seen.append("again"))
    assert sorted(seen) == ["toy 1", "toy 2"]


def test_a_users_error_is_one_message_and_what_was_done_before_stays(execute: Callable[..., Outcome]) -> None:
    good = toy(1)
    with pytest.raises(StageError, match=r"stage toy .*found 0 rows, expected at least 1"):
        execute(toy(2, good, behaviour="fail"))
    assert execute(good).executed == 0


def test_a_defect_is_told_apart_and_names_its_log(tmp_path: Path, execute: Callable[..., Outcome]) -> None:
    with pytest.raises(StageError, match=r"ended with status 1: RuntimeError: a defect(\n.*)log: .*log\.txt"):
        execute(toy(1, behaviour="crash"))


def test_a_killed_stage_finds_its_files_again(tmp_path: Path, execute: Callable[..., Outcome]) -> None:
    call = toy(1, behaviour="die-once")
    with pytest.raises(StageError, match="ended with status -9"):
        execute(call)
    outcome = execute(call)
    assert (outcome[call].path / "half").read_text() == "kept over the kill"


def test_two_runs_on_one_store_make_everything_once_and_both_end_well(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("toy_run.py")), str(tmp_path), "slow"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(runs(tmp_path)) == sorted(str(float(value)) for value in range(7))
    assert list((tmp_path / ".partial").iterdir()) == []


def test_a_worker_dies_with_the_run_that_started_it(tmp_path: Path) -> None:
    import multiprocessing
    import os
    import signal

    process = multiprocessing.get_context("spawn").Process(target=_run_sleeper, args=(tmp_path,))
    process.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "sleeping").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "sleeping").exists()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    time.sleep(0.5)
    from pipelines.scheduler import resolve
    from pipelines.store import Store

    assert list((tmp_path / ".partial").glob("*.lease"))
    assert Store(tmp_path).holder("toy", resolve(toy(1, behaviour="sleep"), {}).fingerprint) is None


def _run_sleeper(store: Path) -> None:
    threading.current_thread().name = "sleeper"
    Scheduler(Runtime(store), Local(Runtime(store), 1), lambda artifact: None).execute([toy(1, behaviour="sleep")])


def test_a_failure_stops_what_needs_it_and_nothing_else(tmp_path: Path, execute: Callable[..., Outcome]) -> None:
    bad, worse = toy(1, behaviour="fail"), toy(2, behaviour="crash")
    good = toy(5, toy(3, behaviour="slow"), toy(4))
    with pytest.raises(StageError) as caught:
        execute(toy(9, toy(6, bad), worse, good), good)
    message = str(caught.value)
    assert "stage toy (toy 1): found 0 rows, expected at least 1" in message
    assert "stage toy (toy 2) ended with status 1: RuntimeError: a defect" in message
    assert "2 more need what failed and were not run; everything else was" in message
    assert message.count("log: ") == 2
    assert execute(good).executed == 0
    assert sorted(runs(tmp_path)) == ["3", "4", "5"]


def test_the_outcome_holds_failures_by_call(tmp_path: Path) -> None:
    bad, good = toy(1, behaviour="fail"), toy(2)
    local = Local(Runtime(tmp_path), 2)
    outcome = Scheduler(Runtime(tmp_path), local, lambda artifact: None).attempt([toy(3, bad), bad, good])
    assert outcome[good].values == {"total": 2.0}
    assert outcome.failures[bad.key].reason.startswith(": found 0 rows")
    assert outcome.blocked == 1


def test_what_may_be_retried_is_and_goes_on_where_it_was(execute: Callable[..., Outcome]) -> None:
    call = toy(1, behaviour="die-once", retries=1)
    outcome = execute(call)
    assert (outcome[call].path / "half").read_text() == "kept over the kill"


def test_retries_end(tmp_path: Path, execute: Callable[..., Outcome], caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StageError, match="found 0 rows"):
        execute(toy(1, behaviour="fail", retries=2))
    assert "starting it again (2 of 2)" in caplog.text
    assert "(3 of 2)" not in caplog.text


def spans(store: Path) -> list[tuple[float, float, str]]:
    """(start, end, GPUs) of every artifact, in seconds."""
    found = []
    for path in store.glob("toy/*/manifest.json"):
        manifest = json.loads(path.read_text())
        begin = datetime.fromisoformat(manifest["started"]).timestamp()
        found.append((begin, begin + manifest["seconds"], manifest["place"]["gpus"]))
    return found


def on_gpus(store: Path, slots: int, *targets: Call) -> None:
    local = Local(Runtime(store), slots + 2, slots)
    Scheduler(Runtime(store), local, lambda artifact: None).execute(list(targets))


def test_eight_slots_are_busy_at_once_and_none_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    on_gpus(tmp_path, 8, *(toy(value, behaviour="busy", gpus=1) for value in range(16)))
    found = spans(tmp_path)
    assert {gpus for _, _, gpus in found} == {str(place) for place in range(8)}
    busy = [[gpus for begin, end, gpus in found if begin <= moment < end] for moment, _, _ in found]
    assert max(map(len, busy)) == 8
    assert all(len(set(gpus)) == len(gpus) for gpus in busy)
    lanes = timeline.rows(timeline.spans(Store(tmp_path).manifests()))
    timeline.draw(lanes, tmp_path / "timeline")
    assert [row for _, row in lanes] == [f"GPU {place}" for place in range(8)]
    assert min(timeline.busy(lanes).values()) > 0.3
    assert len((tmp_path / "timeline.csv").read_text().splitlines()) == 1 + 16


def test_a_job_of_every_gpu_is_not_starved_and_the_cpu_goes_on_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    small = [toy(value, behaviour="busy", gpus=1) for value in range(6)]
    training = toy(10, behaviour="busy", gpus=2)
    on_gpus(tmp_path, 2, toy(20, training, toy(11, behaviour="busy")), *small)
    found = sorted(spans(tmp_path))
    begin, end, _ = next(span for span in found if span[2] == "5,6")
    beside = [gpus for start, _, gpus in found if begin <= start < end and gpus != "5,6"]
    assert set(beside) <= {""}
    assert {gpus for _, _, gpus in found} == {"", "5", "6", "5,6"}


def test_more_gpus_than_there_are_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"wants 4 GPUs and launcher\.gpus is 2"):
        on_gpus(tmp_path, 2, toy(1, toy(2)), toy(3, gpus=4))
    assert not (tmp_path / "runs.log").exists()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(ConfigError, match=r"CUDA_VISIBLE_DEVICES=3 shows 1"):
        Local(Runtime(tmp_path), 2, 2)


def test_the_process_that_stages_are_forked_from_may_be_killed(execute: Callable[..., Outcome]) -> None:
    execute(toy(1.0))
    pid: int = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    os.kill(pid, signal.SIGSTOP)  # so that it is asked for a fork before it ends
    threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(StageError, match=r"stage toy \(toy 2\.0\): the process that stages are forked from was killed"):
        execute(toy(2.0))
    assert execute(toy(2.0)).executed == 1
