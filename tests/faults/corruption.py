"""Every kind of artifact damaged in every way: python tests/faults/corruption.py [FOLDER [DAMAGE|KIND]...]

Makes a small store that holds each kind, damages one artifact of it at a time, starts the same plan again, and prints a
table: what became of each, whether the report's tables and what other packages' programs were asked came out the same.
A judge and published answers stand in for those of the net, and a program each for vLLM and for VLMEvalKit, so that
`agreement` and `second_opinion` are made by their own stages. Where kinds are named, only what they need is made.
"""

import json
import os
import shlex
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

from runs import TINY

from drift.files import sha256_of
from evaluation.engines.config import VLLMConfig
from evaluation.toolkit.job import PYTHON_VARIABLE
from pipelines import compose, plan, revisions, stages, tables
from pipelines.environment import set_defaults
from pipelines.errors import StageError
from pipelines.executors.local import Local
from pipelines.integrity import inventory
from pipelines.outcome import Outcome
from pipelines.report.spec import Row, Table
from pipelines.scheduler import Scheduler
from pipelines.schema import PublishedFile
from pipelines.stage import Call, Runtime, ordered
from pipelines.store import MANIFEST

KINDS = tuple(stages.STAGES)
ASKING = ("agreement", "second_opinion")  # another package's program; no table holds what it says
_STANDINS = Path(__file__).parents[1] / "evaluation"
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


def _program(path: Path, script: str) -> Path:
    """A program that runs one of the stand-ins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(_STANDINS / script)])} "$@"\n')
    path.chmod(0o755)
    return path


@contextmanager
def toolkit(folder: Path) -> Iterator[None]:
    """Within it, and in workers that are first started within it, the stand-in is VLMEvalKit's interpreter."""
    with patch.dict(os.environ, {PYTHON_VARIABLE: str(_program(folder / "toolkit", "toolkit_standin.py"))}):
        yield


def _asking(folder: Path) -> list[Call]:
    """The untouched MLLM by vLLM and by VLMEvalKit beside what transformers and our rules say."""
    vllm = _program(folder / "vllm", "vllm_standin.py")
    served = compose.load(["method=baseline", "engine=vllm", f"engine.command={vllm}", *_WORLD])
    assert isinstance(served.engine, VLLMConfig)
    opinion = compose.load(["method=baseline", "evaluator=vlmevalkit", *_WORLD])
    second = plan.second_opinion(revisions.resolve(opinion, online=True))
    assert second is not None
    return [plan.agreement(served, served.engine), second]


def targets(folder: Path, judge: str) -> list[Call]:
    """A report of three tables on a world that has learnt nothing, the same as a partial one, and `_asking`."""
    said, own = _answers(folder), [_scores(judge), _GEOMETRY]
    report = tables.over(said[2], [*own, said[0]], [*tables.configured(own, _WORLD, online=False), said])
    scores = next(call for name, call in sorted(report.inputs.items()) if name.startswith("score-"))
    gate = Call(stages.GATE, stages.GateParams({"MathVista": (0.0,)}, 100.0, "warn"), {"scores": scores})
    report = replace(report, inputs={**report.inputs, "gate-made": gate})
    partial = stages.PartialParams(report.params, report.params.tables, ())
    return [report, Call(stages.PARTIAL, partial, dict(report.inputs)), *_asking(folder)]


def run(calls: Sequence[Call], store: Path) -> Outcome:
    """What `drift reproduce` does with them."""
    runtime = Runtime(store)
    return Scheduler(runtime, Local(runtime, 2), lambda artifact: None).execute(list(calls))


def numbers(outcome: Outcome, calls: Sequence[Call]) -> dict[str, bytes]:
    """The tables of the reports, byte by byte, and the values of what asks another package's program."""
    paths = [path for call in calls for path in sorted(outcome[call].path.glob("tables/*"))]
    found = {f"{path.parents[2].name}/{path.name}": path.read_bytes() for path in paths}
    asked = [call for call in calls if call.stage.name in ASKING]
    return found | {call.stage.name: json.dumps(outcome[call].values, sort_keys=True).encode() for call in asked}


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


HARMLESS = "files that may be run"  # the bytes are the same
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
    HARMLESS: lambda path: [file.chmod(0o777) for file in path.rglob("*") if file.is_file()],
}


OF_FILES = ("flipped byte", "truncated file", "deleted file", "emptied files", "file became a link")
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
    kinds = [word for word in sys.argv[2:] if word in KINDS] or list(KINDS)
    with judge() as address, toolkit(folder / "programs"):
        calls, store, bad = targets(folder / "made", address), folder / "store", 0
        calls = [call for call in calls if {each.stage.name for each in ordered([call])} & set(kinds)]
        first = run(calls, store)
        expected, found = numbers(first, calls), places(first)
        print(f"| damage | {' | '.join(kinds)} |\n| --- |{' --- |' * len(kinds)}")
        for damage in [word for word in sys.argv[2:] if word not in KINDS] or DAMAGES:
            results = [attempt(calls, found[kind], damage, expected) for kind in kinds]
            cells = [result.what if result.is_same else f"{result.what}, OTHER TABLES" for result in results]
            unseen = () if damage == HARMLESS else ("taken",)
            bad += sum(not r.is_same or "FAILED" in r.what or r.what in unseen for r in results)
            print(f"| {damage} | {' | '.join(cells)} |", flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
