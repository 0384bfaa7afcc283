"""Published answers as an artifact: the tables of their items, the responses, and the publisher's verdicts.

It stands where a model's responses and a suite's tables stand, so what scores those scores these.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from drift.files import sha256_of, write_jsonl
from evaluation.benchmarks import Benchmark, get_benchmark
from evaluation.data.download import download
from evaluation.data.published import Answer, as_table, read_answers
from evaluation.data.tsv import write_rows
from pipelines.errors import StageError
from pipelines.layout import PUBLISHED
from pipelines.stage import Runtime
from pipelines.stages import AnswerFile, AnswersParams

SITE = "https://raw.githubusercontent.com"


def take_answers(params: AnswersParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Per column a table, a JSONL of responses and one of the publisher's verdicts; values: counts and right ones.

    Raises:
        StageError: a file is not the one that is pinned, or not to be had offline.
        DataError: a file can't be fetched, or is not of its format.
    """
    found = {file.column: _file(params, file, runtime) for file in params.files}
    questions = found.pop("", None)
    counts = {}
    for file in params.files:
        if not file.column:
            continue
        benchmark = get_benchmark(file.benchmark)
        answers = list(read_answers(params.format, found[file.column], questions))
        _write(answers, benchmark, out)
        counts[file.column] = {"n": len(answers), "right": sum(answer.verdict is True for answer in answers)}
    return {"answers": counts}


def _write(answers: Sequence[Answer], benchmark: Benchmark, out: Path) -> None:
    write_rows(out / benchmark.tsv, as_table(answers))
    said = ({"index": a.row["index"], "response": a.response, "finish_reason": "unknown"} for a in answers)
    write_jsonl(out / f"{benchmark.name}.jsonl", said)
    ruled = ({"index": a.row["index"], "correct": a.verdict} for a in answers)
    write_jsonl(out / f"{benchmark.name}{PUBLISHED}", ruled)


def fetched(params: AnswersParams, store: Path) -> list[Path]:
    """Where the files lie once they have been fetched into a store."""
    return [_place(params, file, store / ".cache") for file in params.files]


def _place(params: AnswersParams, file: AnswerFile, cache: Path) -> Path:
    return cache / "answers" / f"{params.repository}@{params.commit}" / file.path


def _file(params: AnswersParams, file: AnswerFile, runtime: Runtime) -> Path:
    """The file as it is pinned; one that was fetched and is another is not kept."""
    origin = f"{params.repository}@{params.commit}"
    if params.source == "folder":
        path = Path(params.root) / file.path
    else:
        path = _place(params, file, runtime.cache)
        if not path.exists() and runtime.offline:
            raise StageError(f"{file.path} of {origin} is not in {path.parent}; say answers.root=FOLDER")
        if not path.exists():
            download(f"{SITE}/{params.repository}/{params.commit}/{quote(file.path)}", path, md5=None)
    if (sha256 := sha256_of(path)) != file.sha256:
        if params.source != "folder":
            path.unlink()
        raise StageError(f"{path} has sha256 {sha256}; {file.path} of {origin} has {file.sha256}")
    return path
