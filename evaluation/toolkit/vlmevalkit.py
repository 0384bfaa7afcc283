"""VLMEvalKit as a second opinion: the same tables and the same model through the toolkit itself, compared item by item.

    python -m evaluation.toolkit.vlmevalkit model=CHECKPOINT data=FOLDER benchmarks=LabMathVista,LabWeMath out=FOLDER

The toolkit's side is evaluation.toolkit.job; ours generates and scores here. In a pipeline, `evaluator=vlmevalkit`
sets it beside verdicts that are in the store.
"""

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drift import words
from drift.choices import ImageBackend
from drift.errors import DataError
from drift.files import write_jsonl
from evaluation.benchmarks import Benchmark, build_prompt
from evaluation.data.tsv import load_items
from evaluation.engines.base import GenerationSettings, Request
from evaluation.engines.config import Dtype, PrecomputedConfig, TransformersConfig, load_engine
from evaluation.engines.generate import run_generation
from evaluation.judging.scoring import score
from evaluation.toolkit.agreement import Agreement, compare_verdicts, write_agreement
from evaluation.toolkit.boxed_judge import MODEL as BOXED_JUDGE
from evaluation.toolkit.job import ToolkitJob, check_comparable, run_toolkit, toolkit_python, toolkit_verdicts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """Runs VLMEvalKit and our own evaluation on the same benchmarks and compares them item by item.

    Example:
        python -m evaluation.toolkit.vlmevalkit model=CHECKPOINT data=FOLDER benchmarks=LabWeMath out=FOLDER

    Attributes:
        data: folder with the benchmarks' TSVs.
        out: a new or empty folder for both sides' files and the tables.
        benchmarks: registry names; lab suites and published benchmarks can't be mixed.
        model: checkpoint folder; both sides generate with it. Empty: `responses` is scored by both.
        responses: folder with `<benchmark>.jsonl` of {index, response}; used instead of generating.
        judge: the toolkit's judge model; `boxed-rules` is ours for the lab, `exact_matching` none at all.
        judge_url: endpoint of any other judge; its key is read from `judge_key_env`.
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
    judge_url: str = ""
    judge_key_env: str = "OPENAI_API_KEY"
    python: str = ""
    dtype: Dtype = "auto"
    image_backend: ImageBackend = "auto"
    max_new_tokens: int = 2048
    batch_size: int = 16
    mode: str = "official"
    limit: int = 0
    timeout: float = 86_400.0


def compare_sides(command: Command) -> list[Agreement]:
    """Run both sides on every benchmark and write agreement.csv, agreement.md and disagreements.jsonl into `out`.

    Raises:
        DataError: lab and published benchmarks mixed, no benchmark, or neither model nor responses.
        ToolkitError: the toolkit is not installed, failed, or left no verdicts.
    """
    rows = check_comparable(command.benchmarks, command.judge, command.judge_url)
    if bool(command.model) == bool(command.responses):
        raise DataError(f"model={command.model!r}, responses={command.responses!r}: give exactly one of the two")
    if command.responses and len(rows) != 1:
        raise DataError(f"responses= takes one benchmark a run, found {len(rows)}: indices repeat between benchmarks")
    settings = GenerationSettings(max_new_tokens=command.max_new_tokens, batch_size=command.batch_size)
    engine = TransformersConfig("transformers", settings, command.dtype, command.image_backend)
    job = ToolkitJob(
        data=command.data,
        folder=command.out / "toolkit",
        benchmarks=command.benchmarks,
        model=command.model,
        responses=str(Path(command.responses) / f"{rows[0].name}.jsonl") if command.responses else "",
        judge=command.judge,
        judge_url=command.judge_url,
        judge_key_env=command.judge_key_env,
        engine=engine,
        limit=command.limit,
        timeout=command.timeout,
    )
    record = run_toolkit(job, toolkit_python(command.python))
    agreements = []
    for row, ours in zip(rows, _run_ours(command, job, rows), strict=True):
        agreements.append(compare_verdicts(row.name, ours, toolkit_verdicts(job.folder, row)))
        log.info("%s: %s", row.name, agreements[-1].row())
    note = f"VLMEvalKit commit {record['commit']}, judge {command.judge}; our rules in mode {command.mode}."
    write_agreement(agreements, command.out, note=note)
    return agreements


def _run_ours(command: Command, job: ToolkitJob, rows: Sequence[Benchmark]) -> Iterator[list[dict[str, Any]]]:
    """Our verdicts with responses, a benchmark at a time; the model is loaded once."""
    settings = job.engine.settings
    config = job.engine if job.model else PrecomputedConfig("precomputed", settings, job.responses)
    engine = load_engine(config, job.model)
    for row in rows:
        items = load_items(job.data / row.tsv, row)[: job.limit or None]
        requests = [Request(item.index, build_prompt(row, item), item.images) for item in items]
        path = command.out / "ours" / f"{row.name}.predictions.jsonl"
        responses = {r.index: r.text for r in run_generation(engine, requests, settings, path)}
        verdicts = score(row, items, responses, mode=command.mode)
        records = [{**asdict(verdict), "response": responses[verdict.index]} for verdict in verdicts]
        write_jsonl(command.out / "ours" / f"{row.name}.verdicts.jsonl", records)
        yield records


def run(command: Command) -> str:
    """Compare and report one JSON row a benchmark."""
    return "\n".join(json.dumps(agreement.row()) for agreement in compare_sides(command))


if __name__ == "__main__":
    sys.exit(words.run(sys.argv[1:], Command, run))
