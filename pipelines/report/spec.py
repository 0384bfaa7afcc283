"""What a table is, as data: rows of a label and overrides, and which artifacts each cell is read from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import ConfigDict, with_config

from drift.errors import closest

STRICT = with_config(ConfigDict(extra="forbid"))
TIMES = ("seconds", "cpu_seconds")  # never equal in two runs
AVERAGE = "Avg"  # the column that is the plain mean of the others
COSTS = ("steps", "tokens", *TIMES)


@STRICT
@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        overrides: what to run; none for a row that the paper quotes from others and nobody here runs.
        paper: column -> value that picks the row of the published CSV; empty where the paper has none.
        role: `paper` rows answer the paper's, `control` rows are ours, `quoted` rows are printed and not measured.
        against: label of the row that this one's differences are taken from; empty for the table's own.
        series: rows of one series are joined by a line in a figure against distance or cost.
    """

    label: str
    overrides: tuple[str, ...] = ()
    paper: Mapping[str, str] = field(default_factory=dict)
    role: Literal["paper", "control", "quoted"] = "paper"
    against: str = ""
    series: str = ""


@STRICT
@dataclass(frozen=True)
class Table:
    """A table of the paper: the CSV of the paper's numbers, the columns printed, the rows.

    Args:
        published: empty where the paper has no numbers.
        columns: of the published CSV and of our scores; `Avg` is the plain mean of the others. In a table of costs
            `COSTS` are ours and the rest is quoted.
        against: label of the row that differences are taken from; empty for none but the rows' own.
        curves: labels of trained rows whose loss curves and layers are drawn.
        groups: labels of trained rows whose loss curves are drawn with the early spike enlarged.
        kind: a key of `pipelines.report.kinds.KINDS`.
        profiles: where the table is made; empty for everywhere.
        in_profile: profile -> overrides that every row gets there.
        answers: whether to print how the rows answered, from the scores' diagnostics.
        asked_only: made by its name alone (`drift table NAME`), never by `drift reproduce`.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    published: str = ""
    against: str = ""
    note: str = ""
    curves: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    kind: str = "scores"
    profiles: tuple[str, ...] = ()
    in_profile: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    answers: bool = False
    asked_only: bool = False

    def __post_init__(self) -> None:
        """Refuses labels that name two rows, or none.

        Raises:
            ValueError: says which.
        """
        labels = [row.label for row in self.rows]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"two rows are called {', '.join(map(repr, twice))}: rename one, else they are pooled")
        for label in (*self.pairings.values(), *self.curves, *self.groups):
            if label not in labels:
                raise ValueError(f"no row is called {label!r}: {closest(label, labels)}")

    @property
    def pairings(self) -> dict[str, str]:
        """Row label -> label of the row that its differences are taken from, for the rows that have one."""
        pairs = {row.label: row.against or self.against for row in self.rows}
        return {label: other for label, other in pairs.items() if other and other != label}


@dataclass(frozen=True)
class Cell:
    """The report's inputs behind one row and seed, by role (pipelines.report.kinds), where there is one."""

    table: str
    row: str
    seed: int
    artifacts: Mapping[str, str]
