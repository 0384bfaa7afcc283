"""A report's CSVs as the page has them: by row, column and protocol, each number with all that stands beside it."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.layout import PROTOCOLS, TABLES

_SCORE = {
    "value": "value",
    "std": "std",
    "low": "ci_low",
    "high": "ci_high",
    "n": "n",
    "unread": "unmatched",
    "cut": "cut",
}
_GAIN = {"value": "difference", "low": "ci_low", "high": "ci_high", "paper": "paper_difference",
         "bias": "scorer_bias", "bias_low": "bias_low", "bias_high": "bias_high"}  # fmt: skip
Numbers = dict[str, dict[str, dict[str, Any]]]  # row -> column -> protocol -> number


def numbers(folder: Path, table: Mapping[str, Any], configured: str) -> Numbers:
    """A table's numbers under the configured protocol, and under those others that change one of them."""
    found: Numbers = {}
    places = {configured: folder / TABLES}
    places |= {name: folder / PROTOCOLS / name for name in table["protocols"]}
    for protocol, place in places.items():
        for line in _lines(place / f"{table['name']}_long.csv"):
            cell = found.setdefault(line["row"], {}).setdefault(line["benchmark"], {})
            cell[protocol] = _read(line, _SCORE) | {"runs": [], "gain": None, "varies": line["varies"]}
        for line in _lines(place / f"{table['name']}_values.csv"):
            found[line["row"]][line["benchmark"]][protocol]["runs"].append(float(line["value"]))
        for line in _lines(place / f"{table['name']}_differences.csv"):
            gain = _read(line, _GAIN) | {"against": line["against"], "pairs": int(line["pairs"])}
            found[line["row"]][line["benchmark"]][protocol]["gain"] = gain
    return found


def _read(line: Mapping[str, str], columns: Mapping[str, str]) -> dict[str, float | None]:
    return {name: float(line[column]) if line.get(column) else None for name, column in columns.items()}


def _lines(path: Path) -> Iterator[dict[str, str]]:
    if path.exists():
        with path.open(newline="", encoding="utf-8") as stream:
            yield from csv.DictReader(stream)
