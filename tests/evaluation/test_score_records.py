"""A score is typed inside and one flat JSON object outside: the same keys and values whoever reads them."""

import json

import pytest

from drift.errors import DataError
from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import Item
from evaluation.judging.scoring import score, summarise
from evaluation.judging.summary import Metric, Score


def wemath() -> Score:
    """Two groups of two steps: the first mastered, the second with its joint item wrong."""
    items = [
        Item(f"{group}{key}", "q", "A", {"A": "x1", "B": "y1"}, group=group, fields={"key": f"2steps_{key}"})
        for group in ("g", "h")
        for key in ("1", "2", "multi")
    ]
    answers = {item.index: "B" if item.index == "hmulti" else "A" for item in items}
    benchmark = get_benchmark("WeMath")
    return summarise(benchmark, items, score(benchmark, items, answers))


def test_the_flat_record_has_the_headline_as_score_and_bounds_by_metric() -> None:
    assert wemath().as_record() == {
        "benchmark": "WeMath", "version": "2", "mode": "official", "headline": "strict",
        "accuracy": pytest.approx(500 / 6), "ci_low": pytest.approx(43.6498, abs=1e-3),
        "ci_high": pytest.approx(96.9946, abs=1e-3),
        "n": 6, "correct": 5, "unmatched": 0, "unjudged": 0, "missing": 0, "truncated": 0,
        "strict": 75.0, "strict_ci_low": 50.0, "strict_ci_high": 100.0,
        "loose": 75.0, "loose_ci_low": 50.0, "loose_ci_high": 100.0,
        "S1": 100.0, "S2": 50.0, "IK": 0.0, "IG": 50.0, "CM_strict": 50.0, "CM_loose": 50.0, "RM_strict": 0.0,
        "RM_loose": 0.0, "groups": 2, "incomplete_groups": 0,
        "protocol": "we-math@2024-07", "protocol_sha256": get_benchmark("WeMath").pinned("official").sha256,
        "judge": "", "conflicts": 0, "highest": 75.0, "score": 75.0, "score_ci_low": 50.0, "score_ci_high": 100.0,
    }  # fmt: skip


def test_a_record_comes_back_as_the_same_score_even_through_json() -> None:
    plain = Score("B", "2", "semantic", "accuracy", 4, 1, 0, 1, 0, 2, {"accuracy": Metric(25.0, 4.5, 69.9)})
    for written in (wemath(), plain):
        assert Score.from_record(json.loads(json.dumps(written.as_record()))) == written
    assert plain.as_record()["score_ci_high"] == 69.9


def test_a_record_without_its_counts_is_refused() -> None:
    record = wemath().as_record()
    del record["unjudged"]
    with pytest.raises(DataError, match=r"\['unjudged'\] are missing"):
        Score.from_record(record)
