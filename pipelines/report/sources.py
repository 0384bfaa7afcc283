"""The report's inputs as they lie in the store, and what varies between those of one row.

Nobody declares what a row's seeds are: its artifacts say so. One that is named for every seed was made once and is one.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.scored import Scored, read_scores
from pipelines.store import MANIFEST

Varies = Literal["worlds", "runs", "questions"]
"""`worlds`: other models and items in each seed; `runs`: other models on the same items; `questions`: one model."""


@dataclass(frozen=True)
class Source:
    """An input artifact of the report: its manifest, and its scores where it has some."""

    path: Path
    manifest: Mapping[str, Any]
    scores: Mapping[str, Scored]

    @classmethod
    def open(cls, path: Path) -> "Source":
        return cls(path, json.loads((path / MANIFEST).read_text()), read_scores(path))

    @property
    def mark(self) -> str:
        """Its fingerprint."""
        return str(self.manifest["fingerprint"])

    @property
    def w_eff(self) -> float | None:
        """How far it went along Delta from where it began, 1 being as far as the expert; None where that is not known.

        A training measured it. A linear merge of the MLLM and its expert whose weights add up to 1 went as far as the
        expert weighs.
        """
        values = self.manifest["values"]
        if self.manifest["stage"] == "merge":
            mllm, expert = (values["hyperparameters"].get(f"weight_{of}") for of in ("mllm", "expert"))
            is_between = None not in (mllm, expert) and math.isclose(mllm + expert, 1.0)
            return float(expert) if is_between else None
        return values.get("w_eff")

    @property
    def is_world(self) -> bool:
        """Whether a lab world drew these items; of benchmark tables only."""
        return self.manifest["params"].get("world") is not None


@dataclass(frozen=True)
class Run:
    """What one seed of a row comes to: a score, and the tables it was scored on."""

    score: Source
    items: Source

    @property
    def mark(self) -> str:
        """The score's fingerprint, which no other score has."""
        return self.score.mark


def distinct(runs: Sequence[Run]) -> list[Run]:
    """Each run once, in the order of the seeds."""
    return list({run.mark: run for run in runs}.values())


def varies(runs: Sequence[Run]) -> Varies:
    """What an interval over these runs, each there once, has to cover."""
    if any(run.items.is_world for run in runs):
        return "worlds"
    return "runs" if len(runs) > 1 else "questions"
