"""What a run starts ends with it: after a kill -9 and after a Ctrl-C nothing is left, in whatever process group."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from drift.processes import run_guarded

HERE = Path(__file__).parent
MARK = "TOY_RUN_MARK"


def marked(mark: str) -> set[int]:
    """Every living process that inherited the mark, wherever in the process tree it is."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if f"{MARK}={mark}".encode() in environment and state != "Z":
            found.add(int(folder.name))
    return found


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.fixture
def mark() -> Iterator[str]:
    name = uuid.uuid4().hex
    yield name
    for pid in marked(name):
        os.kill(pid, signal.SIGKILL)


def start(store: Path, behaviour: str, mark: str) -> subprocess.Popen[str]:
    run = [sys.executable, str(HERE / "toy_run.py"), str(store), behaviour, "1"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which a shell's background job would ignore
    return subprocess.Popen(
        run,
        env=os.environ | {MARK: mark},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heard,
    )


def ranks(store: Path) -> bool:
    return all((store / f"rank{rank}").exists() for rank in (0, 1))


def test_a_killed_run_leaves_no_rank_of_a_training_and_starts_again_at_once(tmp_path: Path, mark: str) -> None:
    for _ in range(2):
        process = start(tmp_path, "two-ranks", mark)
        assert wait_for(lambda: ranks(tmp_path), 60)
        assert len({os.getpgid(pid) for pid in marked(mark)}) > 3  # the run, the worker, torchrun and each rank
        process.kill()
        process.wait()
        assert wait_for(lambda: not marked(mark), 10), marked(mark)
        for rank in (0, 1):
            (tmp_path / f"rank{rank}").unlink()


def test_ctrl_c_ends_everything_within_ten_seconds_and_says_how_to_go_on(tmp_path: Path, mark: str) -> None:
    process = start(tmp_path, "two-ranks", mark)
    assert wait_for(lambda: ranks(tmp_path), 60)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert said.strip().splitlines()[-1] == "stopped; the same command goes on from here"
    assert wait_for(lambda: not marked(mark), 5), marked(mark)


def test_a_guarded_command_keeps_its_status_and_loses_what_it_left_behind(tmp_path: Path, mark: str) -> None:
    with open(tmp_path / "log", "w") as log:
        status = run_guarded(["sh", "-c", "setsid sleep 60 & exit 3"], os.environ | {MARK: mark}, log)
    assert status == 3
    assert not marked(mark)


def test_a_command_that_ignores_the_request_to_end_is_killed(tmp_path: Path, mark: str) -> None:
    with open(tmp_path / "log", "w") as log:
        run_guarded(["sh", "-c", "trap '' TERM; (trap '' TERM; sleep 60) & exit 0"], os.environ | {MARK: mark}, log)
    assert not marked(mark)


def test_a_signal_that_ended_the_command_is_its_status(tmp_path: Path) -> None:
    with open(tmp_path / "log", "w") as log:
        assert run_guarded(["sh", "-c", "kill -SEGV $$"], os.environ, log) == -signal.SIGSEGV
