"""A difference is no surer than its scorer: two scorers' verdicts on the same responses bound what may be claimed."""

import gzip
import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from drift.errors import DataError
from drift.files import write_jsonl
from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import Item, parse_choices
from evaluation.judging.comparison import compare_files
from evaluation.judging.scoring import score
from evaluation.judging.verdicts import Verdict

JUDGED = Path(os.environ.get("DRIFT_BENCHMARKS", Path(__file__).parents[2] / ".." / "shared" / "benchmarks")) / "judged"
MODELS = ("llava_next", "llava_next_dart_0.9")


def verdicts(path: Path, right: list[bool | None]) -> Path:
    write_jsonl(path, (asdict(Verdict(str(k), r, "A", "rule")) for k, r in enumerate(right)))
    return path


def test_a_gain_of_the_rules_alone_is_within_their_bias(tmp_path: Path) -> None:
    base = [k < 80 for k in range(200)]
    files = [verdicts(tmp_path / "a", base), verdicts(tmp_path / "b", [k < 86 for k in range(200)])]
    judge = [verdicts(tmp_path / "c", base), verdicts(tmp_path / "d", base)]
    (pair,) = compare_files(files, rescored=judge).pairs
    assert (pair.difference, pair.scorer_bias) == (pytest.approx(3.0), pytest.approx(3.0))
    assert pair.scorer_bias_ci_low > 0
    assert pair.is_within_scorer_bias
    (alike,) = compare_files(files, rescored=files).pairs
    assert alike.scorer_bias == 0.0
    assert not alike.is_within_scorer_bias
    assert compare_files(files).pairs[0].is_within_scorer_bias is None


def test_an_item_that_one_scorer_left_open_counts_in_no_bias(tmp_path: Path) -> None:
    sheets = [verdicts(tmp_path / name, [True, False, True]) for name in "abc"]
    open_one = verdicts(tmp_path / "d", [None, None, True])
    with pytest.raises(DataError, match="1 items are judged by both scorers in both files; expected two"):
        compare_files(sheets[:2], rescored=[sheets[2], open_one])
    with pytest.raises(DataError, match=r"1 rescored file\(s\) of 2; expected one a file"):
        compare_files(sheets[:2], rescored=[open_one])


@pytest.mark.skipif(not JUDGED.is_dir(), reason=f"no judged answers at {JUDGED}; set DRIFT_BENCHMARKS")
def test_a_sign_that_the_rules_turn_around_is_marked_on_published_answers(tmp_path: Path) -> None:
    """LLaVA-NeXT and its merge with DART on MathVista: its judge sees +1.1."""
    benchmark, files, judge = get_benchmark("MathVista_MINI"), [], []
    for model in MODELS:
        with gzip.open(JUDGED / model / "MathVista_MINI.jsonl.gz", "rt", encoding="utf-8") as stream:
            rows = [json.loads(line) for line in stream]
        items = [
            Item(
                str(row["index"]),
                row["question"],
                row["answer"],
                dict(zip("ABCDEFGH", parse_choices(row["choices"]), strict=False)),
                fields=row,
            )
            for row in rows
        ]
        ours = score(benchmark, items, {str(row["index"]): row["prediction"] for row in rows}, "semantic")
        files.append(verdicts(tmp_path / f"{model}.rules", [each.correct for each in ours]))
        judge.append(verdicts(tmp_path / f"{model}.judge", [str(row["score"]) == "True" for row in rows]))
    by_rules, by_judge = compare_files(files, rescored=judge).pairs[0], compare_files(judge).pairs[0]
    assert by_judge.difference == pytest.approx(1.1)
    assert by_rules.scorer_bias == pytest.approx(by_rules.difference - by_judge.difference)
    if by_rules.difference * by_judge.difference <= 0:
        assert by_rules.is_within_scorer_bias
