"""Every kind of artifact damaged in every way: python tests/faults/corruption.py [FOLDER]

Makes a small store that holds each kind that a report is made of, damages one artifact of it at a time, starts the same
report again, and prints a table: what became of each, whether the tables came out the same.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines import tables
from pipelines.environment import set_defaults
from pipelines.errors import StageError
from pipelines.executors.local import Local
from pipelines.integrity import inventory
from pipelines.outcome import Outcome
from pipelines.report.spec import Row, Table
from pipelines.scheduler import Scheduler
from pipelines.stage import Call, Runtime
from pipelines.store import MANIFEST, Store

KINDS = ("model", "data", "benchmarks", "prior", "geometry", "merge", "train", "generate", "score", "choose", "report")
_WORLD = (
    "profile=smoke", "world.base.steps=2", "world.expert.steps=2", "world.cells.steps=2", "world.mllm.steps=2",
    "world.sft_items=8", "world.suite_items=4", "world.wemath_groups=1", "world.gates.cell_accuracy=0",
    "world.gates.problems=2", "world.gates.suite_items=4", "world.gates.wemath_groups=1", "train.epochs=1",
)  # fmt: skip
_SCORES = Table(
    name="small",
    title="Small",
    columns=("MathVista", "Avg"),
    rows=(
        Row("DRIFT", ("method=drift",)),
        Row("Task Arithmetic, tuned", ("method=task_arithmetic", "merge.coefficient=auto")),
    ),
)
_GEOMETRY = Table(
    name="apart", title="Apart", columns=("l2",), rows=(Row("pair", ("pair=qwen2_5_vl_r1",)),), kind="geometry"
)


def target() -> Call:
    """A report of two tables in a world that has learnt nothing."""
    return tables.report([_SCORES, _GEOMETRY], _WORLD, online=False)


def run(call: Call, store: Path) -> Outcome:
    """What `drift reproduce` does with it."""
    runtime = Runtime(store)
    return Scheduler(runtime, Local(runtime, 2), lambda artifact: None).execute([call])


def numbers(outcome: Outcome, call: Call) -> dict[str, bytes]:
    """The tables of the report, byte by byte."""
    return {path.name: path.read_bytes() for path in sorted(outcome[call].path.glob("tables/*"))}


def largest(path: Path) -> Path:
    """The file of an artifact that holds most of it."""
    found = inventory(path)
    return path / max(found, key=lambda name: found[name].size)


def _flip(path: Path) -> None:
    data = bytearray(largest(path).read_bytes())
    data[len(data) // 2] ^= 1
    largest(path).write_bytes(data)


def _edit(path: Path, **changes: object) -> None:
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(manifest | changes))


def _swap_for_link(path: Path) -> None:
    other = next(p for p in sorted(path.parent.parent.glob("[!.]*/*")) if p != path and p.is_dir())
    path.rename(path.parent.parent / ".moved")
    path.symlink_to(other)


def _swap_file_for_link(path: Path) -> None:
    file = largest(path)
    moved = path.parent.parent / ".moved-file"
    shutil.move(file, moved)
    file.symlink_to(moved)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped byte": _flip,
    "truncated file": lambda path: os.truncate(largest(path), largest(path).stat().st_size // 2),
    "deleted file": lambda path: largest(path).unlink(),
    "deleted manifest": lambda path: (path / MANIFEST).unlink(),
    "manifest cut in half": lambda path: os.truncate(path / MANIFEST, (path / MANIFEST).stat().st_size // 2),
    "manifest of null": lambda path: (path / MANIFEST).write_text("null"),
    "edited values": lambda path: _edit(path, values={"steps": 7}),
    "emptied files": lambda path: _edit(path, files={}),
    "extra file": lambda path: (path / "extra.txt").write_text("x"),
    "file became a link": _swap_file_for_link,
    "folder became a link": _swap_for_link,
    "files that may be run": lambda path: [file.chmod(0o777) for file in path.rglob("*") if file.is_file()],
}


@dataclass(frozen=True)
class Result:
    """What became of one damage."""

    what: str
    is_same: bool


def attempt(call: Call, store: Path, kind: str, damage: str, expected: dict[str, bytes]) -> Result:
    """Damages an artifact of a kind and starts the report again."""
    path = next(p for p in Store(store).places() if p.parent.name == kind)
    aside = _quarantined(store)
    DAMAGES[damage](path)
    try:
        outcome = run(call, store)
        what = "set aside, made again" if _quarantined(store) > aside else "taken"
    except StageError as error:
        what = "refused" if "is a link to" in str(error) else f"FAILED: {error}"
        path.unlink()
        (store / ".moved").rename(path)
        outcome = run(call, store)
    return Result(what, numbers(outcome, call) == expected)


def _quarantined(store: Path) -> int:
    return len(list((store / ".quarantine").glob("*")))


def main() -> int:
    """Prints the table; 1 where a damage was not found or the tables changed."""
    set_defaults()
    store = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp()) / "store"
    call = target()
    expected = numbers(run(call, store), call)
    print(f"| damage | {' | '.join(KINDS)} |\n| --- |{' --- |' * len(KINDS)}")
    bad = 0
    for damage in DAMAGES:
        results = [attempt(call, store, kind, damage, expected) for kind in KINDS]
        cells = [result.what if result.is_same else f"{result.what}, OTHER TABLES" for result in results]
        bad += sum(not result.is_same or "FAILED" in result.what for result in results)
        print(f"| {damage} | {' | '.join(cells)} |", flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
