"""Scores a file of responses: `python -m evaluation.score benchmark=MathVision data=F.tsv predictions=F.jsonl ...`.

The same command is `drift score`. What scores is imported when there is something to score: its statistics take a
second, and a mistyped key should not.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import PositiveInt

from drift import words
from drift.errors import DataError
from evaluation.judging.config import Mode

if TYPE_CHECKING:
    from evaluation.benchmarks import Benchmark
    from evaluation.data.predictions import Prediction
    from evaluation.judging.http import HttpJudge
    from evaluation.judging.stream import Streamed
    from evaluation.judging.verdicts import Verdict

log = logging.getLogger(__name__)
PARTIAL = 3


@dataclass(frozen=True)
class Command:
    """Scores a file of responses by a benchmark's rules, writes one verdict an item, prints one JSON object.

    `predictions` may be VLMEvalKit's xlsx, tsv, csv or json, or JSON lines; the response is its column `response`, else
    `prediction`. The table's md5, columns, rows and gold answers are checked against what is known of the benchmark.
    An item without a response is an error; with allow_missing=true it is wrong and counted as `missing`. judge=openai
    asks any OpenAI-compatible server where rules can't decide; `judge_usage` then counts calls, tokens and cost.

    The exit status is 0 for a whole score, 2 for an error, 3 where the judge gave no verdict on some items: they count
    as not right, `highest` says what they could add, and the verdicts lie beside `verdicts` as NAME.partial.

    Example:
        drift score benchmark=MathVision data=MathVision.tsv predictions=answers.jsonl verdicts=verdicts.jsonl

    Attributes:
        benchmark: the benchmark, as VLMEvalKit spells it.
        data: its TSV; images are not needed.
        predictions: a file of index and response.
        verdicts: where to write one verdict a line.
        mode: official follows each benchmark's published rules, today its repository's present ones, vlmevalkit the
            toolkit's; semantic asks whether the answer means the same.
        judge: who decides where rules can't.
        judge_url: address of the judge, http://127.0.0.1:8000/v1.
        judge_model: its name there.
        judge_key_env: the environment variable that holds the key.
        judge_cache: an SQLite file of replies, kept between runs.
        judge_prompt_price, judge_completion_price: of a million tokens; without either no cost is claimed.
        allow_missing: score items without a response as wrong.
        allow_unjudged: take a score for whole where the judge gave no verdict on some items.
        processes: that apply the rules side by side.
    """

    benchmark: str
    data: Path
    predictions: Path
    verdicts: Path
    mode: Mode = "official"
    judge: Literal["rules", "openai"] = "rules"
    judge_url: str = ""
    judge_model: str = ""
    judge_key_env: str = "OPENAI_API_KEY"
    judge_cache: Path | None = None
    judge_prompt_price: float = 0.0
    judge_completion_price: float = 0.0
    allow_missing: bool = False
    allow_unjudged: bool = False
    processes: PositiveInt = 1


@dataclass(frozen=True)
class Scored:
    """The summary as JSON, and whether every item has a verdict."""

    text: str
    is_whole: bool


def run(command: Command) -> Scored:
    """Scores, writes the verdicts, and sums up.

    Raises:
        DataError: an `openai` judge without address or model, unknown benchmark or mode, unreadable files or those of
            another benchmark, missing responses, a place for the verdicts that holds something else.
    """
    from evaluation.benchmarks import BENCHMARKS, get_benchmark
    from evaluation.data.checks import check_table, check_target
    from evaluation.data.predictions import Waiting, iter_predictions
    from evaluation.judging.stream import score_file

    judge, row, source = _judge(command), get_benchmark(command.benchmark), command.predictions
    row.pinned(command.mode)  # a mode without a protocol is refused before anything is read
    check_target(command.verdicts, (command.data, source, *([command.judge_cache] if command.judge_cache else ())))
    facts = check_table(command.data, row, BENCHMARKS)
    with (
        Waiting.of(source, _shown(iter_predictions(source))) as waiting,
        _Draft(command.verdicts) as draft,
    ):
        found = score_file(
            row.name,
            get_benchmark,
            command.data,
            waiting,
            draft.write,
            mode=command.mode,
            judge=judge,
            processes=command.processes,
            allow_missing=command.allow_missing,
        )
        is_whole = command.allow_unjudged or not found.score.unjudged
        target = draft.keep(is_whole)
    summary = found.score.as_record() | facts | {"published_rows": row.rows, "is_whole": is_whole}
    summary |= {"judge": found.score.judge or "rules", "extra": found.extra, "without_gold": len(found.without_gold)}
    summary |= {"judge_usage": asdict(judge.usage())} if judge else {}
    for line in _doubts(command, row, found, facts, is_whole):
        log.warning(line)
    return Scored(json.dumps(summary | {"verdicts": str(target), "breakdown": found.breakdown}), is_whole)


def main(given: Sequence[str]) -> int:
    """The command: 0 and a JSON object on standard output; 3 and the same for a partial score; 2 and one line."""
    done: list[Scored] = []

    def body(command: Command) -> str:
        done.append(run(command))
        return done[0].text

    status = words.run(given, Command, body, level=logging.WARNING)
    return status if status or not done or done[0].is_whole else PARTIAL


def _doubts(
    command: Command, row: "Benchmark", found: "Streamed", facts: Mapping[str, object], is_whole: bool
) -> Iterator[str]:
    """What whoever reads the score should know, a line each."""
    score, data, published = found.score, command.data, f"the published table of {row.name} has"
    if row.md5 and not facts["is_published_table"]:
        yield f"{data} has md5 {facts['data_md5']}; {published} {row.md5}"
    if row.rows not in (None, score.n):
        yield f"{data} has {score.n} rows; {published} {row.rows}"
    if absent := found.without_gold:
        yield f"{data}: {len(absent)} items have no gold answer, first {absent[:3]}"
    if found.extra:
        yield f"{command.predictions}: {found.extra} responses belong to no item and were left out"
    if command.judge != "rules" and not score.judge:
        yield f"{command.judge_model} was never asked: mode={command.mode} left nothing to a judge"
    if not is_whole:
        yield (
            f"PARTIAL: the judge gave no verdict on {score.unjudged} of {score.n} items, which count as not right. "
            "Run again to ask only for those, or say allow_unjudged=true"
        )


def _shown(predictions: "Iterator[Prediction]") -> "Iterator[Prediction]":
    """The same, counted on a terminal."""
    from tqdm import tqdm

    return iter(tqdm(predictions, unit="row", desc="predictions", disable=None, leave=False))


class _Draft:
    """Verdicts on their way into a file, which has its name only when `keep` was called; else nothing is left."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(f".{target.name}.{os.getpid()}.draft")

    def __enter__(self) -> Self:
        with self._explained():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._path.open("wb")
        return self

    def write(self, verdicts: "Sequence[Verdict]") -> None:
        with self._explained():
            self._stream.writelines(json.dumps(vars(verdict)).encode() + b"\n" for verdict in verdicts)

    def keep(self, is_whole: bool) -> Path:
        """Gives the file its name; a part of the verdicts never replaces all of them and is called NAME.partial."""
        target = self._target if is_whole else self._target.with_name(f"{self._target.name}.partial")
        with self._explained():
            self._stream.close()
            os.replace(self._path, target)
        return target

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._path.unlink(missing_ok=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"{self._target}: can't be written ({error}); choose another place") from error


def _judge(command: Command) -> "HttpJudge | None":
    if command.judge == "rules":
        return None
    if not command.judge_url or not command.judge_model:
        raise DataError("judge=openai needs judge_url=http://host:port/v1 and judge_model=NAME")
    from evaluation.benchmarks import protocol_of
    from evaluation.judging.config import OpenAIJudge
    from evaluation.judging.http import HttpJudge

    config = OpenAIJudge(
        command.judge_url,
        command.judge_model,
        command.judge_key_env,
        name="openai",
        mode=command.mode,
        prompt_price=command.judge_prompt_price,
        completion_price=command.judge_completion_price,
    )
    return HttpJudge(config, protocol_of, cache=command.judge_cache)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
