"""What a report found, in sentences: `CONTRASTS`, by one rule.

World by world, the mean of the first row over a table's columns minus that of the second; the effect is the
mean over worlds, the interval Student's t over worlds (or the table's own, where it compares the two rows), p Holm's
over the contrasts. A contrast holds where the whole interval is a gain, and does not where it is a loss.
"""

import csv
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evaluation.statistics import Interval, holm, paired_over_seeds
from pipelines.layout import TABLES
from pipelines.report.spec import AVERAGE

Rows = Mapping[str, Mapping[str, Mapping[str, float]]]  # row -> run -> column -> value


@dataclass(frozen=True)
class Finding:
    """What a claim came to: the first row minus the second.

    Attributes:
        claim: what is claimed, in words.
        table: the table that it answers.
        low, high: infinite where one world is all there is.
        verdict: holds, does not hold, equivalent or unresolved.
        worlds_needed: how many worlds would resolve it, None where nobody has computed that.
        budget: under which the two are compared, where that was said.
        by_world: the effect in each world, where it was computed here.
    """

    claim: str
    table: str
    first: str
    second: str
    metric: str
    effect: float
    low: float
    high: float
    verdict: str
    worlds: int
    items: int
    p: float | None = None
    p_holm: float | None = None
    budget: str = ""
    worlds_needed: int | None = None
    by_world: tuple[float, ...] = ()

    @property
    def interval(self) -> str:
        """`95% interval +4.5 to +14.3`."""
        if math.isinf(self.low):
            return "one world, so no interval"
        return f"95% interval {self.low:+.1f} to {self.high:+.1f}"

    @property
    def said(self) -> str:
        """What is compared, of what size."""
        budget = f", {self.budget}" if self.budget else ""
        alone = self.verdict == "unresolved" and not self.low <= 0 <= self.high
        family = "; resolved alone, not as one of all these tests" if alone and self.p_holm is not None else ""
        needed = f"; about {self.worlds_needed} worlds would resolve it" if self.worlds_needed else ""
        sizes = f"{self.worlds} worlds, {self.items} items{family}{needed}"
        return f"{self.first} minus {self.second}{budget}: {self.metric}, {sizes}."


@dataclass(frozen=True)
class _Contrast:
    claim: str
    table: str
    first: str
    second: str


_DRIFT, _SFT, _NONE = "DRIFT, alpha chosen", "SFT", "MLLM (no tuning)"
CONTRASTS = (
    _Contrast("DRIFT beats plain fine-tuning of as many steps", "table2", _DRIFT, _SFT),
    _Contrast("DRIFT beats plain fine-tuning of twice the steps", "table12", "DRIFT", "SFT, twice the steps"),
    _Contrast("It is the direction that helps", "table2", _DRIFT, "Random direction, alpha chosen"),
    _Contrast("DRIFT beats merging first, as far", "table2", _DRIFT, "Merge first, then SFT, same w_eff"),
    _Contrast("DRIFT keeps plain perception", "table6", _DRIFT, _SFT),
    _Contrast("Plain merging helps", "table2", "Task Arithmetic", _NONE),
)


def findings(folder: Path) -> list[Finding]:
    """What the results in a folder found."""
    found = [finding for contrast in CONTRASTS if (finding := _measured(contrast, folder))]
    adjusted = holm([1.0 if each.p is None else each.p for each in found])
    return [replace(each, p_holm=p if each.p is not None else None) for each, p in zip(found, adjusted, strict=True)]


def _measured(contrast: _Contrast, folder: Path) -> Finding | None:
    """None where the report has not both rows, or nothing to put an interval on."""
    rows, items, varies = _values(folder, contrast.table)
    if contrast.first not in rows or contrast.second not in rows:
        return None
    first, second = (_means(rows[label]) for label in (contrast.first, contrast.second))
    stated = _stated(folder, contrast)
    if stated is None and (varies != "worlds" or len(first) != len(second)):
        return None
    interval = stated or paired_over_seeds(second, first)
    count = len([c for c in next(iter(rows[contrast.first].values())) if c != AVERAGE])
    return Finding(
        claim=contrast.claim,
        table=contrast.table,
        first=contrast.first,
        second=contrast.second,
        metric=f"mean of {count} columns",
        effect=interval.mean,
        low=interval.low,
        high=interval.high,
        p=interval.p_value,
        verdict=_verdict(interval),
        worlds=len(first),
        items=items.get(contrast.first, 0),
        by_world=tuple(a - b for a, b in zip(first, second, strict=True)),
    )


def _verdict(interval: Interval) -> str:
    if interval.low <= 0 <= interval.high:
        return "unresolved"
    return "holds" if interval.mean > 0 else "does not hold"


def means_by_row(folder: Path, table: str) -> dict[str, list[float]]:
    """Each row's mean over a table's columns, world by world; empty where rows are not made of worlds."""
    rows, _, varies = _values(folder, table)
    return {label: _means(runs) for label, runs in rows.items()} if varies == "worlds" else {}


def _means(runs: Mapping[str, Mapping[str, float]]) -> list[float]:
    """A row's mean over columns in each run."""
    return [columns[AVERAGE] if AVERAGE in columns else statistics.fmean(columns.values()) for columns in runs.values()]


def _values(folder: Path, table: str) -> tuple[Rows, dict[str, int], str]:
    """A table's values by row, run and column; each row's items; what varies."""
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for line in _lines(folder / TABLES / f"{table}_values.csv"):
        rows.setdefault(line["row"], {}).setdefault(line["run"], {})[line["benchmark"]] = float(line["value"])
    counts: dict[str, dict[str, int]] = {}
    varies = ""
    for line in _lines(folder / TABLES / f"{table}_long.csv"):
        counts.setdefault(line["row"], {})[line["benchmark"].partition("_")[0]] = int(line["n"])
        varies = line["varies"]
    items = {row: by.get(AVERAGE) or sum(by.values()) for row, by in counts.items()}
    return rows, items, varies


def _stated(folder: Path, contrast: _Contrast) -> Interval | None:
    """The table's own comparison of the two rows on average, where it makes one."""
    for line in _lines(folder / TABLES / f"{contrast.table}_differences.csv"):
        place = (line["row"], line["against"], line["benchmark"])
        if place == (contrast.first, contrast.second, AVERAGE) and line["ci_low"]:
            mean, low, high = (float(line[key]) for key in ("difference", "ci_low", "ci_high"))
            return Interval(mean, low, high, int(line["pairs"]), float(line["p"]) if line["p"] else None)
    return None


def _lines(path: Path) -> Iterator[dict[str, str]]:
    if path.exists():
        with path.open(newline="", encoding="utf-8") as stream:
            yield from csv.DictReader(stream)


def sentences(found: Sequence[Finding]) -> list[str]:
    """A line of Markdown each, with its verdict."""
    return [f"{f.claim}: **{f.verdict}**. {f.effect:+.1f} points, {f.interval}. {f.said}" for f in found]
