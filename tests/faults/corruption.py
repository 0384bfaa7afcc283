"""Every kind of artifact damaged in every way: python tests/faults/corruption.py [FOLDER [DAMAGE]...]

Makes a small store that holds each kind that a report is made of, damages one artifact of it at a time, starts the same
report again, and prints a table: what became of each, whether the tables came out the same. A judge and published
answers stand in for those of the net. Two kinds are not made here: `agreement` needs vLLM, `second_opinion` VLMEvalKit.
"""

import json
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from runs import TINY

from drift.files import sha256_of
from pipelines import compose, stages, tables
from pipelines.environment import set_defaults
from pipelines.errors import StageError
from pipelines.executors.local import Local
from pipelines.integrity import inventory
from pipelines.outcome import Outcome
from pipelines.report.spec import Row, Table
from pipelines.scheduler import Scheduler
from pipelines.schema import PublishedFile
from pipelines.stage import Call, Runtime
from pipelines.store import MANIFEST

KINDS = tuple(name for name in stages.STAGES if name not in ("agreement", "second_opinion"))
_WORLD = ("profile=smoke", *TINY)
_GEOMETRY = Table(
    name="apart", title="Apart", columns=("l2",), rows=(Row("pair", ("pair=qwen2_5_vl_r1",)),), kind="geometry"
)


def _scores(judge: str) -> Table:
    asked = ("method=baseline", "judge=openai", f"judge.url={judge}", "judge.key_env=''", "judge.pause=0.0")
    rows = {
        "DRIFT": ("method=drift",),
        "Task Arithmetic, tuned": ("method=task_arithmetic", "merge.coefficient=auto"),
        "FRISM": ("method=frism", "frism.steps=1", "frism.rank=4"),
        "SFT, mixed": ("method=sft", "data=lab_mixed", "data.mix.unfiltered=0.5"),
        "baseline, judged": asked,
    }
    return Table("small", "Small", ("MathVista", "Avg"), tuple(Row(label, words) for label, words in rows.items()))


def _answers(folder: Path) -> tables.Configured:
    """A table's row of two answers, which lie in the folder as MathVista's authors publish theirs."""
    meta = {"skills": ["counting"], "task": "t"}
    kinds = {"question_type": "free_form", "answer_type": "integer", "precision": 0, "metadata": meta}
    right = {
        "question": "How many?",
        "answer": "7",
        "choices": None,
        "response": "It is 7.",
        "true_false": True,
    } | kinds
    wrong = right | {"response": "It is 8.", "true_false": False}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "said.json").write_text(json.dumps({"1": right, "2": wrong}))
    file = PublishedFile("said.json", sha256_of(folder / "said.json"), "said.json", benchmark="MathVista_MINI")
    row = Row("said", ("method=baseline",))
    table = Table("said", "Said", ("MathVista",), (row,), kind="rescored")
    config = compose.load([*row.overrides, *_WORLD])
    said = replace(
        config.answers, format="mathvista", root=str(folder), chosen="said", sets={"said": {"MathVista": file}}
    )
    return table, row, replace(config, answers=said)


@contextmanager
def judge() -> Iterator[str]:
    """The address of a judge that always says A."""

    class Judge(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            choice = {"message": {"role": "assistant", "content": "A"}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1}
            body = json.dumps({"choices": [choice], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()


def targets(folder: Path, judge: str) -> list[Call]:
    """A report of three tables, on a world that has learnt nothing, and the same as one in which nothing failed."""
    said, own = _answers(folder), [_scores(judge), _GEOMETRY]
    report = tables.over(said[2], [*own, said[0]], [*tables.configured(own, _WORLD, online=False), said])
    scores = next(call for name, call in sorted(report.inputs.items()) if name.startswith("score-"))
    gate = Call(stages.GATE, stages.GateParams({"MathVista": (0.0,)}, 100.0, "warn"), {"scores": scores})
    report = replace(report, inputs={**report.inputs, "gate-made": gate})
    partial = stages.PartialParams(report.params, report.params.tables, ())
    return [report, Call(stages.PARTIAL, partial, dict(report.inputs))]


def run(calls: Sequence[Call], store: Path) -> Outcome:
    """What `drift reproduce` does with them."""
    runtime = Runtime(store)
    return Scheduler(runtime, Local(runtime, 2), lambda artifact: None).execute(list(calls))


def numbers(outcome: Outcome, calls: Sequence[Call]) -> dict[str, bytes]:
    """The tables of the reports, byte by byte."""
    paths = [path for call in calls for path in sorted(outcome[call].path.glob("tables/*"))]
    return {f"{path.parents[2].name}/{path.name}": path.read_bytes() for path in paths}


def places(outcome: Outcome) -> dict[str, Path]:
    """An artifact of each kind."""
    return {artifact.path.parent.name: artifact.path for artifact in outcome.artifacts.values()}


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


OF_FILES = ("flipped byte", "truncated file", "deleted file", "file became a link")
NO_FILES = "has no file"


@dataclass(frozen=True)
class Result:
    """What became of one damage."""

    what: str
    is_same: bool


def attempt(calls: Sequence[Call], path: Path, damage: str, expected: dict[str, bytes]) -> Result:
    """Damages the artifact in a place and starts the report again."""
    store = path.parents[1]
    if damage in OF_FILES and not inventory(path):
        return Result(NO_FILES, True)
    aside = _quarantined(store)
    DAMAGES[damage](path)
    try:
        outcome = run(calls, store)
        what = "set aside, made again" if _quarantined(store) > aside else "taken"
    except StageError as error:
        what = "refused" if "is a link to" in str(error) else f"FAILED: {error}"
        path.unlink()
        (store / ".moved").rename(path)
        outcome = run(calls, store)
    return Result(what, numbers(outcome, calls) == expected)


def _quarantined(store: Path) -> int:
    return len(list((store / ".quarantine").glob("*")))


def main() -> int:
    """Prints the table; 1 where a damage was not found or the tables changed."""
    set_defaults()
    folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp()).resolve()
    with judge() as address:
        calls, store, bad = targets(folder / "answers", address), folder / "store", 0
        first = run(calls, store)
        expected, found = numbers(first, calls), places(first)
        print(f"| damage | {' | '.join(KINDS)} |\n| --- |{' --- |' * len(KINDS)}")
        for damage in sys.argv[2:] or DAMAGES:
            results = [attempt(calls, found[kind], damage, expected) for kind in KINDS]
            cells = [result.what if result.is_same else f"{result.what}, OTHER TABLES" for result in results]
            bad += sum(not result.is_same or "FAILED" in result.what for result in results)
            print(f"| {damage} | {' | '.join(cells)} |", flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
