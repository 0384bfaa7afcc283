"""A score artifact's content: by table column, a benchmark's score and how its responses looked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drift.files import write_whole
from evaluation.judging.summary import Score

SCORES = "scores.json"


@dataclass(frozen=True)
class Scored:
    """One column: the score, what the lab's diagnostics say (pipelines.lab.diagnostics), responses cut at the limit."""

    score: Score
    diagnostics: Mapping[str, float]
    cut: int


def write_scores(folder: Path, scores: Mapping[str, Scored]) -> None:
    """`scores.json`: a flat record a column."""
    records = {
        column: scored.score.as_record() | {"diagnostics": dict(scored.diagnostics), "cut": scored.cut}
        for column, scored in scores.items()
    }
    write_whole(folder / SCORES, json.dumps(records, indent=2))


def read_scores(folder: Path) -> dict[str, Scored]:
    """What `write_scores` wrote; empty for an artifact of another kind."""
    path = folder / SCORES
    records = json.loads(path.read_text()) if path.exists() else {}
    return {column: _scored(**record) for column, record in records.items()}


def _scored(diagnostics: Mapping[str, float], cut: int, **record: object) -> Scored:
    return Scored(Score.from_record(record), diagnostics, cut)
