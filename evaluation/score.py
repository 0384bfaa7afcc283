"""Scores a file of responses: `python -m evaluation.score benchmark=MathVision data=F.tsv predictions=F.jsonl ...`.

Arguments: benchmark, data (a TSV, images not needed), predictions (JSON lines of index and response), verdicts (where
to write one verdict a line), mode=official|semantic, judge=rules|openai, allow_missing=false|true. Prints one JSON
object. An item without a response is an error; with allow_missing=true it is wrong and counted as `missing`.
judge=openai asks any OpenAI-compatible server: judge_url=http://127.0.0.1:8000/v1 judge_model=NAME, and if wanted
judge_key_env (the variable that holds the key), judge_cache (an SQLite file of replies, kept between runs), and
judge_prompt_price with judge_completion_price (per million tokens). `judge_usage` then counts calls, tokens and cost.
"""

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from drift.errors import DataError, DriftError, closest
from drift.files import md5_of, write_jsonl
from evaluation.arguments import parse_arguments, parse_switch
from evaluation.benchmarks import get_benchmark
from evaluation.data.predictions import check_coverage, read_predictions
from evaluation.data.tsv import load_items
from evaluation.judging.config import OpenAIJudge
from evaluation.judging.http import HttpJudge
from evaluation.judging.judge import Judge
from evaluation.judging.scoring import score, summarise

log = logging.getLogger(__name__)

REQUIRED = ("benchmark", "data", "predictions", "verdicts")
DEFAULTS = {
    "mode": "official",
    "judge": "rules",
    "judge_url": "",
    "judge_model": "",
    "judge_key_env": "OPENAI_API_KEY",
    "judge_cache": "",
    "judge_prompt_price": "",
    "judge_completion_price": "",
    "allow_missing": "false",
}
JUDGES = ("rules", "openai")


def score_files(
    benchmark: str,
    data: Path,
    predictions: Path,
    verdicts: Path,
    mode: str = "official",
    judge: Judge | None = None,
    judge_name: str = "rules",
    allow_missing: bool = False,
) -> dict[str, object]:
    """Scores `predictions` against `data`, writes `verdicts`, and returns the summary as one flat record.

    Raises:
        DataError: unknown benchmark or mode, unreadable files, missing responses.
    """
    row = get_benchmark(benchmark)
    items = load_items(data, row, with_images=False)
    responses = read_predictions(predictions)
    extra = check_coverage([item.index for item in items], responses, predictions, allow_missing)
    if extra:
        log.warning("%s: %d responses belong to no item of %s and were left out", predictions, extra, data)
    results = score(row, items, responses, mode, judge)
    summary = summarise(row, items, results)
    try:
        write_jsonl(verdicts, (result.as_record() for result in results))
    except OSError as error:
        raise DataError(f"{verdicts}: can't be written ({error}); choose another place") from error
    return {**summary.as_record(), "judge": judge_name, "extra": extra, "data_md5": md5_of(data)}


def make_judge(values: Mapping[str, str]) -> tuple[HttpJudge | None, str]:
    """(the judge that the arguments name, its name in a summary); rules alone are None.

    Raises:
        DataError: unknown judge, an `openai` judge without address or model, or a price that is no number.
    """
    name = values["judge"]
    if name not in JUDGES:
        raise DataError(f"unknown judge {name!r}: {closest(name, JUDGES)}")
    if name == "rules":
        return None, name
    if not values["judge_url"] or not values["judge_model"]:
        raise DataError("judge=openai needs judge_url=http://host:port/v1 and judge_model=NAME")
    cache = Path(values["judge_cache"]) if values["judge_cache"] else None
    prices = [_price(key, values[key]) for key in ("judge_prompt_price", "judge_completion_price")]
    config = OpenAIJudge(
        values["judge_url"], values["judge_model"], values["judge_key_env"],
        name="openai", mode=values["mode"], prompt_price=prices[0], completion_price=prices[1],  # type: ignore[arg-type]
    )  # fmt: skip
    return HttpJudge(config, cache=cache), values["judge_model"]


def _price(key: str, text: str) -> float:
    try:
        return float(text) if text else 0.0
    except ValueError:
        raise DataError(f"{key}={text!r}; expected a number, the price of a million tokens") from None


def main(words: Sequence[str]) -> int:
    """The command: 0 and a JSON object on standard output, or 2 and one line on standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        values = parse_arguments(words, REQUIRED, DEFAULTS)
        judge, judge_name = make_judge(values)
        summary = score_files(
            values["benchmark"],
            Path(values["data"]),
            Path(values["predictions"]),
            Path(values["verdicts"]),
            values["mode"],
            judge,
            judge_name,
            allow_missing=parse_switch("allow_missing", values["allow_missing"]),
        )
        if judge is not None:
            summary["judge_usage"] = asdict(judge.usage())
    except DriftError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    sys.stdout.write(json.dumps(summary) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
