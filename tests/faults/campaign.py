"""Kills a reproduction again and again, goes on with the same command, and compares the tables with an undisturbed run.

    python tests/faults/campaign.py FOLDER [--engine local|slurm|ray]... [--kills 10] [--seed 0] [--table NAME]...

One smoke reproduction an engine: `kill -9` of the scheduler at so many random moments, once of a node, of a worker and
of a rank of a training on two processes, and one Ctrl-C. After each nothing may be left running but what SLURM has in
its queue, which goes on by design after a kill and is waited for by the next run. FOLDER keeps the reference and the
rows of earlier calls, so that engines can be tried one after another. The exit status is 1 where anything was lost.
"""

import argparse
import atexit
import csv
import io
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

import psutil
from engines import ENGINES, ROOT, Local

log = logging.getLogger("campaign")
MARK = "DRIFT_CAMPAIGN"
TIMES = ("seconds", "cpu_seconds")  # of a row or a column of Table 8: no two runs share them
END_SECONDS = 10.0  # after Ctrl-C
_LONGEST_SECONDS = 3600.0
_LATE_SECONDS = 3.0  # a moment is an artifact's completion and up to so much later
LONG = ("model", "train")  # what a cluster is given; moments are counted in these


@dataclass(frozen=True)
class Row:
    """What was killed, when, and what came of it: recovered, refused with a clear error, or lost."""

    engine: str
    killed: str
    moment: str
    left: str
    outcome: str


class Run:
    """One command on one store, started again and again."""

    def __init__(self, engine: Local, folder: Path, module: str, words: list[str]) -> None:
        self.engine, self.store, self.mark = engine, folder / "store", uuid.uuid4().hex
        place = [f"store={self.store}", "tracker=disabled", "profile=smoke"]
        place += [f"results={folder / 'results'}"] if module == "reproduce" else []
        self.command = [sys.executable, "-m", f"pipelines.{module}", *place, *engine.words, *words]
        self.log = folder / f"{module}.log"

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the command, in a session of its own."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | self.engine.environment | {MARK: self.mark, "PYTHONPATH": str(ROOT)}
        with open(self.log, "ab") as output:
            process = subprocess.Popen(
                self.command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        atexit.register(process.kill)
        return process

    def finish(self, process: subprocess.Popen[bytes] | None = None) -> tuple[int, str]:
        """The exit status and the last error of a run that is left alone."""
        begin = self.log.stat().st_size if process is None and self.log.exists() else 0
        status = (process or self.start()).wait(timeout=_LONGEST_SECONDS)
        said = self.log.read_bytes()[begin:].decode(errors="replace")
        return status, said.rpartition("error: ")[2].strip()

    def made(self) -> int:
        """How many artifacts of the stages that take long there are."""
        return sum(1 for stage in LONG for _ in self.store.glob(f"{stage}/*/manifest.json"))

    def workers(self) -> list[int]:
        """The processes that make artifacts now, by their leases; of a cluster's those in its jobs."""
        found = []
        for path in self.store.glob(".partial/*.lease"):
            try:
                pid = json.loads(path.read_text())["pid"]
            except (FileNotFoundError, ValueError):
                continue  # it ended meanwhile
            if psutil.pid_exists(pid) and path.name.startswith(self.engine.stages):
                found.append(pid)
        return found

    def living(self) -> list[str]:
        """The commands that belong to this run, of whatever group, session or parent; SLURM's jobs left out."""
        return [" ".join(_words(process))[-90:] for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            named = any(str(self.store) in word for word in process.cmdline())
            ours = named or process.environ().get(MARK) == self.mark
            gone = process.status() == psutil.STATUS_ZOMBIE
            return ours and not gone and not any("slurmstepd" in p.name() for p in process.parents())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def left(self) -> str:
        """What is left after a kill, once it had its time to end; starts with "nothing" where that is as designed."""
        started = time.monotonic()
        while (living := self.living()) and time.monotonic() - started < self.engine.quiet_seconds:
            time.sleep(0.1)
        if living:
            return f"LEFT: {'; '.join(living)}"
        queue = self.engine.queue()
        also = f", {len(queue)} jobs in SLURM's queue go on" if queue else ""
        return f"nothing after {time.monotonic() - started:.1f} s{also}"


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return ["ended"]


def wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Waits for a moment of a run that is going on.

    Raises:
        RuntimeError: the run ended before, or the moment never came.
    """
    deadline = time.monotonic() + _LONGEST_SECONDS
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the run ended with {process.poll()} before the moment of the next kill")
        time.sleep(0.1)


def kill_scheduler(run: Run, chance: random.Random, moments: list[int], before: int = 0) -> Iterator[Row]:
    """Kills the scheduler at each moment, and starts it again."""
    for place, moment in enumerate(moments, before + 1):
        process, late = run.start(), chance.uniform(0, _LATE_SECONDS)
        wait_for(lambda moment=moment: run.made() >= moment, process)
        time.sleep(late)
        process.kill()
        process.wait()
        yield _row(run, f"scheduler, kill {place}", f"{moment} models and trainings + {late:.1f} s", run.left())


def _row(run: Run, killed: str, moment: str, left: str, outcome: str = "recovered") -> Row:
    row = Row(run.engine.name, killed, moment, left, outcome if left.startswith("nothing") or not left else "lost")
    log.info("%s", row)
    return row


def interrupt(run: Run) -> Iterator[Row]:
    """Ctrl-C: everything ends within ten seconds, SLURM's queue is empty, and the message says how to go on."""
    begin = run.log.stat().st_size
    process = run.start()
    wait_for(lambda: run.log.stat().st_size > begin and run.workers(), process)
    made, began = run.made(), time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    try:
        status = process.wait(timeout=6 * END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        status = process.wait()
    seconds, left = time.monotonic() - began, run.left()
    good = status == 130 and seconds < END_SECONDS and "queue" not in left
    said = run.log.read_text(errors="replace").strip().splitlines()[-1]
    outcome = f"status 130 after {seconds:.1f} s, {said!r}; then recovered"
    outcome = outcome if good else f"lost: status {status} after {seconds:.1f} s"
    yield _row(run, "Ctrl-C", f"{made} models and trainings", left, outcome)


def kill_node(run: Run) -> tuple[Row, subprocess.Popen[bytes]]:
    """Ends a node below a run that goes on; what it was making must be made elsewhere, or there once it is back."""
    process = run.start()
    wait_for(lambda: run.workers(), process)
    made = run.made()
    run.engine.lose_node(run.workers()[0])
    return _row(run, run.engine.node, f"{made} models and trainings", "", "recovered without a restart"), process


def kill_worker(run: Run) -> Iterator[Row]:
    """Kills a worker: what depends on it is not made, the rest is, and the same command makes up for it."""
    process = run.start()
    wait_for(lambda: run.workers(), process)
    made, begin = run.made(), run.log.stat().st_size
    os.kill(run.workers()[0], signal.SIGKILL)
    status = process.wait(timeout=_LONGEST_SECONDS)
    said = run.log.read_bytes()[begin:].decode(errors="replace").rpartition("error: ")[2]
    clear = status == 2 and "ended with" in said
    refused = f"refused: {' '.join(said.split())[:90]}…; then recovered" if clear else f"lost: status {status}"
    outcome = "recovered without a restart" if status == 0 else refused  # a job of an earlier scheduler's, taken over
    yield _row(run, "a worker", f"{made} models and trainings", run.left(), outcome)


def kill_rank(run: Run, chance: random.Random) -> Iterator[Row]:
    """Kills a rank of a training on two processes: the command says so, and the same command resumes."""
    process, late = run.start(), chance.uniform(0, 2 * _LATE_SECONDS)
    wait_for(lambda: _ranks(run), process)
    time.sleep(late)
    ranks = _ranks(run)
    os.kill(ranks[-1], signal.SIGKILL)
    status = process.wait(timeout=_LONGEST_SECONDS)
    said = run.log.read_text(errors="replace").rpartition("error: ")[2]
    outcome = f"refused: {' '.join(said.split())[:90]}…; then recovered" if status == 2 else f"lost: status {status}"
    yield _row(run, "a rank of two", f"its start + {late:.1f} s", run.left(), outcome)


def _ranks(run: Run) -> list[int]:
    """The two ranks of the run's training; none where not both are there."""
    found = [process.pid for process in psutil.process_iter() if _is_rank(_words(process), run.store)]
    return found if len(found) == 2 else []


def _is_rank(words: list[str], store: Path) -> bool:
    return "drift.training.worker" in words and str(store) in words[-1] and "torch.distributed.run" not in words


def tables(results: Path) -> dict[str, str]:
    """Every table's text by name, times left out."""
    found = {path.name: path.read_text() for path in sorted((results / "tables").iterdir())}
    timed = {
        name.removesuffix(".csv") for name, text in found.items() if TIMES[0] in text.partition("\n")[0].split(",")
    }
    return {name: _untimed(text) if name.endswith(".csv") else text for name, text in found.items()
            if name.removesuffix(".tex") not in timed}  # fmt: skip


def _untimed(text: str) -> str:
    head, *rows = csv.reader(io.StringIO(text))
    kept = [place for place, name in enumerate(head) if name not in TIMES]
    return "\n".join(",".join(row[place] for place in kept) for row in [head, *rows] if not {*TIMES} & {*row[:3]})


def try_engine(engine: Local, folder: Path, asked: argparse.Namespace) -> Iterator[Row]:
    """All kills under one engine, then the comparison, which turns what was recovered into lost where it fails."""
    chance, only = random.Random(asked.seed), [f"--table={name}" for name in asked.table]
    reference = Run(Local(folder), folder / "reference", "reproduce", only)
    if not (folder / "reference" / "results" / "tables").is_dir():
        log.info("an undisturbed run: %s", " ".join(reference.command))
        _must_end_well(reference)
    last = max(1, int(0.85 * reference.made()))
    moments = sorted(chance.randrange(last) for _ in range(asked.kills))
    log.info("%s, seed %d: kills after so many models and trainings: %s", engine.name, asked.seed, moments)
    run = Run(engine, folder / engine.name, "reproduce", only)
    rows = list(kill_scheduler(run, chance, moments[: asked.kills // 2]))
    process = None
    if engine.node and not asked.quick:
        row, process = kill_node(run)
        rows.append(row)
        wait_for(lambda: run.made() >= moments[asked.kills // 2], process)
        process.kill()
        process.wait()
        run.left()
    rows += kill_scheduler(run, chance, moments[asked.kills // 2 :], asked.kills // 2)
    if not asked.quick:
        rows += interrupt(run)
        rows += kill_worker(run)
    _must_end_well(run)
    same = tables(folder / "reference" / "results") == tables(folder / engine.name / "results")
    log.info("%s: the tables are %s", engine.name, "byte-identical" if same else "NOT the reference's")
    yield from rows if same else [Row(*astuple(row)[:-1], "lost: other tables") for row in rows]
    if not asked.quick:
        yield from _try_rank(engine, folder, chance)


def _try_rank(engine: Local, folder: Path, chance: random.Random) -> Iterator[Row]:
    words = ["method=sft", "train.per_device_batch_size=4", "launcher.processes=2", "launcher.kind=torchrun"]
    runs = [Run(e, folder / e.name, "run", words) for e in (_Reference(folder), engine)]
    for run in runs:
        run.command = [word for word in run.command if word != "launcher.processes=1"]
    _must_end_well(runs[0])
    rows = list(kill_rank(runs[1], chance))
    _must_end_well(runs[1])
    scores = [json.loads(_last_json(run.log))["scores"] for run in runs]
    yield from rows if scores[0] == scores[1] else [Row(*astuple(row)[:-1], "lost: other scores") for row in rows]


class _Reference(Local):
    name = "reference"


def _last_json(path: Path) -> str:
    return [line for line in path.read_text().splitlines() if line.startswith("{")][-1]


def _must_end_well(run: Run) -> None:
    status, said = run.finish()
    if status:
        raise SystemExit(f"{' '.join(run.command)} ended with {status}: {said}; see {run.log}")


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    names = [field.name for field in fields(Row)]
    lines = [names, ["---"] * len(names), *(list(astuple(row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", action="append", choices=ENGINES)
    parser.add_argument("--table", action="append", default=[], help="these tables alone")
    parser.add_argument("--quick", action="store_true", help="kills of the scheduler alone")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(words)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would a run
    folder = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "rows.jsonl"
    for name in asked.engine or list(ENGINES):
        engine = ENGINES[name](folder)
        try:
            with kept.open("a") as file:
                file.writelines(json.dumps(asdict(row)) + "\n" for row in try_engine(engine, folder, asked))
        finally:
            engine.stop()
    rows = [Row(**json.loads(line)) for line in kept.read_text().splitlines()]
    print(table(rows))
    return int(any("lost" in row.outcome for row in rows))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    sys.exit(main(sys.argv[1:]))
