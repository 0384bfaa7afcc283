"""Rows as a Markdown table."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

if TYPE_CHECKING:
    import pandas


def markdown(rows: "Sequence[Mapping[str, Any]] | pandas.DataFrame") -> str:
    """A Markdown table of rows that share their keys, values as they are; None is an empty cell."""
    return tabulate(rows, headers="keys", tablefmt="pipe", showindex=False, disable_numparse=True, stralign="left")
