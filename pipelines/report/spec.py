"""What a table is, as data: rows of a label and overrides, and which artifacts each cell is read from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import ConfigDict, with_config

STRICT = with_config(ConfigDict(extra="forbid"))


@STRICT
@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        overrides: what to run; none for a row that the paper quotes from others and nobody here runs.
        paper: column -> value that picks the row of the published CSV; empty where the paper has none.
        role: `paper` rows answer the paper's, `control` rows are ours, `quoted` rows are printed and not measured.
    """

    label: str
    overrides: tuple[str, ...] = ()
    paper: Mapping[str, str] = field(default_factory=dict)
    role: Literal["paper", "control", "quoted"] = "paper"


@STRICT
@dataclass(frozen=True)
class Table:
    """A table of the paper: the CSV of the paper's numbers, the columns printed, the rows.

    Args:
        columns: of the published CSV and of our scores; `Avg` is the plain mean of the others.
        against: label of the row that differences are taken from; empty for no differences.
        curves: labels of trained rows whose loss curves and layers are drawn.
        kind: `scores`, or `hyperparameters` (Table 9: what each merge ran with, beside the paper's entry).
    """

    name: str
    title: str
    published: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    against: str = ""
    note: str = ""
    curves: tuple[str, ...] = ()
    kind: Literal["scores", "hyperparameters"] = "scores"


@dataclass(frozen=True)
class Cell:
    """The inputs of the report behind one row and seed; `choice` is empty where no alpha was chosen."""

    table: str
    row: str
    seed: int
    score: str
    checkpoint: str
    choice: str = ""
