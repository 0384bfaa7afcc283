"""What every campaign needs: a command that is started again and again, what it leaves behind, and a ledger of rows."""

import atexit
import csv
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

import psutil
from engines import ROOT, Local

log = logging.getLogger("campaign")
MARK = "DRIFT_CAMPAIGN"
HERE = Path(__file__).parent
WAITS = "waiting"  # the stage of waiting.py
TIMES = ("seconds", "cpu_seconds")  # of a row or a column of Table 8: no two runs share them
LONGEST_SECONDS = 3600.0
MADE = ("model", "data", "benchmarks")  # what a short plan finds made
TINY = (  # a world that has learnt nothing
    "world.base.steps=2", "world.expert.steps=2", "world.cells.steps=2", "world.mllm.steps=2", "world.sft_items=8",
    "world.suite_items=4", "world.wemath_groups=1", "world.gates.cell_accuracy=0", "world.gates.problems=2",
    "world.gates.suite_items=4", "world.gates.wemath_groups=1", "train.epochs=1",
)  # fmt: skip
ENDS = ("recovered", "refused", "lost", "not compared yet", "not tried")  # what an outcome starts with, else the first
LONG = ("model", "train")  # what a cluster is given; moments are counted in these
_SLOW_SECONDS = 2.0  # what needs longer to end is told
_IN_USE = "run-"  # leases of runs that use the store (pipelines.session), not of what they make


@dataclass(frozen=True)
class Row:
    """What was done to which plan, when, and what came of it: recovered, refused with a clear error, or lost."""

    engine: str
    plan: str
    fault: str
    moment: str
    left: str
    outcome: str


class Ledger:
    """Rows as they come, in a file; those of a round count once its tables were compared with the reference's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def _lines(self) -> Iterator[dict[str, object]]:
        return (json.loads(line) for line in self.path.read_text().splitlines())

    def _add(self, line: dict[str, object]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def add(self, name: str, row: Row) -> None:
        """Keeps a row of a round."""
        log.info("%s", row)
        self._add({"round": name, "row": asdict(row)})

    def judge(self, name: str, is_same: bool) -> None:
        """Ends a round: whether its tables came out as the reference's."""
        log.info("%s: the tables are %s", name, "byte-identical" if is_same else "NOT the reference's")
        self._add({"round": name, "same": is_same})

    def rows(self, name: str) -> list[Row]:
        """What was done in a round so far."""
        return [row for found, row in self._all() if found == name]

    def verdicts(self) -> dict[str, bool]:
        """Of every round that has ended: whether the tables are the reference's."""
        return {str(line["round"]): bool(line["same"]) for line in self._lines() if "same" in line}

    def _all(self) -> list[tuple[str, Row]]:
        return [(str(line["round"]), Row(**line["row"])) for line in self._lines() if "row" in line]  # type: ignore[arg-type]

    def judged(self) -> list[Row]:
        """All rows; what was recovered is lost where the tables came out as others, and open where none did yet."""
        words = {True: "", False: "lost: other tables; ", None: "not compared yet; "}
        said = self.verdicts()
        return [Row(*astuple(row)[:-1], words[said.get(name)] + row.outcome) for name, row in self._all()]

    def table(self) -> str:
        """The rows as Markdown."""
        return _markdown([field.name for field in fields(Row)], [list(astuple(row)) for row in self.judged()])

    def summary(self) -> str:
        """What came of each kind of fault, counted, as Markdown."""
        kinds: dict[tuple[str, ...], list[Row]] = {}
        for row in self.judged():
            kinds.setdefault((row.engine, row.plan, row.fault.partition(", kill")[0]), []).append(row)
        lines = []
        for kind, rows in sorted(kinds.items()):
            ends = Counter(next((word for word in ENDS if row.outcome.startswith(word)), ENDS[0]) for row in rows)
            lines.append([*kind, f"{len(rows)}", *(f"{ends[word]}" for word in ENDS)])
        return _markdown(["engine", "plan", "fault", "tried", *ENDS], lines)


def _markdown(head: list[str], lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])


class Run:
    """One command on one store, started again and again."""

    def __init__(self, engine: Local, folder: Path, words: list[str]) -> None:
        self.engine, self.store, self.results = engine, folder / "store", folder / "results"
        self.mark, self.log = uuid.uuid4().hex, folder / "reproduce.log"
        self.command, self.path = self._command(words), str(ROOT)

    def _command(self, words: list[str]) -> list[str]:
        place = [f"store={self.store}", f"results={self.results}", "tracker=disabled", "profile=smoke"]
        return [sys.executable, "-m", "pipelines.reproduce", *place, *self.engine.words, *words]

    def is_done(self) -> bool:
        """Whether it has come to its end once."""
        return (self.results / "tables").is_dir()

    def numbers(self) -> dict[str, str]:
        """Every table's text by name, times left out."""
        return tables(self.results)

    def start(
        self, environment: dict[str, str] | None = None, before: Callable[[], object] | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts the command, in a session of its own; `before` is called in it first."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        own = os.environ | self.engine.environment | {MARK: self.mark, "PYTHONPATH": self.path} | (environment or {})
        with open(self.log, "ab") as output:
            process = subprocess.Popen(
                self.command, cwd=ROOT, env=own, stdout=output, stderr=output, start_new_session=True, preexec_fn=before
            )
        atexit.register(process.kill)
        return process

    def begin(self, reference: "Run") -> None:
        """Puts the models of the reference into the store, unless it has some."""
        if not (self.store / MADE[0]).exists():
            for stage in MADE:
                shutil.copytree(reference.store / stage, self.store / stage)

    def finish(self) -> str:
        """Runs to the end; what it said.

        Raises:
            SystemExit: it did not end well.
        """
        begin = self.size()
        status = self.start().wait(timeout=LONGEST_SECONDS)
        if status:
            raise SystemExit(f"{' '.join(self.command)} ended with {status}: {self.error(begin)}; see {self.log}")
        return self.said(begin)

    def size(self) -> int:
        """Of the log, to tell what is said from now on."""
        return self.log.stat().st_size if self.log.exists() else 0

    def said(self, begin: int) -> str:
        """What was said since the log had this size."""
        return self.log.read_bytes()[begin:].decode(errors="replace")

    def error(self, begin: int) -> str:
        """The last error since then, in one line."""
        return " ".join(self.said(begin).rpartition("error: ")[2].split())

    def made(self) -> int:
        """How many artifacts of the stages that take long there are."""
        return sum(1 for stage in LONG for _ in self.store.glob(f"{stage}/*/manifest.json"))

    def workers(self, placed: bool = False) -> list[int]:
        """The processes that make artifacts now, by their leases; those alone that the engine has placed."""
        found = []
        for path in self.store.glob(".partial/*.lease"):
            if path.name.startswith(_IN_USE):
                continue
            try:
                process = psutil.Process(json.loads(path.read_text())["pid"])
            except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
                continue  # it ended meanwhile
            # A lease outlives a killed worker, whose number may be another's by now.
            if self._is_ours(process) and not (placed and not _is_below(self.engine.above, process)):
                found.append(process.pid)
        return found

    def processes(self) -> list[psutil.Process]:
        """All that belongs to this run, of whatever group, session or parent, SLURM's jobs too."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            named = any(str(self.store) in word for word in process.cmdline())
            ours = named or process.environ().get(MARK) == self.mark
            return ours and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def living(self) -> list[str]:
        """The commands of this run's processes; those of SLURM's jobs left out."""
        return [" ".join(words(process))[-90:] for process in self.processes() if not _is_below("slurmstepd", process)]

    def left(self) -> str:
        """What is left after a kill, once it had its time to end; starts with "nothing" where that is as designed."""
        started = time.monotonic()
        while (living := self.living()) and time.monotonic() - started < self.engine.quiet_seconds:
            if time.monotonic() - started > _SLOW_SECONDS:
                log.info("still there: %s", living)
            time.sleep(0.3)
        if living:
            return f"LEFT: {'; '.join(living)}"
        queue = self.engine.queue()
        also = f", {len(queue)} jobs in SLURM's queue go on" if queue else ""
        return f"nothing after {time.monotonic() - started:.1f} s{also}"

    def row(self, plan: str, fault: str, moment: str, left: str, outcome: str = "recovered") -> Row:
        """A row; lost where something was left running."""
        clean = left.startswith("nothing") or not left
        return Row(self.engine.name, plan, fault, moment, left, outcome if clean else f"lost; {outcome}")


class Waiting(Run):
    """A plan that waits and adds up (waiting.py); its numbers are the sums in its store."""

    def _command(self, words: list[str]) -> list[str]:
        return [sys.executable, str(HERE / "waiting.py"), str(self.store), *self.engine.words, *words]

    def __init__(self, engine: Local, folder: Path, words: list[str]) -> None:
        super().__init__(engine, folder, words)
        self.path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "pipelines")])

    def begin(self, reference: Run) -> None:
        """Nothing is made before."""

    def is_done(self) -> bool:
        return any(self.store.glob(f"{WAITS}/*/manifest.json"))

    def numbers(self) -> dict[str, str]:
        return {path.parent.name: path.read_text() for path in sorted(self.store.glob(f"{WAITS}/*/sum.txt"))}


def _is_below(name: str, process: psutil.Process) -> bool:
    try:
        return any(name in parent.name() for parent in process.parents())
    except psutil.NoSuchProcess:
        return True  # it ended meanwhile


def words(process: psutil.Process) -> list[str]:
    """A command line; empty of a process that has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Waits for a moment of a run that is going on.

    Raises:
        RuntimeError: the run ended before, or the moment never came.
    """
    deadline = time.monotonic() + LONGEST_SECONDS
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the run ended with {process.poll()} before the moment of the next kill")
        time.sleep(0.1)


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
