"""Scores a file of responses: `python -m evaluation.score benchmark=MathVision data=F.tsv predictions=F.jsonl ...`.

The same command is `drift score`. What scores is imported when there is something to score: its statistics take a
second, and a mistyped key should not.
"""

import json
import logging
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from drift import words
from drift.errors import DataError
from drift.files import md5_of, write_jsonl

if TYPE_CHECKING:
    from evaluation.judging.http import HttpJudge

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """Scores a file of responses by a benchmark's rules, writes one verdict an item, prints one JSON object.

    An item without a response is an error; with allow_missing=true it is wrong and counted as `missing`. judge=openai
    asks any OpenAI-compatible server where rules can't decide; `judge_usage` then counts calls, tokens and cost.

    Example:
        drift score benchmark=MathVision data=MathVision.tsv predictions=answers.jsonl verdicts=verdicts.jsonl

    Attributes:
        benchmark: the benchmark, as VLMEvalKit spells it.
        data: its TSV; images are not needed.
        predictions: JSON lines of index and response.
        verdicts: where to write one verdict a line.
        mode: official follows each benchmark's published rules, semantic asks whether the answer means the same.
        judge: who decides where rules can't.
        judge_url: address of the judge, http://127.0.0.1:8000/v1.
        judge_model: its name there.
        judge_key_env: the environment variable that holds the key.
        judge_cache: an SQLite file of replies, kept between runs.
        judge_prompt_price, judge_completion_price: of a million tokens; without either no cost is claimed.
        allow_missing: score items without a response as wrong.
    """

    benchmark: str
    data: Path
    predictions: Path
    verdicts: Path
    mode: Literal["official", "semantic"] = "official"
    judge: Literal["rules", "openai"] = "rules"
    judge_url: str = ""
    judge_model: str = ""
    judge_key_env: str = "OPENAI_API_KEY"
    judge_cache: Path | None = None
    judge_prompt_price: float = 0.0
    judge_completion_price: float = 0.0
    allow_missing: bool = False


def run(command: Command) -> str:
    """Scores, writes the verdicts, and gives the summary as JSON.

    Raises:
        DataError: an `openai` judge without address or model, unknown benchmark or mode, unreadable files, missing
            responses.
    """
    from evaluation.benchmarks import get_benchmark
    from evaluation.data.predictions import check_coverage, read_predictions
    from evaluation.data.tsv import load_items
    from evaluation.judging.scoring import score, summarise

    judge = _judge(command)
    row, source = get_benchmark(command.benchmark), command.predictions
    items, responses = load_items(command.data, row, with_images=False), read_predictions(source)
    extra = check_coverage([item.index for item in items], responses, source, command.allow_missing)
    if extra:
        log.warning("%s: %d responses belong to no item of %s and were left out", source, extra, command.data)
    results = score(row, items, responses, command.mode, judge)
    summary = summarise(row, items, results).as_record()
    try:
        write_jsonl(command.verdicts, (asdict(result) for result in results))
    except OSError as error:
        raise DataError(f"{command.verdicts}: can't be written ({error}); choose another place") from error
    summary |= {"judge": judge.model if judge else "rules", "extra": extra, "data_md5": md5_of(command.data)}
    return json.dumps(summary | ({"judge_usage": asdict(judge.usage())} if judge else {}))


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


# The command: 0 and a JSON object on standard output, or 2 and one line on standard error.
main = partial(words.run, command=Command, body=run, level=logging.WARNING)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
