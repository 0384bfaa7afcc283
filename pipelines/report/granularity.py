"""Which item counts the paper's printed values can come from: a share of n items is a multiple of 1/n, rounded or cut.

A column whose every value fits a count that few values would fit by chance was measured on so many items.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas

from pipelines.report.numbers import published_rows
from pipelines.report.spec import AVERAGE, Table

# What a score may be a share of: the benchmarks' tables (VLMEvalKit's, their repositories'), and half-points of groups.
COUNTS: Mapping[str, Mapping[str, int]] = {
    "MathVista": {"testmini": 1000},
    "MathVision": {"MathVision_MINI": 304, "MathVision": 3040},
    "MathVerse": {"one version": 788, "five versions": 3940},
    "WeMath": {"half-points of 525 groups": 1050, "items": 1740},
    "LogicVista": {"VLMEvalKit's table": 447, "the repository": 448},
    "HallusionBench": {"questions with a picture": 951},
    "RealWorldQA": {"questions": 765},
    "MMStar": {"questions": 1500},
}
COLUMNS = ("table", "row", "column", "value", "of", "items", "rounded", "cut")


@dataclass(frozen=True)
class Fit:
    """The number of right items of `items` that prints as a value, rounded or cut; None where no number does."""

    rounded: int | None
    cut: int | None


def fit(text: str, items: int) -> Fit:
    """How a printed percentage comes from a count of items.

    A half may go either way: nobody says how it was rounded.
    """
    value, unit = float(text), _unit(text)
    near = [math.floor(value * items / 100) + step for step in (-1, 0, 1, 2)]
    shares = {right: 100 * right / items for right in near if 0 <= right <= items}
    small = 1e-9
    rounded = (right for right, share in shares.items() if abs(share - value) <= unit / 2 + small)
    cut = (right for right, share in shares.items() if -small <= share - value < unit - small)
    return Fit(next(rounded, None), next(cut, None))


def _unit(text: str) -> float:
    """The last printed place; `25.10` among `14.27` is `25.1` of another table."""
    decimals = text.partition(".")[2]
    return 10.0 ** -len(decimals[:1] if decimals[1:] == "0" else decimals)


def audit(table: Table, published: str) -> pandas.DataFrame:
    """A line for each published value and each count that it may be a share of."""
    lines = []
    for entry in published_rows(published):
        row = ", ".join(
            text for name, text in entry.items() if name.partition("_")[0] not in (*COUNTS, AVERAGE) and text
        )
        for column, text in entry.items():
            counts = COUNTS.get(column.partition("_")[0], {})
            for what, items in counts.items() if text else ():
                found = fit(text, items)
                lines.append((table.name, row, column, text, what, items, found.rounded, found.cut))
    return pandas.DataFrame(lines, columns=list(COLUMNS)).astype({"rounded": "Int64", "cut": "Int64"})


def summary(found: Sequence[pandas.DataFrame]) -> pandas.DataFrame:
    """Per table, column and count that not all values fit by chance: how many do."""
    lines = []
    for (table, column, what, items), cells in pandas.concat(found).groupby(
        ["table", "column", "of", "items"], sort=False
    ):
        texts = list(cells["value"])
        chance = math.prod(min(1.0, (items + 1) / (100 / _unit(text) + 1)) for text in texts)
        fits = [f"{cells[how].notna().sum()} of {len(cells)}" for how in ("rounded", "cut")]
        if chance < 0.05:
            lines.append((table, column, what, items, *fits, f"{chance:.1g}"))
    return pandas.DataFrame(lines, columns=["table", "column", "of", "items", "fit", "fit when cut", "all by chance"])
