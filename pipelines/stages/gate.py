"""The gate behind each untouched MLLM: its score beside the published ones, before anything is built on it.

A pipeline that reads the wrong files, prompts or answers shows it here, hours before the first training ends.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import StageError
from pipelines.scored import Scored, read_scores
from pipelines.stage import Runtime
from pipelines.stages import GateParams

_DEVIATIONS = 1.96  # of the binomial interval that drawing so many items has


def check_baseline(params: GateParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Values: by column our score, the closest published one, how far apart they may lie, and whether they do.

    Raises:
        StageError: a column lies outside, and the gate is to stop what is built on it.
    """
    scores = read_scores(inputs["scores"])
    checked = {column: _checked(column, scores, values, params.points) for column, values in params.published.items()}
    outside = [_told(column, **found) for column, found in checked.items() if not found["inside"]]
    if outside and params.mode == "stop":
        raise StageError(
            f"the untouched MLLM scores unlike what is published: {'; '.join(outside)}. Nothing is trained or merged "
            "on it until that is understood: look at its responses, its judge and its settings, or go on with "
            "gate.mode=warn"
        )
    return {"columns": checked, "inside": not outside}


def _checked(column: str, scores: Mapping[str, Scored], published: tuple[float, ...], points: float) -> dict[str, Any]:
    name, _, metric = column.partition("_")
    score = scores[name].score
    ours = score.metrics[metric].value if metric else score.value
    nearest = min(published, key=lambda value: abs(value - ours))
    share = nearest / 100
    allowed = max(points, 100 * _DEVIATIONS * (share * (1 - share) / score.n) ** 0.5)
    inside = abs(ours - nearest) <= allowed
    return {"ours": ours, "published": nearest, "allowed": allowed, "n": score.n, "inside": inside}


def _told(column: str, ours: float, published: float, allowed: float, n: int, inside: bool) -> str:
    return f"{column} {ours:.1f} on {n} items, published {published:.1f}, allowed +-{allowed:.1f}"
