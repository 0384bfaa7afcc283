"""VLMEvalKit as a second opinion: the same tables and the same model through the toolkit itself, compared item by item.

    python -m evaluation.backends.vlmevalkit model=CHECKPOINT data=FOLDER benchmarks=LabMathVista,LabWeMath out=FOLDER

The toolkit runs in its own environment and process (`make setup-vlmevalkit SOURCE=...`): it pins old packages, turns
TLS checks off for its whole process and edits the environment. It gets a fresh data folder each time, because it caches
images by data set name and row index and would show one world's pictures for another's.
"""

import json
import logging
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drift.errors import DataError, DriftError
from evaluation.backends.agreement import Agreement, compare_verdicts, write_agreement
from evaluation.backends.boxed_judge import MODEL as BOXED_JUDGE
from evaluation.backends.boxed_judge import serve_boxed_judge
from evaluation.backends.tables import ADAPTERS, PROMPT_COLUMN, toolkit_dataset, write_table
from evaluation.benchmarks import Benchmark, get_benchmark
from evaluation.command_line import parse, run
from evaluation.engines.base import GenerationSettings, Request
from evaluation.engines.factory import EngineConfig, load_engine
from evaluation.generate import read_jsonl, run_generation
from evaluation.prompts import build_prompt
from evaluation.scoring import score
from evaluation.tsv import load_items

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[2]
RUNNER = Path(__file__).with_name("vlmevalkit_runner.py")
PYTHON_VARIABLE = "VLMEVALKIT_PYTHON"


class ToolkitError(DriftError):
    """VLMEvalKit is not installed, or its run failed."""


@dataclass(frozen=True)
class Command:
    """One comparison; also the command line.

    Attributes:
        data: folder with the benchmarks' TSVs.
        out: a new or empty folder for both sides' files and the tables.
        benchmarks: registry names; lab suites and published benchmarks can't be mixed.
        model: checkpoint folder; both sides generate with it. Empty: `responses` is scored by both.
        responses: folder with `<benchmark>.jsonl` of {index, response}; used instead of generating.
        judge: the toolkit's judge model; `boxed-rules` is ours for the lab, `exact_matching` none at all.
        judge_base_url: endpoint of any other judge; its key is read from `judge_key_env`.
        python: the toolkit's interpreter; empty is VLMEVALKIT_PYTHON, else .venv-vlmevalkit.
        limit: the first so many items of each lab suite; 0 is all.
        timeout: seconds for the toolkit's whole run.
    """

    data: Path
    out: Path
    benchmarks: tuple[str, ...]
    model: str = ""
    responses: str = ""
    judge: str = BOXED_JUDGE
    judge_base_url: str = ""
    judge_key_env: str = "OPENAI_API_KEY"
    python: str = ""
    dtype: str = "auto"
    image_backend: str = "auto"
    max_new_tokens: int = 2048
    batch_size: int = 16
    mode: str = "official"
    limit: int = 0
    timeout: float = 86_400.0


def toolkit_python(python: str = "") -> Path:
    """The interpreter of the toolkit's environment.

    Raises:
        ToolkitError: there is none where it was said to be, or nothing was said and none is installed.
    """
    default = ROOT / ".venv-vlmevalkit" / "bin" / "python"
    path = Path(python or os.environ.get(PYTHON_VARIABLE, "") or default)
    if not path.is_file():
        raise ToolkitError(
            f"VLMEvalKit's interpreter {path} is not there; run `make setup-vlmevalkit SOURCE=<git URL or clone>`, or "
            f"set {PYTHON_VARIABLE}"
        )
    return path


def compare_with_toolkit(command: Command) -> list[Agreement]:
    """Run both sides on every benchmark and write agreement.csv, agreement.md and disagreements.jsonl into `out`.

    Raises:
        DataError: lab and published benchmarks mixed, no benchmark, or neither model nor responses.
        ToolkitError: the toolkit is not installed, failed, or left no verdicts.
    """
    rows = [get_benchmark(name) for name in command.benchmarks]
    _check(command, rows)
    python = toolkit_python(command.python)
    theirs = run_toolkit(command, rows, python)
    agreements = []
    for row, ours in zip(rows, _run_ours(command, rows), strict=True):
        agreements.append(compare_verdicts(row.name, ours, read_jsonl(theirs / f"{toolkit_dataset(row)}.jsonl")))
        log.info("%s: %s", row.name, agreements[-1].row())
    record = json.loads((theirs / "toolkit.json").read_text())
    note = f"VLMEvalKit commit {record['commit']}, judge {command.judge}; our rules in mode {command.mode}."
    write_agreement(agreements, command.out, note=note)
    return agreements


def run_toolkit(command: Command, rows: Sequence[Benchmark], python: Path) -> Path:
    """The folder with the toolkit's verdicts (`<data set>.jsonl`), its own report (toolkit.json) and its log.

    Raises:
        ToolkitError: a run that failed or ran out of time; the end of its log is quoted.
    """
    folder = command.out / "toolkit"
    if folder.exists():
        raise ToolkitError(f"{folder} is there already; the toolkit reuses what it finds, so give another `out`")
    is_lab = rows[0].name in ADAPTERS
    for row in rows:
        write_table(row, command.data / row.tsv, folder / "data", limit=command.limit)
    with _judge_url(command) as url:
        job = {
            "datasets": [toolkit_dataset(row) for row in rows],
            "model": str(Path(command.model).resolve()) if command.model else "",
            "responses": str(_merge_responses(command, rows)) if command.responses else "",
            "engine": {"dtype": command.dtype, "image_backend": command.image_backend},
            "settings": asdict(_settings(command)),
            "lmu_data": str((folder / "data").resolve()),
            "work": str((folder / "work").resolve()),
            "out": str(folder.resolve()),
            "judge": command.judge,
            "judge_base_url": url,
            "judge_key_env": command.judge_key_env,
            "prompt_column": PROMPT_COLUMN if is_lab else "",
        }
        (folder / "job.json").write_text(json.dumps(job, indent=2))
        _call(python, folder, command.timeout)
    return folder


def _call(python: Path, folder: Path, timeout: float) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "log.txt").open("w") as stream:
        try:
            done = subprocess.run(
                [str(python), str(RUNNER), str((folder / "job.json").resolve())],
                cwd=folder,
                env=environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ToolkitError(f"VLMEvalKit ran longer than timeout={timeout:g} s; see {folder / 'log.txt'}") from error
    if done.returncode != 0:
        tail = (folder / "log.txt").read_text(errors="replace")[-1500:]
        raise ToolkitError(f"VLMEvalKit ended with status {done.returncode}; the end of {folder / 'log.txt'}:\n{tail}")


def _run_ours(command: Command, rows: Sequence[Benchmark]) -> Iterator[list[dict[str, Any]]]:
    """Our verdicts with responses, a benchmark at a time; the model is loaded once."""
    config = EngineConfig(model=command.model, dtype=command.dtype, image_backend=command.image_backend)
    engine = load_engine(config) if not command.responses else None
    for row in rows:
        items = load_items(command.data / row.tsv, row)
        items = items[: command.limit] if command.limit else items
        chosen = engine or load_engine(EngineConfig("precomputed", str(Path(command.responses) / f"{row.name}.jsonl")))
        requests = [Request(item.index, build_prompt(row, item), item.images) for item in items]
        path = command.out / "ours" / f"{row.name}.predictions.jsonl"
        responses = {r.index: r.text for r in run_generation(chosen, requests, _settings(command), path)}
        verdicts = score(row, items, responses, mode=command.mode)
        records = [{**verdict.as_record(), "response": responses[verdict.index]} for verdict in verdicts]
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (command.out / "ours" / f"{row.name}.verdicts.jsonl").write_text(lines)
        yield records


def _check(command: Command, rows: Sequence[Benchmark]) -> None:
    if not rows or len({row.name in ADAPTERS for row in rows}) != 1:
        raise DataError(f"benchmarks={','.join(command.benchmarks)}: name at least one, all of the lab or none")
    if bool(command.model) == bool(command.responses):
        raise DataError(f"model={command.model!r}, responses={command.responses!r}: give exactly one of the two")
    if command.responses and len(rows) != 1:
        raise DataError(f"responses= takes one benchmark a run, found {len(rows)}: indices repeat between benchmarks")
    if command.judge not in (BOXED_JUDGE, "exact_matching") and not command.judge_base_url:
        raise DataError(f"judge={command.judge} needs judge_base_url, the address of an OpenAI-compatible endpoint")


def _merge_responses(command: Command, rows: Sequence[Benchmark]) -> Path:
    return (Path(command.responses) / f"{rows[0].name}.jsonl").resolve()


def _settings(command: Command) -> GenerationSettings:
    return GenerationSettings(max_new_tokens=command.max_new_tokens, batch_size=command.batch_size)


@contextmanager
def _judge_url(command: Command) -> Iterator[str]:
    if command.judge != BOXED_JUDGE:
        yield command.judge_base_url
        return
    with serve_boxed_judge() as url:
        yield url


def main(arguments: Sequence[str]) -> str:
    """Compare and report one JSON row a benchmark."""
    rows: list[Mapping[str, Any]] = [agreement.row() for agreement in compare_with_toolkit(parse(arguments, Command))]
    return "\n".join(json.dumps(row) for row in rows)


if __name__ == "__main__":
    run(main)
