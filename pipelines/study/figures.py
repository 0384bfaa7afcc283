"""A study's figures: the claims as a forest, and each curve of arms against the dose or the budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.statistics import Interval
from pipelines.study.evidence import Evidence

_ALONG = {"dose": ("w_eff", "w_eff: how far the weights went along Delta"), "budget": ("steps", "training steps")}


def draw(evidence: Evidence, claims: Sequence[Mapping[str, Any]], folder: Path) -> list[str]:
    """Every figure that there are worlds for, as SVG and PNG; the PNGs' names."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    figures = {"claims": _forest(claims)}
    figures |= {name: _curves(evidence, name) for name in _ALONG}
    for name, figure in figures.items():
        if figure is not None:
            for kind in ("svg", "png"):
                figure.savefig(folder / f"{name}.{kind}", dpi=150, metadata={"Date": None} if kind == "svg" else None)
            pyplot.close(figure)
    return [f"{name}.png" for name, figure in figures.items() if figure is not None]


def _forest(claims: Sequence[Mapping[str, Any]]) -> Any:
    from matplotlib import pyplot

    known = [row for row in claims if row.get("low") is not None]
    if not known:
        return None
    figure, axes = pyplot.subplots(figsize=(7, 0.8 + 0.28 * len(known)))
    for place, row in enumerate(reversed(known)):
        axes.plot([row["low"], row["high"]], [place, place], color="0.3", linewidth=1.5)
        marker, face = ("o", "black") if row["verdict"] != "unresolved" else ("o", "white")
        axes.plot(row["effect"], place, marker=marker, color="black", markerfacecolor=face, markersize=5)
    axes.set_yticks(range(len(known)), [f"{row['name']}: {row['verdict']}" for row in reversed(known)], fontsize=7)
    axes.axvline(0, color="0.6", linewidth=0.8)
    axes.set_xlabel("effect, points (95%); filled: a verdict")
    figure.tight_layout()
    return figure


@dataclass(frozen=True)
class _Point:
    along: float
    reasoning: Interval
    perception: Interval | None


def _curves(evidence: Evidence, axis: str) -> Any:
    from matplotlib import pyplot

    curves = _points(evidence, axis)
    if not curves:
        return None
    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.6), sharex=True)
    styles = zip(("-", "--", "-.", ":") * 4, "osD^vPX*<>hd", strict=False)
    for (curve, points), (line, marker) in zip(curves.items(), styles, strict=False):
        style = {"label": curve, "linestyle": line, "marker": marker, "markersize": 4, "linewidth": 1.2}
        _line(panels[0], [(point.along, point.reasoning) for point in points], style)
        _line(panels[1], [(point.along, point.perception) for point in points if point.perception], style)
    for panel, title in zip(panels, ("reasoning, %", "perception, %"), strict=True):
        panel.set_xlabel(_ALONG[axis][1])
        panel.set_ylabel(title)
    panels[0].legend(fontsize=7)
    figure.tight_layout()
    return figure


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
