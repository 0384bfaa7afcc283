"""Rows as a Markdown table, and as a CSV file."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate


def markdown(rows: Sequence[Mapping[str, Any]] | Any) -> str:
    """A Markdown table of a data frame, or of rows that share their keys, values as they are; None is an empty cell."""
    return tabulate(rows, headers="keys", tablefmt="pipe", showindex=False, disable_numparse=True, stralign="left")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], line_end: str = "\n") -> None:
    """Rows that share their keys as a CSV file, the keys as its header."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator=line_end)
        writer.writeheader()
        writer.writerows(rows)
