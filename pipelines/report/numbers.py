"""From score artifacts to the numbers of a table: means with intervals and the paper's value.

What an interval covers follows from what varies between a row's artifacts (pipelines.report.sources): the worlds, never
their pooled items; runs and questions, where several models answered the same; the questions alone of one model. An
artifact that is named for every seed counts once.
"""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from drift.errors import DataError
from evaluation.judging.summary import Metric
from evaluation.statistics import bounded, crossed, seeds_interval, share_over_worlds
from pipelines.report.outcomes import outcomes, strata
from pipelines.report.sources import Run, Source, Varies, distinct, varies
from pipelines.report.spec import AVERAGE, Cell, Row, Table
from pipelines.scored import Scored


@dataclass(frozen=True)
class Number:
    """One cell: a mean in percent over what varies, where it comes from, and the paper's value for it.

    Args:
        std: sample standard deviation over the values, None for one.
        n: items, of all values together.
        values: one per artifact, in the order of the row's seeds.
        unjudged: verdicts that the judge could not give; they are in no accuracy.
        varies: what the interval of a score covers.
        unmatched: answers that no rule reads and no judge was asked about; they count as wrong.
        at_most: the value if all of these were right, None where that can't be said.
        cut: responses that were cut at the limit of new tokens.
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
    varies: Varies | None = None
    unmatched: int = 0
    at_most: float | None = None
    cut: int = 0


Numbers = Mapping[str, Sequence[Number]]


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

    def w_eff(self) -> dict[str, list[float | None]]:
        """Row label -> how far along Delta from the MLLM each checkpoint lies, in the order of its seeds, for the rows
        that were run; None where its own w_eff, or that of the merge that it starts from, is not known."""
        found: dict[str, list[float | None]] = {}
        for cell in self.cells:
            made = [cell.artifacts[role] for role in ("start", "checkpoint") if role in cell.artifacts]
            ways = [self.sources[name].w_eff for name in made]
            known = [way for way in ways if way is not None]
            found.setdefault(cell.row, []).append(sum(known) if len(known) == len(ways) else None)
        return found

    def runs(self, role: str = "score") -> dict[str, list[Run]]:
        """Row label -> its scores with the tables that were asked, in the order of its seeds; one twice is one."""
        found: dict[str, list[Run]] = {}
        for cell in self.cells:
            if role in cell.artifacts:
                tables = cell.artifacts["all_items" if role == "all" else "items"]
                found.setdefault(cell.row, []).append(Run(self.sources[cell.artifacts[role]], self.sources[tables]))
        return found

    def scores(self, role: str = "score") -> Numbers:
        """Row label -> its scores, for the rows that were run."""
        columns, found = self.table.columns, self.runs(role)
        rows = [row for row in self.table.rows if row.label in found]
        return {
            row.label: [_score(c, columns, distinct(found[row.label]), self.paper(row)) for c in columns]
            for row in rows
        }

    @cached_property
    def twins(self) -> dict[str, str]:
        """Row label -> the first row that has the same artifacts: one row under two names."""
        first: dict[tuple[str, ...], str] = {}
        marks = {label: tuple(run.mark for run in runs) for label, runs in self.runs().items()}
        return {label: other for label, each in marks.items() if (other := first.setdefault(each, label)) != label}

    def recorded(self, role: str, columns: Sequence[str], counted: str) -> Numbers:
        """Row label -> what its manifests record: values of the stage (`counted` is one), or of the run itself."""
        runs = self.by_row(role).items()
        return {label: [_record(column, counted, found) for column in columns] for label, found in runs}


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
    return scores[column.partition("_")[0]].score.metrics[_metric_name(scores, column)]


def _metric_name(scores: Mapping[str, Scored], column: str) -> str:
    """The metric in a column: the benchmark's headline, or the one named after it (`WeMath_loose`)."""
    benchmark, _, measure = column.partition("_")
    return measure or scores[benchmark].score.headline


def parts(column: str, columns: Sequence[str]) -> list[str]:
    """The columns that a column is the mean of: itself, or all others."""
    return [each for each in columns if each != AVERAGE] if column == AVERAGE else [column]


def _score(column: str, columns: Sequence[str], runs: Sequence[Run], entry: Mapping[str, str]) -> Number:
    found = [run.score for run in runs]
    values = [column_value(source.scores, column, columns) for source in found]
    measured = parts(column, columns)
    asked = [source.scores[name] for source in found for name in sorted({p.partition("_")[0] for p in measured})]
    scores = [scored.score for scored in asked]
    n, unmatched = sum(score.n for score in scores), sum(score.unmatched for score in scores)
    is_by_rules = all(source.manifest["params"]["judge"]["name"] == "rules" for source in found)
    is_bound = is_by_rules and column != AVERAGE and _metric_name(found[0].scores, column) == "accuracy"
    shown = _measured(column, values, found, n)
    low, high = _interval(values, runs, column, measured, n)
    return replace(
        shown,
        low=low,
        high=high,
        paper=paper_number(entry, column),
        unjudged=sum(score.unjudged for score in scores),
        varies=varies(runs),
        unmatched=unmatched,
        at_most=shown.value + 100 * unmatched / n if is_bound else None,
        cut=sum(scored.cut for scored in asked),
    )


def _interval(
    values: Sequence[float], runs: Sequence[Run], column: str, measured: Sequence[str], n: int
) -> tuple[float | None, float | None]:
    """The ends of a score's interval in percent; one world has its benchmark's own, over its items."""
    if varies(runs) != "worlds":
        found = [{part: outcomes(run, part) for part in measured} for run in runs]
        interval = bounded(crossed(strata(found)))
    elif len(values) > 1:
        interval = share_over_worlds([value / 100 for value in values], n)
    else:
        own = Metric(values[0]) if column == AVERAGE else _metric(runs[0].score.scores, column)
        return own.low, own.high
    return 100 * interval.low, 100 * interval.high


def _measured(column: str, values: Sequence[float], found: Sequence[Source], n: int) -> Number:
    """A mean without an interval."""
    return Number(
        column=column,
        value=statistics.fmean(values),
        std=statistics.stdev(values) if len(values) > 1 else None,
        n=n,
        values=tuple(values),
        low=None,
        high=None,
        paper=None,
        fingerprints=tuple(source.mark for source in found),
        unjudged=0,
    )


def _record(column: str, counted: str, found: Sequence[Source]) -> Number:
    """What manifests record, with Student's t interval over the artifacts: no share, and nothing that is paired."""
    once = list({source.mark: source for source in found}.values())
    values = [float((source.manifest["values"] | source.manifest)[column]) for source in once]
    shown = _measured(column, values, once, sum(int(source.manifest["values"][counted]) for source in once))
    if len(values) < 2:
        return shown
    interval = seeds_interval(values)
    return replace(shown, low=interval.low, high=interval.high)
