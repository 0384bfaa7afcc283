"""A score artifact's content: by table column, a benchmark's score and how its responses looked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drift.files import write_whole
from evaluation.judging.summary import Score
from pipelines.layout import SCORES


@dataclass(frozen=True)
class Scored:
    """One column: the score, what the lab's diagnostics say (pipelines.lab.diagnostics), responses cut at the limit."""

    score: Score
    diagnostics: Mapping[str, float]
    cut: int


def write_scores(folder: Path, scores: Mapping[str, Scored]) -> None:
    """`scores.json`: a flat record a column."""
    records = {c: s.score.as_record() | {"diagnostics": s.diagnostics, "cut": s.cut} for c, s in scores.items()}
    write_whole(folder / SCORES, json.dumps(records, indent=2))


def read_scores(folder: Path) -> dict[str, Scored]:
    """What `write_scores` wrote; empty for an artifact of another kind."""

    def scored(diagnostics: Mapping[str, float], cut: int, **record: Any) -> Scored:
        return Scored(Score.from_record(record), diagnostics, cut)

    records = json.loads((folder / SCORES).read_text()) if (folder / SCORES).exists() else {}
    return {column: scored(**record) for column, record in records.items()}
