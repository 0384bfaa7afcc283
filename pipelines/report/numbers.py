"""From score artifacts to the numbers of a table: means over seeds with intervals, the paper's value, differences.

Every difference is computed from its two numbers. With several seeds (worlds) intervals and tests are over seeds, never
over pooled items; with one seed a score has its benchmark's own interval and a difference none.
"""

import csv
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from drift.errors import DataError
from evaluation.judging.summary import Metric
from evaluation.statistics import Interval, holm, paired_over_seeds, seeds_interval
from pipelines.report.spec import AVERAGE, Cell, Row, Table
from pipelines.scored import Scored, read_scores
from pipelines.store import MANIFEST


@dataclass(frozen=True)
class Source:
    """An input artifact of the report: its manifest, and its scores where it has some."""

    path: Path
    manifest: Mapping[str, Any]
    scores: Mapping[str, Scored]

    @classmethod
    def open(cls, path: Path) -> "Source":
        return cls(path, json.loads((path / MANIFEST).read_text()), read_scores(path))


@dataclass(frozen=True)
class Number:
    """One cell: a mean over seeds in percent, where it comes from, and the paper's value for it.

    Args:
        std: sample standard deviation over seeds, None for one seed.
        n: items, all seeds together.
        values: one per seed, in the order of the row's cells.
        unjudged: verdicts that the judge could not give; they are in no accuracy.
    """

    column: str
    value: float
    std: float | None
    n: int
    values: tuple[float, ...]
    low: float | None
    high: float | None
    paper: float | None
    fingerprints: tuple[str, ...]
    unjudged: int


Numbers = Mapping[str, Sequence[Number]]


@dataclass(frozen=True)
class Difference:
    """A row's gain over the row it is compared with, paired by seed; `p_holm` is over the columns of the row."""

    column: str
    interval: Interval
    p_holm: float | None
    paper: float | None


@dataclass(frozen=True)
class Evidence:
    """A table with the artifacts behind its cells (by the names in `Cell.artifacts`) and the paper's CSV."""

    table: Table
    cells: Sequence[Cell]
    sources: Mapping[str, Source]
    published: str = ""

    @cached_property
    def _entries(self) -> list[dict[str, str]]:
        return published_rows(self.published)

    def paper(self, row: Row) -> Mapping[str, str]:
        """The published row that a row stands beside."""
        return paper_entry(row, self._entries, self.table.name)

    def by_row(self, role: str) -> dict[str, list[Source]]:
        """Row label -> its artifacts of one role, in the order of its seeds, for the rows that were run."""
        found: dict[str, list[Source]] = {}
        for cell in self.cells:
            found.setdefault(cell.row, []).append(self.sources[cell.artifacts[role]])
        return found

    def scores(self) -> Numbers:
        """Row label -> its scores, for the rows that were run."""
        columns, runs = self.table.columns, self.by_row("score")
        rows = [row for row in self.table.rows if row.label in runs]
        return {row.label: [_score(c, columns, runs[row.label], self.paper(row)) for c in columns] for row in rows}

    def recorded(self, role: str, columns: Sequence[str], counted: str) -> Numbers:
        """Row label -> what its manifests record: values of the stage (`counted` is one), or of the run itself."""
        runs = self.by_row(role).items()
        return {label: [_measure(column, counted, found) for column in columns] for label, found in runs}


def published_rows(text: str) -> list[dict[str, str]]:
    """The rows of a published CSV; lines that start with # are its notes.

    A CSV with a line per benchmark (Table 1: base, merged) becomes a row per value column, named by `state`, with a
    column per benchmark.
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines))))
    if not rows or "benchmark" not in rows[0]:
        return rows
    values = list(rows[0])[list(rows[0]).index("benchmark") + 1 :]
    wide: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        names = {key: text for key, text in row.items() if key != "benchmark" and key not in values}
        for state in values:
            wide.setdefault((*names.values(), state), {**names, "state": state})[row["benchmark"]] = row[state]
    return list(wide.values())


def paper_entry(row: Row, published: Sequence[Mapping[str, str]], where: str) -> Mapping[str, str]:
    """The published row that a row stands beside, empty where it names none.

    Raises:
        DataError: the filter fits no row or several, so a number could be put beside the wrong one.
    """
    if not row.paper:
        return {}
    fits = [entry for entry in published if all(entry.get(key, "").startswith(str(v)) for key, v in row.paper.items())]
    exact = [entry for entry in fits if all(entry[key] == str(value) for key, value in row.paper.items())]
    chosen = exact or fits
    if len(chosen) != 1:
        raise DataError(f"{where}, row {row.label!r}: {dict(row.paper)} fits {len(chosen)} published rows, expected 1")
    return chosen[0]


def paper_number(entry: Mapping[str, str], column: str) -> float | None:
    """The paper's value in a column, None where the paper has none."""
    text = entry.get(column, "")
    return float(text) if text else None


def column_value(scores: Mapping[str, Scored], column: str, columns: Sequence[str]) -> float:
    """The score in one column of a table: a benchmark's headline, WeMath's two measures, or the mean of the rest."""
    if column == AVERAGE:
        return statistics.fmean(column_value(scores, other, columns) for other in columns if other != AVERAGE)
    return _metric(scores, column).value


def _metric(scores: Mapping[str, Scored], column: str) -> Metric:
    """The metric in a column: the benchmark's headline, or the one named after it (`WeMath_loose`)."""
    benchmark, _, measure = column.partition("_")
    score = scores[benchmark].score
    return score.metrics[measure or score.headline]


def _score(column: str, columns: Sequence[str], found: Sequence[Source], entry: Mapping[str, str]) -> Number:
    values = [column_value(source.scores, column, columns) for source in found]
    parts = [c for c in columns if c != AVERAGE] if column == AVERAGE else [column]
    benchmarks = sorted({part.partition("_")[0] for part in parts})
    scores = [source.scores[name].score for source in found for name in benchmarks]
    own = Metric(values[0]) if column == AVERAGE else _metric(found[0].scores, column)
    n, unjudged = sum(score.n for score in scores), sum(score.unjudged for score in scores)
    return _over_seeds(column, values, found, n, own, paper_number(entry, column), unjudged)


def _measure(column: str, counted: str, found: Sequence[Source]) -> Number:
    values = [float((source.manifest["values"] | source.manifest)[column]) for source in found]
    return _over_seeds(column, values, found, sum(int(source.manifest["values"][counted]) for source in found))


def _over_seeds(
    column: str,
    values: Sequence[float],
    found: Sequence[Source],
    n: int,
    own: Metric | None = None,
    paper: float | None = None,
    unjudged: int = 0,
) -> Number:
    """The mean of a value a seed with the interval over seeds; `own` has that of the only seed, where it has one."""
    is_mean = len(values) > 1
    interval = seeds_interval(values) if is_mean else own
    return Number(
        column=column,
        value=statistics.fmean(values),
        std=statistics.stdev(values) if is_mean else None,
        n=n,
        values=tuple(values),
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        paper=paper,
        fingerprints=tuple(source.manifest["fingerprint"] for source in found),
        unjudged=unjudged,
    )


def differences(numbers: Numbers, pairings: Mapping[str, str]) -> dict[str, list[Difference]]:
    """Row label -> its gains over the row it is paired with, per column; rows with other seeds are refused.

    Raises:
        DataError: a row is paired with one that was not run, or the two were not run over the same number of seeds.
    """
    rows = {}
    for label, against in pairings.items():
        if label not in numbers:
            continue
        if against not in numbers:
            raise DataError(f"{label!r} is compared with {against!r}, which was not run")
        row = numbers[label]
        intervals = []
        for mine, other in zip(row, numbers[against], strict=True):
            if len(mine.values) != len(other.values):
                raise DataError(f"{label!r} has {len(mine.values)} seeds, {against!r} has {len(other.values)}")
            intervals.append(paired_over_seeds(other.values, mine.values))
        tested = [interval.p_value for interval in intervals if interval.n > 1 and interval.p_value is not None]
        adjusted = holm(tested) if len(tested) == len(intervals) else [None] * len(intervals)
        rows[label] = [
            Difference(mine.column, interval, p, _gap(mine.paper, other.paper))
            for mine, other, interval, p in zip(row, numbers[against], intervals, adjusted, strict=True)
        ]
    return rows


def _gap(mine: float | None, other: float | None) -> float | None:
    return None if mine is None or other is None else mine - other


def is_resolved(interval: Interval) -> bool:
    """Whether the interval excludes zero."""
    return math.isfinite(interval.low) and (interval.low > 0 or interval.high < 0)
