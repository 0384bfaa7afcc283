"""What a report found, in sentences: `CONTRASTS`, by one rule.

World by world, the mean of the first row over a table's columns minus that of the second, or the mean training loss
of the first over the early steps minus that of the second; the effect is the mean over worlds, the interval that of any
difference of scores (`tables/*_contrasts.csv`), of losses Student's t over worlds, p Holm's over the contrasts. A
contrast is resolved where that p is below 5% and the interval leaves zero out: it holds where the effect is above, and
does not where it is below.
"""

import csv
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evaluation.statistics import Interval, holm, level_left, paired_over_seeds, samples_needed
from pipelines.layout import FIGURES, TABLES
from pipelines.report.effects import LEVEL
from pipelines.report.spec import AVERAGE

Rows = Mapping[str, Mapping[str, Mapping[str, float]]]  # row -> run -> column -> value
EARLY = 0.25  # of a training's steps, and its first logged one at least: where a loss spikes
RANKED = 12  # worlds; ranks of fewer can resolve nothing among some forty claims
MANY = 1_000  # worlds, of which nobody needs a number
_DIGITS = {"points": 1, "nats": 3}


@dataclass(frozen=True)
class Finding:
    """What a claim came to: the first row minus the second.

    Attributes:
        claim: what is claimed, in words.
        table: the table that it answers.
        low, high: infinite where one world is all there is.
        verdict: holds, does not hold, equivalent or unresolved.
        worlds_needed: how many worlds would resolve it among all that are tested, None where nobody has computed that.
        budget: under which the two are compared, where that was said.
        by_world: the effect in each world, where it was computed here.
        p_ranks: by Wilcoxon's signed-rank test over worlds, adjusted as p_holm, where that was computed.
        answers: the tables and figures of the paper that say something of it.
        unit: of the effect, points or nats.
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
    p_ranks: float | None = None
    budget: str = ""
    worlds_needed: int | None = None
    by_world: tuple[float, ...] = ()
    answers: str = ""
    unit: str = "points"

    @property
    def is_resolved(self) -> bool:
        """Whether the effect is told from none, among all that is tested with it."""
        return not self.low <= 0 <= self.high and (self.p_holm is None or self.p_holm < LEVEL)

    @property
    def by_ranks(self) -> str:
        """What a signed-rank test says otherwise than the verdict; empty where it says the same, or was not made."""
        if self.p_ranks is None or self.worlds < RANKED or (self.p_ranks < LEVEL) is self.is_resolved:
            return ""
        return f"a signed-rank test, which was not registered, would {'not ' * self.is_resolved}resolve it"

    @property
    def size(self) -> str:
        """`+9.4 points`."""
        return f"{self._number(self.effect)} {self.unit}"

    @property
    def interval(self) -> str:
        """`95% interval +4.5 to +14.3`."""
        if math.isinf(self.low):
            return "one world, so no interval"
        return f"95% interval {self._number(self.low)} to {self._number(self.high)}"

    @property
    def would_take(self) -> str:
        """`about 43`, of the worlds that a verdict would take; empty where there is one."""
        if not self.worlds_needed:
            return ""
        return f"about {self.worlds_needed}" if self.worlds_needed <= MANY else f"more than {MANY}"

    def _number(self, value: float) -> str:
        return f"{round(value, _DIGITS[self.unit]) + 0.0:+.{_DIGITS[self.unit]}f}"  # no -0.0

    @property
    def said(self) -> str:
        """What is compared, of what size."""
        budget = f", {self.budget}" if self.budget else ""
        items = f", {self.items} items" if self.items else ""
        sizes = "; ".join((f"{self.worlds} worlds{items}", *self.sizes))
        return f"{self.first} minus {self.second}{budget}: {self.metric}, {sizes}."

    @property
    def sizes(self) -> Iterator[str]:
        """What the interval does not tell: how the worlds lie around their mean, which one of them may have made
        alone, what the family of tests costs, and how many worlds a verdict would take."""
        if len(self.by_world) > 2:
            low, high, median = (self._number(of(self.by_world)) for of in (min, max, statistics.median))
            above = f"above zero in {sum(effect > 0 for effect in self.by_world)} of {len(self.by_world)}"
            yield f"single worlds from {low} to {high}, median {median}, {above}"
        if self.verdict == "unresolved" and self.p_holm is not None and not self.low <= 0 <= self.high:
            yield "its own interval leaves zero out, which among all that is tested is not enough (Holm)"
        if self.by_ranks:
            yield f"{self.by_ranks} (p = {self.p_ranks:.2g})"
        if self.would_take:
            yield f"{self.would_take} worlds would resolve an effect like this"


@dataclass(frozen=True)
class _Contrast:
    claim: str
    table: str
    first: str
    second: str
    answers: str = ""
    losses: str = ""  # the figure whose training losses are compared, else the table's scores are


_DRIFT, _SFT, _NONE = "DRIFT, alpha chosen", "SFT", "MLLM (no tuning)"
CONTRASTS = (
    _Contrast("DRIFT beats plain fine-tuning of as many steps", "table2", _DRIFT, _SFT),
    _Contrast("DRIFT beats plain fine-tuning of twice the steps", "table12", "DRIFT", "SFT, twice the steps"),
    _Contrast("It is the direction that helps", "table2", _DRIFT, "Random direction, DRIFT's alpha"),
    _Contrast("DRIFT beats merging first, as far", "table2", _DRIFT, "Merge first, then SFT, same w_eff"),
    _Contrast("DRIFT keeps plain perception", "table6", _DRIFT, _SFT),
    _Contrast("Plain merging helps", "table2", "Task Arithmetic", _NONE),
    _Contrast(
        "DRIFT beats plain fine-tuning on unfiltered data too",
        "table7",
        "Mixed, DRIFT, alpha chosen",
        "Mixed, SFT",
        "Table 7",
    ),
    _Contrast(
        "The loss of absolute scaling rises early above that of plain fine-tuning",
        "table4",
        "absolute, attn+mlp, alpha chosen",
        _SFT,
        "Figure 5",
        "table4_loss",
    ),
    _Contrast(
        "The loss of absolute scaling rises early above that of adaptive",
        "table4",
        "absolute, attn+mlp, alpha chosen",
        "adaptive, attn+mlp, alpha chosen",
        "Figure 5",
        "table4_loss",
    ),
    _Contrast(
        "Moving norms and the LM head too makes the early loss rise",
        "table4",
        "gradnorm, attn+mlp+norm+lm_head, alpha chosen",
        "gradnorm, attn+mlp, alpha chosen",
        "Figure 6",
        "table4_groups",
    ),
)


def contrasted(table: str) -> list[tuple[str, str]]:
    """The pairs of a table's rows whose scores are compared."""
    return [(each.first, each.second) for each in CONTRASTS if each.table == table and not each.losses]


def findings(folder: Path) -> list[Finding]:
    """What the results in a folder found."""
    found = [finding for contrast in CONTRASTS if (finding := _measured(contrast, folder))]
    adjusted = holm([1.0 if each.p is None else each.p for each in found])
    level = level_left(adjusted, LEVEL)
    return [_judged(each, None if each.p is None else p, level) for each, p in zip(found, adjusted, strict=True)]


def _judged(found: Finding, p_holm: float | None, level: float) -> Finding:
    """A contrast with its verdict as one of all contrasts; where nobody computed a p, its interval alone decides."""
    found = replace(found, p_holm=p_holm)
    if found.is_resolved:
        return replace(found, verdict="holds" if found.effect > 0 else "does not hold")
    deviation = statistics.stdev(found.by_world) if found.worlds > 1 else 0.0
    needed = samples_needed(deviation, found.effect, alpha=level)
    return replace(found, worlds_needed=max(found.worlds + 1, needed) if needed else None)


@dataclass(frozen=True)
class _Rows:
    """What rows are compared by: each one's value in each world."""

    by_row: Mapping[str, Sequence[float]]
    metric: str
    unit: str
    items: Mapping[str, int]
    is_by_world: bool


def _measured(contrast: _Contrast, folder: Path) -> Finding | None:
    """None where the report has not both rows, or nothing to put an interval on."""
    rows = _losses(folder, contrast.losses) if contrast.losses else _scores(folder, contrast.table)
    if contrast.first not in rows.by_row or contrast.second not in rows.by_row:
        return None
    first, second = rows.by_row[contrast.first], rows.by_row[contrast.second]
    stated = None if contrast.losses else _stated(folder, contrast)
    if stated is None and (not rows.is_by_world or len(first) != len(second)):
        return None
    interval = stated or paired_over_seeds(second, first)
    return Finding(
        claim=contrast.claim,
        table=contrast.table,
        first=contrast.first,
        second=contrast.second,
        metric=rows.metric,
        effect=interval.mean,
        low=interval.low,
        high=interval.high,
        p=interval.p_value,
        verdict="unresolved",
        worlds=len(first),
        items=rows.items.get(contrast.first, 0),
        by_world=tuple(a - b for a, b in zip(first, second, strict=True)),
        answers=contrast.answers,
        unit=rows.unit,
    )


def _scores(folder: Path, table: str) -> _Rows:
    """A table's rows by their mean over columns."""
    values, items, varies = _values(folder, table)
    columns = {column for runs in values.values() for each in runs.values() for column in each} - {AVERAGE}
    by_row = {label: _means(runs) for label, runs in values.items()}
    return _Rows(by_row, f"mean of {len(columns)} columns", "points", items, varies == "worlds")


def _losses(folder: Path, figure: str) -> _Rows:
    """A figure's rows by their mean training loss over the early steps."""
    curves: dict[str, dict[str, dict[int, float]]] = {}
    for line in _lines(folder / FIGURES / f"{figure}.csv"):
        curves.setdefault(line["row"], {}).setdefault(line["run"], {})[int(line["step"])] = float(line["loss"])
    by_row = {row: [_early(losses) for losses in runs.values()] for row, runs in curves.items()}
    return _Rows(by_row, f"training loss over the first {EARLY:.0%} of the steps", "nats", {}, True)


def _early(losses: Mapping[int, float]) -> float:
    last = max(EARLY * max(losses), min(losses))
    return statistics.fmean(loss for step, loss in losses.items() if step <= last)


def means_by_row(folder: Path, table: str) -> dict[str, Sequence[float]]:
    """Each row's mean over a table's columns, world by world; empty where rows are not made of worlds."""
    rows = _scores(folder, table)
    return dict(rows.by_row) if rows.is_by_world else {}


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
    """The report's own comparison of the two rows on average, where it could make one."""
    for line in _lines(folder / TABLES / f"{contrast.table}_contrasts.csv"):
        if (line["row"], line["against"]) == (contrast.first, contrast.second) and line["ci_low"]:
            mean, low, high = (float(line[key]) for key in ("difference", "ci_low", "ci_high"))
            return Interval(mean, low, high, int(line["pairs"]), float(line["p"]) if line["p"] else None)
    return None


def _lines(path: Path) -> Iterator[dict[str, str]]:
    if path.exists():
        with path.open(newline="", encoding="utf-8") as stream:
            yield from csv.DictReader(stream)


def sentences(found: Sequence[Finding]) -> list[str]:
    """A line of Markdown each, with its verdict."""
    return [f"{f.claim}: **{f.verdict}**. {f.size}, {f.interval}. {f.said}" for f in found]
