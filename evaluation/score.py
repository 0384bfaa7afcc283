"""Scores a file of responses: `python -m evaluation.score benchmark=MathVision data=F.tsv predictions=F.jsonl ...`.

Arguments: benchmark, data (a TSV, images not needed), predictions (JSON lines of index and response), verdicts (where
to write one verdict a line), mode=official|semantic, judge=rules|<judge>, allow_missing=false|true. Prints one JSON
object. An item without a response is an error; with allow_missing=true it is wrong and counted as `missing`. A judge
other than `rules` is given as key=value words: judge=openai judge_url=... judge_model=...
"""

import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from drift.errors import DataError, DriftError, closest
from evaluation.arguments import parse_arguments, parse_switch
from evaluation.benchmarks import get_benchmark
from evaluation.judge import Judge
from evaluation.predictions import check_coverage, read_predictions, write_records
from evaluation.scoring import score, summarise
from evaluation.tsv import load_items

log = logging.getLogger(__name__)

REQUIRED = ("benchmark", "data", "predictions", "verdicts")
DEFAULTS = {"mode": "official", "judge": "rules", "allow_missing": "false"}


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
    """Scores `predictions` against `data`, writes `verdicts`, and returns the summary.

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
    write_records(verdicts, (result.as_record() for result in results))
    return {**summary, "judge": judge_name, "extra": extra, "data_md5": file_md5(data)}


def file_md5(path: Path) -> str:
    """The file's md5, as benchmark tables are published with."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def main(words: Sequence[str]) -> int:
    """The command: 0 and a JSON object on standard output, or 2 and one line on standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        values = parse_arguments(words, REQUIRED, DEFAULTS)
        if values["judge"] != "rules":
            raise DataError(f"unknown judge {values['judge']!r}: {closest(values['judge'], ['rules'])}")
        summary = score_files(
            values["benchmark"],
            Path(values["data"]),
            Path(values["predictions"]),
            Path(values["verdicts"]),
            values["mode"],
            allow_missing=parse_switch("allow_missing", values["allow_missing"]),
        )
    except DriftError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    sys.stdout.write(json.dumps(summary) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
