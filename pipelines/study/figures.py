"""A study's figures: the claims as a forest, and each curve of arms against the dose or the budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
from matplotlib import pyplot

from evaluation.statistics import Interval
from pipelines.report.forest import Forest, Line
from pipelines.report.forest import draw as draw_forest
from pipelines.report.style import Figure, look, save, styled
from pipelines.study.evidence import Evidence

_ALONG = {"dose": ("w_eff", "w_eff: how far the weights went along Delta"), "budget": ("steps", "training steps")}


def draw(evidence: Evidence, claims: Sequence[Mapping[str, Any]], folder: Path) -> list[str]:
    """Every figure that there are worlds for, in the project's style; the PNGs' names."""
    folder.mkdir(parents=True, exist_ok=True)
    known = [row for row in claims if row.get("low") is not None]
    with styled():
        drawn = [_curves(evidence, axis, folder / axis) for axis in _ALONG]
        if known:
            lines = [
                Line(f"{row['name']}: {row['verdict']}", row["effect"], row["low"], row["high"], tuple(row["effects"]))
                for row in known
            ]
            drawn.insert(
                0,
                draw_forest(
                    Forest("Effects of the claims, in points; intervals are cut at the edge", lines), folder / "claims"
                ),
            )
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
    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.6), sharex=True, layout="constrained")
    for place, (curve, points) in enumerate(curves.items()):
        _line(panels[0], [(point.along, point.reasoning) for point in points], {"label": curve, **look(place)})
        _line(panels[1], [(p.along, p.perception) for p in points if p.perception], {"label": curve, **look(place)})
    for panel, title in zip(panels, ("reasoning, %", "perception, %"), strict=True):
        panel.set(xlabel=_ALONG[axis][1], ylabel=title)
    panels[0].legend()
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
