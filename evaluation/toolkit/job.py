"""Runs the real VLMEvalKit, in its own environment and process, over tables and a checkpoint of ours.

Own environment: it pins old packages (`make setup-vlmevalkit SOURCE=...`). Own process: it turns TLS checks off for the
whole of it and edits the environment. It gets a fresh folder each time, because it caches images by data set name and
row index and would show one world's pictures for another's. Light: no torch until it runs.
"""

import csv
import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drift.errors import DataError, DriftError
from drift.files import read_jsonl
from evaluation.benchmarks import Benchmark, get_benchmark
from evaluation.engines.config import TransformersConfig
from evaluation.toolkit.boxed_judge import MODEL as BOXED_JUDGE
from evaluation.toolkit.boxed_judge import serve_boxed_judge
from evaluation.toolkit.tables import PROMPT_COLUMN, toolkit_dataset, write_table

ROOT = Path(__file__).parents[2]
RUNNER = Path(__file__).with_name("vlmevalkit_runner.py")
PYTHON_VARIABLE = "VLMEVALKIT_PYTHON"
NO_JUDGE = "exact_matching"
_RECORD = "toolkit.json"
_REMEDY = f"run `make setup-vlmevalkit SOURCE=<git URL or clone>`, or set {PYTHON_VARIABLE}"


class ToolkitError(DriftError):
    """VLMEvalKit is not installed, or its run failed."""


@dataclass(frozen=True)
class ToolkitJob:
    """One run of the toolkit.

    Attributes:
        data: folder with the benchmarks' TSVs.
        folder: a new folder for whatever the toolkit reads and writes.
        benchmarks: registry names; lab suites and published benchmarks can't be mixed.
        engine: generates inside the toolkit's process.
        model: checkpoint folder to generate with. Empty: the JSONL `responses` ({index, response}) is scored.
        judge: the toolkit's judge model; `boxed-rules` is ours for the lab, `exact_matching` none at all.
        judge_url: endpoint of any other judge; its key is read from `judge_key_env`.
        variant: prompt variant of lab suites; the toolkit builds the prompts of published benchmarks itself.
        limit: the first so many items of each lab suite; 0 is all.
        threads: compute threads; 0 leaves the environment's.
        timeout: seconds for the whole run.
    """

    data: Path
    folder: Path
    benchmarks: tuple[str, ...]
    engine: TransformersConfig
    model: str = ""
    responses: str = ""
    judge: str = BOXED_JUDGE
    judge_url: str = ""
    judge_key_env: str = "OPENAI_API_KEY"
    variant: str = "default"
    limit: int = 0
    threads: int = 0
    timeout: float = 86_400.0


def toolkit_python(python: str = "") -> Path:
    """The interpreter of the toolkit's environment.

    Raises:
        ToolkitError: there is none where it was said to be, or nothing was said and none is installed.
    """
    default = ROOT / ".venv-vlmevalkit" / "bin" / "python"
    path = Path(python or os.environ.get(PYTHON_VARIABLE, "") or default)
    if not path.is_file():
        raise ToolkitError(f"VLMEvalKit's interpreter {path} is not there; {_REMEDY}")
    return path


def toolkit_commit(python: Path) -> str:
    """The commit of the installed toolkit; `-dirty` is added where its source was changed since.

    Raises:
        ToolkitError: the toolkit is not in that environment, or is no git checkout.
    """
    done = subprocess.run(
        [str(python), str(RUNNER), "commit"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        raise ToolkitError(f"{python} can't name its VLMEvalKit ({done.stderr.strip()[-300:]}); {_REMEDY}")
    return done.stdout.strip()


def check_comparable(benchmarks: Sequence[str], judge: str, judge_url: str) -> list[Benchmark]:
    """The benchmarks, if the toolkit can score them with that judge in one run.

    Raises:
        DataError: lab and published benchmarks mixed, none named, one without a class, or a judge that doesn't fit.
    """
    rows = [get_benchmark(name) for name in benchmarks]
    for row in rows:
        toolkit_dataset(row)
    kinds = {row.toolkit is not None for row in rows}
    if len(kinds) != 1:
        raise DataError(f"benchmarks={','.join(benchmarks)}: name at least one, all of the lab or none")
    if judge == BOXED_JUDGE and not kinds.pop():
        raise DataError(f"judge={judge} reads the lab's answers only; give a judge model and judge_url")
    if judge not in (BOXED_JUDGE, NO_JUDGE) and not judge_url:
        raise DataError(f"judge={judge} needs judge_url, the address of an OpenAI-compatible endpoint")
    return rows


def run_toolkit(job: ToolkitJob, python: Path) -> dict[str, Any]:
    """Let the toolkit generate and score; `job.folder` then holds `<data set>.jsonl` with a verdict an item.

    Returns:
        The toolkit's commit, judge and status (`toolkit.json`).
    Raises:
        DataError: as check_comparable; or a table that the toolkit's class can't score.
        ToolkitError: a run that failed or ran out of time; the end of its log is quoted.
    """
    rows = check_comparable(job.benchmarks, job.judge, job.judge_url)
    if job.folder.exists():
        raise ToolkitError(f"{job.folder} is there already; the toolkit reuses what it finds, so give another `out`")
    for row in rows:
        write_table(row, job.data / row.tsv, job.folder / "data", variant=job.variant, limit=job.limit)
    with serve_boxed_judge() if job.judge == BOXED_JUDGE else nullcontext(job.judge_url) as url:
        description = {
            "datasets": [toolkit_dataset(row) for row in rows],
            "model": str(Path(job.model).resolve()) if job.model else "",
            "responses": str(Path(job.responses).resolve()) if job.responses else "",
            "engine": asdict(job.engine),
            "lmu_data": str((job.folder / "data").resolve()),
            "work": str((job.folder / "work").resolve()),
            "out": str(job.folder.resolve()),
            "judge": job.judge,
            "judge_url": url,
            "judge_key_env": job.judge_key_env,
            "prompt_column": PROMPT_COLUMN if rows[0].toolkit else "",
        }
        (job.folder / "job.json").write_text(json.dumps(description, indent=2))
        _call(python, job)
    return json.loads((job.folder / _RECORD).read_text())


def toolkit_verdicts(folder: Path, benchmark: Benchmark) -> list[dict[str, Any]]:
    """{index, response, extraction, correct} of every item, as the toolkit decided."""
    return read_jsonl(folder / f"{toolkit_dataset(benchmark)}.jsonl", "the toolkit's verdicts")


def toolkit_score(folder: Path, benchmark: Benchmark) -> tuple[str, str]:
    """(metric, value) as the toolkit itself reports them, on its own scale; two empty texts where it reports none."""
    dataset = toolkit_dataset(benchmark)
    status = json.loads((folder / _RECORD).read_text()).get("datasets", {}).get(dataset, {})
    metrics = status.get("metrics", {})
    # MathVision's primary metric is named as no metric of its status is (commit e8e78f05).
    named = [name for name in (status.get("primary_metric"), "Subject=Overall|acc") if name in metrics]
    if named:
        return named[0], str(metrics[named[0]])
    for path in sorted((folder / "work").rglob(f"*_{dataset}_*_score.csv")):  # We-Math has a table and no metrics
        with path.open(newline="") as stream:
            return next((name, value) for name, value in next(csv.DictReader(stream)).items() if "Score" in name)
    return "", ""


def _call(python: Path, job: ToolkitJob) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if job.threads:
        environment["OMP_NUM_THREADS"] = str(job.threads)
    log = job.folder / "log.txt"
    # The toolkit's process ends itself when this end of its standard input is gone, however this process ended.
    lifeline, ours = os.pipe()
    try:
        with log.open("w") as stream:
            done = subprocess.run(
                [str(python), str(RUNNER), str((job.folder / "job.json").resolve())],
                cwd=job.folder,
                env=environment,
                stdin=lifeline,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=job.timeout,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise ToolkitError(f"VLMEvalKit ran longer than timeout={job.timeout:g} s; see {log}") from error
    finally:
        os.close(lifeline)
        os.close(ours)
    if done.returncode != 0:
        tail = log.read_text(errors="replace")[-1500:]
        raise ToolkitError(f"VLMEvalKit ended with status {done.returncode}; the end of {log}:\n{tail}")
