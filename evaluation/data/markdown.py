"""Rows as a Markdown table."""

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate


def markdown(rows: Sequence[Mapping[str, Any]] | Any) -> str:
    """A Markdown table of a data frame, or of rows that share their keys, values as they are; None is an empty cell."""
    return tabulate(rows, headers="keys", tablefmt="pipe", showindex=False, disable_numparse=True, stralign="left")
