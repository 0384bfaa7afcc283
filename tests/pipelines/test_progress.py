"""What a person sees of a plan on its way: counts, what runs, what is left; and lines where nobody watches."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console
from test_processes import HERE, MARK, mark, marked, ranks, wait_for
from toy_stages import Toy, toy

from drift.training.config import InjectionConfig, TrainingConfig
from pipelines.executors.local import Local
from pipelines.progress import Lines, Running, State, Times, finding, screen
from pipelines.scheduler import Scheduler
from pipelines.stage import Runtime
from pipelines.stages import TrainParams
from pipelines.store import Artifact

__all__ = ["mark"]


def drawn(state: State, height: int = 20) -> list[str]:
    console = Console(width=100, height=height, record=True, file=io.StringIO())
    console.print(screen(state, height))
    return [" ".join(line.split()) for line in console.export_text().splitlines()]


def test_the_screen_counts_by_stage_and_says_what_runs_and_what_is_left(tmp_path: Path) -> None:
    counts = {"model": Counter(done=2), "train": Counter(running=1, queued=3, failed=1)}
    running = [Running("train", "SFT seed=0", tmp_path, Toy(1.0), time.monotonic() - 5)]
    assert drawn(State(counts, running, {"model": 0.0, "train": 400.0}, 200.0)) == [
        "stage running queued done failed left",
        "model · · 2 ·",
        "train 1 3 · 1 7 min",
        "all 1 3 2 1 about 3 min",
        "train SFT seed=0 5 s",
    ]


def test_a_small_screen_shows_what_fits(tmp_path: Path) -> None:
    running = [Running("toy", str(place), tmp_path, Toy(1.0)) for place in range(9)]
    assert drawn(State({"toy": Counter(running=9)}, running, {"toy": 9.0}, 9.0), height=8)[-1] == "and 6 more"


def test_a_training_shows_step_loss_and_time_left_from_its_metrics_as_they_grow(tmp_path: Path) -> None:
    params = TrainParams(TrainingConfig(epochs=2), InjectionConfig(), 1)
    call, metrics = Running("train", "SFT", tmp_path, params), tmp_path / "model" / "metrics.jsonl"
    assert call.training() == ""
    metrics.parent.mkdir()
    lines = [{"step": 10, "epoch": 0.5, "loss": 1.5}, {"step": 20, "epoch": 1.0, "loss": 0.75}]
    metrics.write_text(json.dumps(lines[0]) + '\n{"step": 15, "ep')
    assert call.training() == "step 10 of 40, loss 1.5"
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert call.first is not None
    call.first = (time.monotonic() - 10, 10)
    assert call.training() == "step 20 of 40, loss 0.75, 20 s left"


def test_what_was_found_last_stands_below_what_runs(tmp_path: Path) -> None:
    console = Console(width=100, height=20, record=True, file=io.StringIO())
    state = State({"toy": Counter(running=1)}, [Running("toy", "one", tmp_path, Toy(1.0))], {"toy": 9.0}, 9.0)
    console.print(screen(state, 20, ["54.2 on average, SFT seed=0"]))
    assert console.export_text().splitlines()[-1].strip() == "found: 54.2 on average, SFT seed=0"


def test_a_score_a_training_and_a_choice_are_findings_and_all_else_is_none(tmp_path: Path) -> None:
    def of(values: dict) -> str:
        return finding(Artifact(tmp_path, {"label": "x", "values": values}))

    assert of({"scores": {"MathVista": 50.0, "WeMath": 25.0}}) == "37.5 on average, x"
    assert of({"loss": 0.1234, "w_eff": 0.5}) == "loss 0.123, w_eff 0.5, x"
    assert of({"chosen": -0.3}) == "-0.3 was chosen, x"
    assert of({"chosen": {"weight": 0.1, "keep_layers": "5/28"}}) == "weight=0.1 keep_layers=5/28 was chosen, x"
    assert of({"examples": 3}) == ""
    assert of({"scores": {"LabMathVista": {"ours": 50.0, "theirs": 25.0}}, "agreement": {"LabMathVista": 75.0}}) == ""


def test_a_log_gets_a_line_a_minute_and_of_what_is_done_before_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="pipelines.progress")
    lines = Lines()
    state = State({"toy": Counter(running=1, done=2)}, [Running("toy", "one", tmp_path, Toy(1.0))], {}, 120.0)
    for _ in range(3):
        lines.show(state)
        lines.finished("54.2 on average, SFT")
        lines.finished("")
    assert not caplog.messages
    lines._said -= 60
    lines.show(state)
    lines.show(state)
    assert caplog.messages == ["2 of 3, about 2 min left; runs: toy one; found: 54.2 on average, SFT"]


def test_measured_times_come_before_guesses() -> None:
    times = Times({"train": 100.0, "score": 1.0})
    times.add("train", 10.0)
    times.add("train", 20.0)
    assert (times.each("train"), times.each("score")) == (15.0, 1.0)


def test_a_plan_s_state_counts_what_needs_a_failure_as_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[State] = []

    class Spy:
        seconds = 60.0

        def show(self, state: State) -> None:
            states.append(state)

        def finished(self, found: str) -> None:
            """Not looked at."""

        close = lambda self: None  # noqa: E731

    monkeypatch.setattr("pipelines.scheduler.view", Spy)
    bad = toy(1.0, behaviour="fail")
    outcome = Scheduler(Runtime(tmp_path), Local(Runtime(tmp_path), 2), lambda artifact: None).attempt(
        [toy(3.0, bad), toy(2.0)]
    )
    assert (len(outcome.failures), outcome.blocked) == (1, 1)
    assert states[0].counts == {"toy": Counter(running=2, queued=1)}
    assert states[-1].counts["toy"]["failed"] == 2 or states[-1].counts["toy"]["running"] == 1


def test_without_a_terminal_there_is_no_screen() -> None:
    code = "from pipelines.progress import view; print(type(view()).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Lines\n"


def test_ctrl_c_on_a_terminal_ends_everything_within_ten_seconds_and_says_how_to_go_on(
    tmp_path: Path,
    mark: str,
) -> None:
    run = [sys.executable, str(HERE / "toy_run.py"), str(tmp_path), "two-ranks", "1"]
    pid, terminal = pty.fork()
    if not pid:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it, and so would this one
        os.execve(run[0], run, os.environ | {MARK: mark, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"})
    said = bytearray()
    reader = threading.Thread(target=_drain, args=(terminal, said))  # a terminal that nobody reads would stop the run
    reader.start()
    assert wait_for(lambda: ranks(tmp_path), 60)
    assert len({os.getpgid(each) for each in marked(mark)}) > 3
    time.sleep(1)
    began = time.monotonic()
    os.write(terminal, b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert time.monotonic() - began < 10
    reader.join(5)
    assert said.decode().split("\r\n")[-2].endswith("stopped; the same command goes on from here")
    assert "toy  toy 0.0" in said.decode()  # the screen was there
    assert "Warning" not in said.decode()
    assert wait_for(lambda: not marked(mark), 5), marked(mark)


def _drain(terminal: int, said: bytearray) -> None:
    """Reads until the other end is closed."""
    try:
        while True:
            said += os.read(terminal, 65536)
    except OSError:
        return
