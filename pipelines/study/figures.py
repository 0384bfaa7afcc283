"""A study's figures: the claims as a forest, and each curve of arms against the dose or the budget."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
from matplotlib import pyplot

from evaluation.statistics import Interval
from pipelines.report.findings import Finding
from pipelines.report.forest import Forest, Line
from pipelines.report.forest import draw as draw_forest
from pipelines.report.style import Figure, look, save, styled
from pipelines.study.evidence import Evidence

_WIDE = 64  # letters of a claim in a line
_CLAIMS = "Effect in points, coloured where it is resolved; intervals are cut at the edge"
_ALONG = {"dose": ("w_eff", "w_eff: how far the weights went along Delta"), "budget": ("steps", "training steps")}


def draw(evidence: Evidence, claims: Sequence[Finding], folder: Path) -> list[str]:
    """Every figure that there are worlds for, in the project's style; the PNGs' names."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [Line.of(each, textwrap.fill(f"{each.claim}: {each.verdict}", _WIDE)) for each in claims if each.worlds > 1]
    with styled():
        drawn = [_curves(evidence, axis, folder / axis) for axis in _ALONG]
        if lines:
            drawn.insert(0, draw_forest(Forest(_CLAIMS, lines), folder / "claims"))
    return [f"{Path(figure.file).name}.png" for figure in drawn if figure]


@dataclass(frozen=True)
class _Point:
    along: float
    reasoning: Interval
    perception: Interval | None


def _curves(evidence: Evidence, axis: str, stem: Path) -> Figure | None:
    curves = _points(evidence, axis)
    if not curves:
        return None
    asked = {point.along for points in curves.values() for point in points if point.perception}
    metrics = ("reasoning", "perception")[: 1 + (len(asked) > 1)]
    size = (4.5 * len(metrics), 3.6)
    figure, panels = pyplot.subplots(1, len(metrics), figsize=size, sharex=True, layout="constrained", squeeze=False)
    for panel, metric in zip(panels[0], metrics, strict=True):
        for place, (curve, points) in enumerate(curves.items()):
            known = [(point.along, score) for point in points if (score := getattr(point, metric))]
            _line(panel, known, {"label": curve, **look(place)})
        panel.set(xlabel=_ALONG[axis][1], ylabel=f"{metric}, %")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    rows = [
        (curve, point.along, metric, 100 * score.mean, 100 * score.low, 100 * score.high)
        for curve, points in curves.items()
        for point in points
        for metric, score in (("reasoning", point.reasoning), ("perception", point.perception))
        if score
    ]
    data = pandas.DataFrame(rows, columns=["curve", _ALONG[axis][0], "metric", "score", "low", "high"])
    return save(figure, data, stem, f"Score against {axis}")


def _points(evidence: Evidence, axis: str) -> dict[str, list[_Point]]:
    """Curve -> its arms along the axis, for arms that were trained."""
    pair, found = evidence.study.first, dict[str, list[_Point]]()
    for name, arm in evidence.study.arms_of(pair).items():
        along, score = evidence.recorded(pair, name, _ALONG[axis][0]), evidence.score(pair, name, "average")
        for each in arm.curves:
            kind, _, curve = each.partition(": ")
            if kind == axis and along is not None and score is not None:
                found.setdefault(curve, []).append(_Point(along, score, evidence.score(pair, name, "perception")))
    return {curve: sorted(points, key=lambda point: point.along) for curve, points in found.items()}


def _line(panel: Any, points: Sequence[tuple[float, Interval]], style: Mapping[str, Any]) -> None:
    if points:
        scores = [score for _, score in points]
        ends = [[100 * (s.mean - s.low) for s in scores], [100 * (s.high - s.mean) for s in scores]]
        panel.errorbar([x for x, _ in points], [100 * s.mean for s in scores], ends, elinewidth=0.6, **style)
