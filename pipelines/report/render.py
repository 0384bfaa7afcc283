"""Numbers as Markdown, LaTeX and CSV. Formatting only: every figure was computed in pipelines.report.numbers."""

import math
from collections.abc import Iterator, Mapping, Sequence

import pandas

from evaluation.statistics import Interval
from pipelines.report.differences import Difference
from pipelines.report.numbers import Evidence, Number, Numbers
from pipelines.report.spec import Table

LONG_COLUMNS = (
    "table", "row", "benchmark", "value", "std", "n", "seeds", "ci_low", "ci_high", "paper_value", "fingerprint",
    "varies", "unmatched", "cut",
)  # fmt: skip
VALUE_COLUMNS = ("table", "row", "benchmark", "run", "value", "fingerprint")
DIFFERENCE_COLUMNS = (
    "table", "row", "against", "benchmark", "difference", "ci_low", "ci_high", "p", "varies", "pairs",
    "paper_difference", "scorer_bias", "bias_low", "bias_high",
)  # fmt: skip
BLANK = "–"


def long_frame(table: Table, numbers: Numbers) -> pandas.DataFrame:
    """One line a number, with its interval, counts and the fingerprints of the scores it is the mean of."""
    lines = []
    for label, number in _each(numbers):
        figures = (number.value, number.std, number.low, number.high)
        value, std, low, high = map(_rounded, figures)
        place, marks = (table.name, label, number.column), "+".join(mark[:20] for mark in number.fingerprints)
        counts = (number.varies, number.unmatched, number.cut)
        lines.append((*place, value, std, number.n, len(number.values), low, high, number.paper, marks, *counts))
    return pandas.DataFrame(lines, columns=list(LONG_COLUMNS))


def value_frame(table: Table, numbers: Numbers) -> pandas.DataFrame:
    """One line a world or run, unrounded: what every mean, interval and difference over them is computed from."""
    lines = [
        (table.name, label, number.column, run, value, mark[:20])
        for label, number in _each(numbers)
        for run, (value, mark) in enumerate(zip(number.values, number.fingerprints, strict=True))
    ]
    return pandas.DataFrame(lines, columns=list(VALUE_COLUMNS))


def gain_frame(table: Table, rows: Mapping[str, Sequence[Difference]]) -> pandas.DataFrame:
    """One line a difference, with what the page leaves out."""
    lines = []
    for label, d in ((label, d) for label, row in rows.items() for d in row):
        ends = [_rounded(end) if math.isfinite(end) else None for end in (d.interval.low, d.interval.high)]
        p_value = None if d.interval.p_value is None else float(f"{d.interval.p_value:.4g}")
        bias = [_rounded(b) for b in (d.bias.mean, d.bias.low, d.bias.high)] if d.bias else [None] * 3
        place = (table.name, label, d.against, d.column, _rounded(d.interval.mean))
        lines.append((*place, *ends, p_value, d.varies, d.pairs, _rounded(d.paper), *bias))
    return pandas.DataFrame(lines, columns=list(DIFFERENCE_COLUMNS))


def _each(numbers: Numbers) -> Iterator[tuple[str, Number]]:
    return ((label, number) for label, row in numbers.items() for number in row)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def wide_frame(evidence: Evidence, numbers: Numbers, digits: int = 1) -> pandas.DataFrame:
    """The table as printed: ours as mean ± sd, the paper's value in brackets; quoted rows have only that.

    Rows that are the same artifacts are one line with all their names.
    """
    table = evidence.table
    names: dict[str, list[str]] = {}
    for row in table.rows:
        label = f"{row.label} (control)" if row.role == "control" else row.label
        names.setdefault(evidence.twins.get(row.label, row.label), []).append(label)
    lines = []
    for row in (row for row in table.rows if row.label in names):
        entry = evidence.paper(row)
        quoted = {column: f"[{entry[column]}]" if entry.get(column) else BLANK for column in table.columns}
        ours = {number.column: cell_text(number, digits) for number in numbers.get(row.label, ())}
        lines.append([" = ".join(names[row.label]), *(quoted | ours).values()])
    return pandas.DataFrame(lines, columns=["row", *table.columns])


def settings_frame(evidence: Evidence) -> pandas.DataFrame:
    """What each merge ran with, read from its artifact, beside the paper's entry."""
    merges = evidence.by_row("checkpoint")
    lines = []
    for row in evidence.table.rows:
        ran = set()
        for manifest in (merge.manifest for merge in merges[row.label]):
            used = ", ".join(f"{key} = {value}" for key, value in manifest["values"]["hyperparameters"].items())
            ran.add(f"{manifest['params']['merge']['variant']}: {used}")
        lines.append([row.label, "; ".join(sorted(ran)), evidence.paper(row)["hyperparameters"]])
    return pandas.DataFrame(lines, columns=["method", "run here with", "the paper's"])


def cell_text(number: Number, digits: int = 1) -> str:
    """`34.2 ± 2.1 (at most 35.0) [67.9]`: ours, its spread, what unread answers could make of it, the paper's."""
    ours = f"{number.value:.{digits}f}" + ("" if number.std is None else f" ± {number.std:.{digits}f}")
    if number.at_most is not None and number.unmatched and number.varies != "worlds":
        ours += f" (at most {number.at_most:.{digits}f})"
    return ours if number.paper is None else f"{ours} [{number.paper:.{digits}f}]"


def difference_frame(rows: Mapping[str, Sequence[Difference]], table: Table) -> pandas.DataFrame:
    """Gains in points with their intervals; the paper's gain in brackets."""
    several = len(set(table.pairings.values())) > 1
    names = {label: f"{label} minus {table.pairings[label]}" if several else label for label in rows}
    lines = [[names[label], *(difference_text(d) for d in row)] for label, row in rows.items()]
    return pandas.DataFrame(lines, columns=["row", *table.columns])


def difference_text(difference: Difference) -> str:
    """`+3.1 (-0.2, +6.4)‡ [+1.2]`; a single world has no interval, and ‡ is what the scorer can't resolve."""
    text = signed(difference.interval)
    if difference.is_the_scorers:
        text += "‡"
    return text if difference.paper is None else f"{text} [{difference.paper:+.1f}]"


def bias_frame(rows: Mapping[str, Sequence[Difference]], table: Table) -> pandas.DataFrame:
    """By how much the rules' difference exceeds the judge's, with its interval."""
    lines = [[label, *(signed(d.bias) if d.bias else BLANK for d in row)] for label, row in rows.items()]
    return pandas.DataFrame(lines, columns=["row", *table.columns])


def signed(interval: Interval) -> str:
    """`+3.1 (-0.2, +6.4)`, without an interval where there is none."""
    text = f"{interval.mean:+.1f}"
    return f"{text} ({interval.low:+.1f}, {interval.high:+.1f})" if math.isfinite(interval.low) else text


def unresolved(rows: Mapping[str, Sequence[Difference]]) -> dict[str, list[str]]:
    """Row label -> the columns in which it can't be told apart from the row it is compared with."""
    return {label: [d.column for d in row if not d.is_resolved] for label, row in rows.items()}


def to_latex(frame: pandas.DataFrame, table: Table) -> str:
    """A booktabs table with the title as its caption."""
    escaped = frame.map(lambda text: str(text).replace("±", "$\\pm$").replace("–", "--").replace("_", "\\_"))
    escaped.columns = [str(name).replace("_", "\\_") for name in frame.columns]
    style = "l" + "r" * (len(frame.columns) - 1)
    return escaped.to_latex(index=False, caption=table.title, label=f"tab:{table.name}", column_format=style)
