"""What is around a run fails: its disk, its limits, its clock; or others are beside it.

    python tests/faults/surroundings.py FOLDER [FAULT]...

One short plan (Table 10 in a world that has learnt nothing, its models made) is started under each fault, which must
end in a message that names the cause, or be overcome; then the fault is lifted, the same command goes on, and its
tables are compared with an undisturbed run's. Nothing may be left running. Needs root, to mount small disks, and
Debian's `faketime` for the clock: what can't be had is a row that says so.
"""

import atexit
import logging
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from engines import Local
from runs import LONGEST_SECONDS, TINY, Ledger, Row, Run, tables, wait_for

PLAN = "table10"
_WORDS = [f"--table={PLAN}", *TINY]
_LIBFAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


class Missing(Exception):
    """What a fault needs is not on this machine."""


@dataclass(frozen=True)
class Set:
    """How a run is started under a fault, and what is done while it runs."""

    environment: dict[str, str] = field(default_factory=dict)
    before: Callable[[], object] | None = None
    during: Callable[[subprocess.Popen[bytes]], object] = lambda process: None
    others: int = 0  # how many more of the same command are started beside it


def _mount(store: Path, *options: str) -> None:
    if os.geteuid():
        raise Missing("mounting a disk needs root")
    subprocess.run(["mount", *options, str(store)], check=True)


@contextmanager
def disk_is_full(run: Run) -> Iterator[Set]:
    """A disk with no more room than for the models."""
    used = sum(file.stat().st_size for file in run.store.rglob("*") if file.is_file())
    _mount(run.store, "-o", f"remount,size={used + 2**20}")
    yield Set()
    _mount(run.store, "-o", "remount,size=1G")


@contextmanager
def disk_is_read_only(run: Run) -> Iterator[Set]:
    """A store that nothing can be written to, from the start."""
    _mount(run.store, "-o", "remount,ro")
    yield Set()
    _mount(run.store, "-o", "remount,rw")


@contextmanager
def store_vanishes(run: Run) -> Iterator[Set]:
    """The store's folder goes while a stage is being made, as with a server, and comes back after the run."""
    gone = run.store.with_name("gone")

    def vanish(process: subprocess.Popen[bytes]) -> None:
        wait_for(run.workers, process)
        run.store.rename(gone)

    yield Set(during=vanish)
    shutil.rmtree(run.store, ignore_errors=True)  # what was written meanwhile
    gone.rename(run.store)


@contextmanager
def few_files(run: Run) -> Iterator[Set]:
    """No more than 40 open files a process."""
    yield Set(before=partial(resource.setrlimit, resource.RLIMIT_NOFILE, (40, 40)))


@contextmanager
def little_memory(run: Run) -> Iterator[Set]:
    """Address space for the scheduler, not for a stage."""
    yield Set(before=partial(resource.setrlimit, resource.RLIMIT_AS, (2**30, 2**30)))


@contextmanager
def clock_jumps(run: Run, days: int) -> Iterator[Set]:
    """The clock is days away from the one that the store was begun by, and runs as fast."""
    if not Path(_LIBFAKETIME).exists():
        raise Missing("Debian's package faketime is not installed")
    faked = {"LD_PRELOAD": _LIBFAKETIME, "FAKETIME": f"{days:+d}d"}
    yield Set(faked | {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"})


@contextmanager
def others_beside(run: Run, others: int) -> Iterator[Set]:
    """The same command again, on the same store at the same time."""
    yield Set(others=others)


FAULTS: Mapping[str, Callable[[Run], object]] = {
    "disk full": disk_is_full,
    "disk read-only": disk_is_read_only,
    "store vanishes": store_vanishes,
    "40 open files": few_files,
    "1 GB of address space": little_memory,
    "clock 10 days back": partial(clock_jumps, days=-10),
    "clock 10 days on": partial(clock_jumps, days=10),
    "two commands at once": partial(others_beside, others=1),
    "four commands at once": partial(others_beside, others=3),
}


def attempt(reference: Run, folder: Path, fault: str) -> tuple[Row, bool]:
    """One run under one fault, and one after it; whether the tables came out as the reference's."""
    run = Run(Local(folder), folder / fault.replace(" ", "-"), _WORDS)
    before = run.size()
    try:
        if fault.startswith("disk"):
            run.store.mkdir(parents=True)
            _mount(run.store, "-t", "tmpfs", "-o", "size=1G", "tmpfs")
            atexit.register(subprocess.run, ["umount", "--lazy", str(run.store)], check=True)
        run.begin(reference)
        with FAULTS[fault](run) as setting:  # type: ignore[attr-defined]
            processes = [run.start(setting.environment, setting.before) for _ in range(1 + setting.others)]
            helper = threading.Thread(target=setting.during, args=(processes[0],))
            helper.start()
            statuses = [process.wait(timeout=LONGEST_SECONDS) for process in processes]
            helper.join()
            said, left = run.said(before), run.left()
    except Missing as error:
        return run.row(PLAN, fault, "", "", f"not tried: {error}"), True
    row = run.row(PLAN, fault, "from its start", left, _outcome(statuses, said))
    run.finish()
    return row, tables(reference.results) == tables(run.results)


def _outcome(statuses: list[int], said: str) -> str:
    error = " ".join(said.rpartition("error: ")[2].split())[:160]
    if not any(statuses):
        return "overcome"
    if "Traceback" in said:
        return f"a traceback, status {statuses}: {said.strip().splitlines()[-1][:160]}; then recovered"
    return f"refused: {error}…; then recovered" if {*statuses} <= {0, 2} else f"lost; status {statuses}: {error}"


def main(said: list[str]) -> int:
    folder = Path(said[0]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(folder / "ledger.jsonl")
    reference = Run(Local(folder), folder / "reference", _WORDS)
    if not (reference.results / "tables").is_dir():
        reference.finish()
    for fault in said[1:] or FAULTS:
        if fault not in ledger.verdicts():
            row, is_same = attempt(reference, folder, fault)
            ledger.add(fault, row)
            ledger.judge(fault, is_same)
    print(ledger.table())
    return int(any("lost" in row.outcome for row in ledger.judged()))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    sys.exit(main(sys.argv[1:]))
