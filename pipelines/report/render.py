"""Numbers as Markdown, LaTeX and CSV. Formatting only: every figure was computed in pipelines.report.numbers."""

from collections.abc import Mapping, Sequence

import pandas

from pipelines.report.numbers import Difference, Evidence, Number, Numbers, is_resolved
from pipelines.report.spec import Table

LONG_COLUMNS = (
    "table", "row", "benchmark", "value", "std", "n", "seeds", "ci_low", "ci_high", "paper_value", "fingerprint",
)  # fmt: skip
BLANK = "–"


def long_frame(table: Table, numbers: Numbers) -> pandas.DataFrame:
    """One line a number, with its interval, counts and the fingerprints of the scores it is the mean of."""
    lines = []
    for label, number in ((label, number) for label, row in numbers.items() for number in row):
        figures = (number.value, number.std, number.low, number.high)
        value, std, low, high = (None if figure is None else round(figure, 4) for figure in figures)
        place, marks = (table.name, label, number.column), "+".join(mark[:20] for mark in number.fingerprints)
        lines.append((*place, value, std, number.n, len(number.values), low, high, number.paper, marks))
    return pandas.DataFrame(lines, columns=list(LONG_COLUMNS))


def wide_frame(evidence: Evidence, numbers: Numbers, digits: int = 1) -> pandas.DataFrame:
    """The table as printed: ours as mean ± sd over seeds, the paper's value in brackets; quoted rows have only that."""
    table = evidence.table
    lines = []
    for row in table.rows:
        entry = evidence.paper(row)
        quoted = {column: f"[{entry[column]}]" if entry.get(column) else BLANK for column in table.columns}
        ours = {number.column: cell_text(number, digits) for number in numbers.get(row.label, ())}
        cells = (quoted | ours).values()
        lines.append([f"{row.label} (control)" if row.role == "control" else row.label, *cells])
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
    """`34.2 ± 2.1 [67.9]`: ours, its spread over seeds, the paper's."""
    ours = f"{number.value:.{digits}f}" + ("" if number.std is None else f" ± {number.std:.{digits}f}")
    return ours if number.paper is None else f"{ours} [{number.paper:.{digits}f}]"


def difference_frame(rows: Mapping[str, Sequence[Difference]], table: Table) -> pandas.DataFrame:
    """Gains in points with their intervals; * where the Holm-adjusted p is below 0.05; the paper's gain in brackets."""
    several = len(set(table.pairings.values())) > 1
    names = {label: f"{label} minus {table.pairings[label]}" if several else label for label in rows}
    lines = [[names[label], *(difference_text(d) for d in row)] for label, row in rows.items()]
    return pandas.DataFrame(lines, columns=["row", *table.columns])


def difference_text(difference: Difference) -> str:
    """`+3.1 (-0.2, +6.4)* [+1.2]`; a single seed has no interval."""
    interval = difference.interval
    text = f"{interval.mean:+.1f}"
    if interval.n > 1:
        text += f" ({interval.low:+.1f}, {interval.high:+.1f})"
    if difference.p_holm is not None and difference.p_holm < 0.05:
        text += "*"
    return text if difference.paper is None else f"{text} [{difference.paper:+.1f}]"


def unresolved(rows: Mapping[str, Sequence[Difference]]) -> dict[str, list[str]]:
    """Row label -> the columns in which it can't be told apart from the row it is compared with."""
    return {label: [d.column for d in row if not is_resolved(d.interval)] for label, row in rows.items()}


def to_latex(frame: pandas.DataFrame, table: Table) -> str:
    """A booktabs table with the title as its caption."""
    escaped = frame.map(lambda text: str(text).replace("±", "$\\pm$").replace("–", "--").replace("_", "\\_"))
    escaped.columns = [str(name).replace("_", "\\_") for name in frame.columns]
    style = "l" + "r" * (len(frame.columns) - 1)
    return escaped.to_latex(index=False, caption=table.title, label=f"tab:{table.name}", column_format=style)
