"""A lease has one living holder on one host or on many; the dead lose theirs, and nothing of one stays behind."""

import json
import logging
import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest

from pipelines import lease as leases
from pipelines.lease import Lease


def elsewhere(path: Path, token: str = "t") -> None:
    """A lease held by a process of another host."""
    path.write_text(json.dumps({"host": "other boot ns", "pid": os.getpid(), "born": "1", "token": token}))


def test_a_second_taker_is_told_who_has_it_and_gets_it_afterwards(tmp_path: Path) -> None:
    first, second = Lease(tmp_path / "x.lease"), Lease(tmp_path / "x.lease")
    assert first.take()
    assert not second.take()
    assert second.holder().pid == os.getpid()
    first.release()
    assert second.take()
    second.release()
    assert list(tmp_path.iterdir()) == []


def _die_holding(path: Path) -> None:
    Lease(path).take()
    os._exit(1)


def test_a_dead_process_of_this_host_loses_its_lease_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.lease"
    process = multiprocessing.get_context("fork").Process(target=_die_holding, args=(path,))
    process.start()
    process.join()
    assert path.exists()
    started = time.monotonic()
    with Lease(path).held("x"):
        assert time.monotonic() - started < 1
    assert list(tmp_path.iterdir()) == []


def test_a_later_process_with_the_same_pid_is_not_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "x.lease"
    held = Lease(path)
    assert held.take()
    record = json.loads(path.read_text())
    held.release()
    path.write_text(json.dumps(record | {"born": "1"}))
    assert Lease(path).holder() is None


def test_a_lease_of_another_host_expires_when_its_beat_stops_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "x.lease"
    elsewhere(path)
    waiting = Lease(path, expiry=0.6)
    for _ in range(4):
        assert not waiting.take()
        time.sleep(0.3)
        os.utime(path)
    assert not waiting.take()
    time.sleep(0.7)
    assert waiting.take()
    waiting.release()


def test_a_holder_gives_signs_of_life(tmp_path: Path) -> None:
    with Lease(tmp_path / "x.lease", beat=0.05).held("x"):
        before = (tmp_path / "x.lease").stat().st_mtime_ns
        time.sleep(0.3)
        assert (tmp_path / "x.lease").stat().st_mtime_ns > before


def _hold_slowly(path: Path) -> None:
    with Lease(path, beat=0.1).held("x"):
        time.sleep(30)


def test_a_holder_that_was_taken_for_dead_stops_before_two_write(tmp_path: Path) -> None:
    path = tmp_path / "x.lease"
    process = multiprocessing.get_context("spawn").Process(target=_hold_slowly, args=(path,))
    process.start()
    while not path.exists():
        time.sleep(0.01)
    elsewhere(tmp_path / "new", token="taken over")
    os.rename(tmp_path / "new", path)
    process.join(timeout=5)
    assert process.exitcode == -15
    assert json.loads(path.read_text())["token"] == "taken over"


def test_a_file_that_is_no_lease_expires_too(tmp_path: Path) -> None:
    path = tmp_path / "x.lease"
    path.write_text("")
    waiting = Lease(path, expiry=0.2)
    assert not waiting.take()
    time.sleep(0.3)
    assert waiting.take()
    waiting.release()


def test_of_many_that_find_a_dead_holder_one_takes_over_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "x.lease"
    elsewhere(path)
    inside, most, turns = [0], [0], [0]

    def work() -> None:
        with Lease(path, expiry=0.3).held("x"):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            turns[0] += 1
            time.sleep(0.02)
            inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert (most[0], turns[0]) == (1, 8)
    assert list(tmp_path.iterdir()) == []


def test_a_taker_that_died_while_taking_over_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "x.lease"
    elsewhere(path, token="old")
    elsewhere(tmp_path / ".x.lease.after.old", token="dead too")
    with Lease(path, expiry=0.2).held("x"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_who_waits_says_for_whom(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=leases.__name__)
    path = tmp_path / "x.lease"
    elsewhere(path)
    with Lease(path, expiry=0.2).held("toy 12"):
        assert f"toy 12 is being made by process {os.getpid()} on other; waiting for it" in caplog.text
