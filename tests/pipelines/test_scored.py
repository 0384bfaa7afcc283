"""scores.json holds a flat record a column, and comes back as it was."""

import json
from pathlib import Path

from evaluation.judging.summary import Metric, Score
from pipelines.layout import SCORES
from pipelines.scored import Scored, read_scores, write_scores

SCORE = Score("LabMathVista", "1", "official", "accuracy", 4, 1, 0, 1, 0, 2, {"accuracy": Metric(25.0, 4.5, 69.9)})


def test_a_column_is_one_flat_record_that_comes_back(tmp_path: Path) -> None:
    scores = {"MathVista": Scored(SCORE, {"closed": 50.0}, 3), "WeMath": Scored(SCORE, {}, 0)}
    write_scores(tmp_path, scores)
    record = json.loads((tmp_path / SCORES).read_text())["MathVista"]
    assert record == {
        "benchmark": "LabMathVista", "version": "1", "mode": "official", "headline": "accuracy", "accuracy": 25.0,
        "n": 4, "correct": 1, "unmatched": 0, "unjudged": 1, "missing": 0, "truncated": 2, "ci_low": 4.5,
        "ci_high": 69.9, "score": 25.0, "score_ci_low": 4.5, "score_ci_high": 69.9, "diagnostics": {"closed": 50.0},
        "cut": 3, "protocol": "", "protocol_sha256": "", "judge": "", "conflicts": 0, "highest": None,
    }  # fmt: skip
    assert read_scores(tmp_path) == scores


def test_an_artifact_of_another_kind_has_no_scores(tmp_path: Path) -> None:
    assert read_scores(tmp_path) == {}
