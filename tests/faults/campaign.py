"""Kills a reproduction again and again, goes on with the same command, and compares the tables with an undisturbed run.

    python tests/faults/campaign.py FOLDER [--engine local|slurm|ray]... [--kills 10] [--more 40] [--many 40] [--seed 0]

An engine's first round is one whole smoke reproduction: `kill -9` of the scheduler at so many random moments, then once
of a node and of a worker, and one Ctrl-C. `--more` rounds are of Table 10 alone, its models made and its trainings on
two processes each, and kill whatever process of the run chance picks: scheduler, fork server, worker, guardian,
torchrun, rank, the job's own process, a node. `--many` rounds do so to a plan of stages that wait (waiting.py). After
each nothing may be left running but what SLURM has in its queue, which goes on by design after a kill and is waited for
by the next run. FOLDER keeps the references and a ledger of what
was done, row by row: the same command goes on where it was cut off, as long as it is the same code. The exit status is
1 where anything was lost.
"""

import argparse
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from engines import ENGINES, Local
from runs import LONGEST_SECONDS, Ledger, Run, Waiting, log, wait_for, words

END_SECONDS = 10.0  # after Ctrl-C
_INTERRUPTED = (130, -signal.SIGINT)  # the second while Python still imports: nothing was begun
_LATE_SECONDS = 3.0  # a moment is an artifact's completion and up to so much later
_SHORT_SECONDS = (
    1.0  # in the first round models are given to the engine, as 150 jobs of a second each would be in hours
)
_ROUND = 10  # kills of one store


@dataclass(frozen=True)
class Plan:
    """What rounds of random kills are of; a kill comes within so many seconds of the run's begin."""

    name: str
    short: str  # in the name of a round
    seconds: float
    words: tuple[str, ...]
    run: type[Run]


_PAIRED = ("--table=table10", "train.per_device_batch_size=4", "launcher.processes=2", "launcher.kind=torchrun")
TRAININGS = Plan("table10, two ranks", "two ranks", 15.0, _PAIRED, Run)
WAITING = Plan("nine stages that wait", "waiting", 9.0, (), Waiting)


class _Reference(Local):
    name = "reference"


class Campaign:
    """The rounds of one engine."""

    def __init__(self, engine: Local, folder: Path, asked: argparse.Namespace) -> None:
        self.engine, self.folder, self.asked = engine, folder, asked
        self.ledger = Ledger(folder / "ledger.jsonl")

    def whole(self) -> None:
        """The kills of one reproduction, and their verdict."""
        only = [f"--table={name}" for name in self.asked.table]
        name = f"{self.engine.name}, {' '.join(self.asked.table) or 'every table'}, seed {self.asked.seed}"
        if name in self.ledger.verdicts():
            return
        single = ["launcher.processes=1", f"launcher.short_seconds={_SHORT_SECONDS}"] if self.engine.node else []
        run = Run(self.engine, self.folder / _path(name), [*only, *single])
        reference = self._reference(only, Run)
        done = {row.fault for row in self.ledger.rows(name)}
        for fault, what in self._steps(run, reference.made()):
            if fault not in done:
                self.ledger.add(name, run.row(" ".join(self.asked.table) or "every table", fault, *what()))
        run.finish()
        self.ledger.judge(name, reference.numbers() == run.numbers())

    def _steps(self, run: Run, makes: int) -> Iterator[tuple[str, Callable[[], tuple[str, ...]]]]:
        """What is done to the run, in order: the fault's name, and what does it and tells moment, rest and outcome."""
        chance = random.Random(self.asked.seed)
        moments = sorted(chance.randrange(max(1, int(0.85 * makes))) for _ in range(self.asked.kills))
        log.info("%s: kills after so many models and trainings: %s", self.engine.name, moments)
        if self.engine.node and not self.asked.quick:
            yield f"{self.engine.node}, SIGKILL", lambda: kill_node(run)
        for place, moment in enumerate(moments, 1):
            late = chance.uniform(0, _LATE_SECONDS)
            yield f"scheduler, kill {place}", lambda moment=moment, late=late: kill_scheduler(run, moment, late)
        if not self.asked.quick:
            yield "Ctrl-C", lambda: interrupt(run)
            yield "a worker", lambda: kill_worker(run)

    def more(self, plan: Plan, kills: int) -> None:
        """Rounds of kills of whatever process chance picks, until there are so many."""
        number = 0
        while (missing := kills - self._random_kills(plan)) > 0:
            number += 1
            name = f"{self.engine.name}, {plan.short}, seed {self.asked.seed}, round {number}"
            if name not in self.ledger.verdicts():
                self._random_round(name, plan, missing)

    def _random_kills(self, plan: Plan) -> int:
        return sum(row.engine == self.engine.name and row.plan == plan.name for row in self.ledger.judged())

    def _random_round(self, name: str, plan: Plan, most: int) -> None:
        placed = ["launcher.short_seconds=0.5"] if self.engine.node else []
        run = plan.run(self.engine, self.folder / _path(name), [*plan.words, *placed])
        reference = self._reference(list(plan.words), plan.run)
        run.begin(reference)
        while (number := len(self.ledger.rows(name))) < _ROUND and most > 0:
            found = kill_any(run, random.Random(f"{name} {number}"), plan.seconds)
            if found is None:
                break
            self.ledger.add(name, run.row(plan.name, *found))
            most -= 1
        run.finish()
        self.ledger.judge(name, reference.numbers() == run.numbers())

    def _reference(self, said: list[str], kind: type[Run]) -> Run:
        """An undisturbed local run of the same plan, made once."""
        place = _path(f"reference {kind.__name__ if kind is not Run else ''}{' '.join(said)}")
        run = kind(_Reference(self.folder), self.folder / place, said)
        if not run.is_done():
            log.info("an undisturbed run: %s", " ".join(run.command))
            run.finish()
        return run


def _path(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def kill_scheduler(run: Run, moment: int, late: float) -> tuple[str, ...]:
    """Kills the scheduler so long after so many models and trainings were made."""
    process = run.start()
    wait_for(lambda: run.made() >= moment, process)
    time.sleep(late)
    process.kill()
    process.wait()
    return f"{moment} models and trainings + {late:.1f} s", run.left()


def interrupt(run: Run) -> tuple[str, ...]:
    """Ctrl-C: everything ends within ten seconds, SLURM's queue is empty, and the message says how to go on."""
    begin, queued, process = run.size(), run.engine.queue(), run.start()
    wait_for(run.workers, process)
    made = run.made()
    outcome, left = _interrupted(run, process, begin, queued)
    return f"{made} models and trainings", left, outcome


def _interrupted(run: Run, process: subprocess.Popen[bytes], begin: int, queued: list[str]) -> tuple[str, str]:
    """Presses Ctrl-C; jobs that an earlier, killed scheduler has `queued` are not this one's to end."""
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    try:
        status = process.wait(timeout=6 * END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        status = process.wait()
    seconds, left = time.monotonic() - began, run.left()
    is_empty = _drains(run.engine, queued)
    good = status in _INTERRUPTED and seconds < END_SECONDS and is_empty
    said = (run.said(begin).strip().splitlines() or ["nothing"])[-1]
    outcome = f"status {status} after {seconds:.1f} s, {said!r}"
    return (f"{outcome}; then recovered" if good else f"lost; {outcome}"), left


def _drains(engine: Local, queued: list[str]) -> bool:
    """Whether the queue soon holds no more than it held: a job that was cancelled is listed until it has ended."""
    deadline = time.monotonic() + END_SECONDS
    while not {*engine.queue()} <= {*queued}:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def kill_node(run: Run) -> tuple[str, ...]:
    """Ends a node below a run that goes on; what it was making must be made elsewhere, or there once it is back."""
    process = run.start()
    wait_for(lambda: run.workers(placed=True), process)
    made = run.made()
    run.engine.lose_node(run.workers(placed=True)[0])
    wait_for(lambda: run.made() > made + 1, process)
    process.kill()
    process.wait()
    run.left()
    return f"{made} models and trainings", "", "recovered without a restart"


def kill_worker(run: Run) -> tuple[str, ...]:
    """Kills a worker: what depends on it is not made, the rest is, and the same command makes up for it."""
    begin, process = run.size(), run.start()
    wait_for(run.workers, process)
    made = run.made()
    os.kill(run.workers()[0], signal.SIGKILL)
    return f"{made} models and trainings", *_ended(run, process, begin)


def _ended(run: Run, process: subprocess.Popen[bytes], begin: int) -> tuple[str, str]:
    """What is left of a run that lost a process, and what it said: it goes on, or names the stage that failed."""
    status = process.wait(timeout=LONGEST_SECONDS)
    said = run.error(begin)
    if status == 0:
        return run.left(), "recovered without a restart"
    is_clear = status == 2 and said.startswith("stage ")
    return run.left(), f"refused: {said[:90]}…; then recovered" if is_clear else f"lost; status {status}: {said[:90]}"


def kill_any(run: Run, chance: random.Random, seconds: float) -> tuple[str, ...] | None:
    """Kills any process of the run at a random moment within so many seconds; None where it ended well before that."""
    begin, queued, process = run.size(), run.engine.queue(), run.start()
    late, moment = chance.uniform(0, seconds), "its start + {:.1f} s"
    if chance.random() < 0.8:
        wait_for(lambda: run.workers() or process.poll() is not None, process)
        moment = "its first worker + {:.1f} s"
    try:
        if process.wait(timeout=late) == 0:
            return None
        return "none", moment.format(late), run.left(), f"lost; {run.error(begin)}"
    except subprocess.TimeoutExpired:
        pass
    found = victims(run, process.pid)
    kind = chance.choice(sorted(found))
    told = (kind, moment.format(late))
    if kind == "Ctrl-C":
        outcome, left = _interrupted(run, process, begin, queued)
        return *told, left, outcome
    if kind == "a node":
        run.engine.lose_node(found[kind])
        return *told, *_ended(run, process, begin)
    os.kill(found[kind], signal.SIGKILL)
    if kind != "scheduler":
        return *told, *_ended(run, process, begin)
    process.wait()
    return *told, run.left()


def victims(run: Run, scheduler: int) -> dict[str, int]:
    """A process of each kind that there is now."""
    found = {"scheduler": scheduler, "Ctrl-C": scheduler}
    workers, placed = run.workers(), run.workers(placed=True)
    if workers:
        found["a worker"] = workers[-1]
    if placed and run.engine.node:
        found["a node"] = placed[-1]
    for process in run.processes():
        kind = _kind(process, scheduler)
        if kind:
            found[kind] = process.pid
    return found


def _kind(process: psutil.Process, scheduler: int) -> str | None:
    said = words(process)
    try:
        if "multiprocessing.forkserver" in " ".join(said) and process.ppid() == scheduler:
            return "the fork server"
        if "pipelines.worker" in said:
            is_guardian = any("pipelines.worker" in words(child) for child in process.children())
            return "a worker's guardian" if is_guardian else "a worker"
    except psutil.NoSuchProcess:
        return None
    if any(word.endswith("drift/processes.py") for word in said[:3]):
        return "torchrun's guardian"
    if "torch.distributed.run" in said:
        return "torchrun"
    if "drift.training.worker" in said:
        return "a rank"
    return "the job's own process" if "submitit.core._submit" in said else None


def main(said: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", action="append", choices=ENGINES)
    parser.add_argument("--table", action="append", default=[], help="these tables alone in the first round")
    parser.add_argument("--quick", action="store_true", help="kills of the scheduler alone in the first round")
    parser.add_argument("--kills", type=int, default=10, help="of the scheduler, in the first round")
    parser.add_argument("--more", type=int, default=0, help="of any process, in rounds of a short plan")
    parser.add_argument("--many", type=int, default=0, help="of any process, in rounds of stages that wait")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(said)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would a run
    folder = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in asked.engine or list(ENGINES):
        engine = ENGINES[name](folder)
        try:
            campaign = Campaign(engine, folder, asked)
            if asked.kills:
                campaign.whole()
            campaign.more(TRAININGS, asked.more)
            campaign.more(WAITING, asked.many)
        finally:
            engine.stop()
    ledger = Ledger(folder / "ledger.jsonl")
    print(ledger.summary())
    return int(any("lost" in row.outcome for row in ledger.judged()))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    sys.exit(main(sys.argv[1:]))
