"""The headline: every row of the main table minus the row that it is asked about, world by world.

The page shows it as a list with a strip a row, read aloud line by line and legible on a phone; `draw` makes a picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas
from matplotlib import pyplot

from evaluation.statistics import paired_over_seeds
from pipelines.report.findings import Finding, means_by_row
from pipelines.report.style import COLOURS, Figure, save


@dataclass(frozen=True)
class Line:
    """A row of the forest: an effect in points with its interval, and the effect in each world.

    Attributes:
        is_resolved: among all that is tested; None where nobody tested it, and its own interval says.
    """

    label: str
    effect: float
    low: float
    high: float
    worlds: Sequence[float]
    is_resolved: bool | None = None

    @classmethod
    def of(cls, found: Finding, label: str = "", sign: int = 1) -> "Line":
        """A finding as a line, called by its claim unless a label is given; turned round by a sign of -1."""
        low, high = sorted((sign * found.low, sign * found.high))
        worlds = tuple(sign * effect for effect in found.by_world)
        return cls(label or found.claim, sign * found.effect, low, high, worlds, found.is_resolved)

    @property
    def tone(self) -> str:
        """`gain` or `loss`; `open` where it is not resolved."""
        is_resolved = not self.low <= 0 <= self.high if self.is_resolved is None else self.is_resolved
        return "open" if not is_resolved else "gain" if self.effect > 0 else "loss"


@dataclass(frozen=True)
class Forest:
    """Lines on one axis."""

    title: str
    lines: Sequence[Line]

    @property
    def colours(self) -> str:
        """What a line's colour says."""
        tested = any(line.is_resolved is not None for line in self.lines)
        return "where it is resolved among all that is tested" if tested else "where its own interval leaves zero out"

    @property
    def bounds(self) -> tuple[float, float]:
        """The ends of the axis, in points: what every mean and world needs, and intervals as far as a third beyond."""
        points = [0.0, *(p for line in self.lines for p in (line.effect, *line.worlds))]
        spread = max(points) - min(points) or 1.0
        low = max(min(points) - spread / 3, min([*points, *(line.low for line in self.lines)]))
        high = min(max(points) + spread / 3, max([*points, *(line.high for line in self.lines)]))
        return low - spread / 50, high + spread / 50

    def at(self, points: float) -> float:
        """Where on the axis, in percent; what lies beyond its ends is at them."""
        low, high = self.bounds
        return round(min(100.0, max(0.0, 100 * (points - low) / (high - low))), 2)

    @property
    def ticks(self) -> list[int]:
        """Round numbers of points along the axis."""
        low, high = self.bounds
        step = next((s for s in (1, 2, 5, 10, 20, 50) if (high - low) / s <= 8), 100)
        return list(range(math.ceil(low / step) * step, math.floor(high / step) * step + 1, step))


def forest(folder: Path, findings: Sequence[Finding]) -> Forest | None:
    """Every row of the first finding's table minus that finding's second row; else the findings themselves."""
    if not findings:
        return None
    first = findings[0]
    rows = means_by_row(folder, first.table)
    if first.second not in rows:
        known = [Line.of(f) for f in findings if f.unit == first.unit]
        return Forest(f"The effects, in {first.unit}", known)
    reference = rows.pop(first.second)
    against = {(f.table, f.first) for f in findings if f.is_resolved and f.second == first.second}
    lines: dict[tuple[float, ...], Line] = {}  # rows that are one under two names are one line
    for label, means in rows.items():
        if len(means) == len(reference) > 1:
            interval = paired_over_seeds(reference, means)
            worlds = tuple(a - b for a, b in zip(means, reference, strict=True))
            is_resolved = (first.table, label) in against
            lines.setdefault(worlds, Line(label, interval.mean, interval.low, interval.high, worlds, is_resolved))
    ordered = sorted(lines.values(), key=lambda line: -line.effect)
    return Forest(f"Each method minus {first.second}: {first.metric}, in points", ordered) if ordered else None


_LOOKS = {"gain": (COLOURS[0], "^"), "loss": (COLOURS[1], "v"), "open": (COLOURS[7], "o")}


def draw(found: Forest, stem: Path) -> Figure:
    """The forest as a picture; triangles point to where a resolved effect lies, circles are not resolved."""
    rows = [(line.label, line.effect, line.low, line.high) for line in found.lines]
    data = pandas.DataFrame(rows, columns=["row", "points", "low", "high"])
    height_of = 0.24 if not any("\n" in line.label for line in found.lines) else 0.36
    figure, axes = pyplot.subplots(figsize=(7, 0.9 + height_of * len(rows)), layout="constrained")
    for height, line in enumerate(found.lines):
        colour, marker = _LOOKS[line.tone]
        axes.plot([line.low, line.high], [height, height], color=colour)
        axes.scatter(line.worlds, [height] * len(line.worlds), s=8, color=colour, alpha=0.5, linewidths=0)
        axes.plot(line.effect, height, marker=marker, color=colour, markersize=7)
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [line.label for line in found.lines])
    axes.set(xlabel=found.title, ylim=(len(rows) - 0.5, -0.5), xlim=found.bounds)
    return save(figure, data, stem, found.title)
