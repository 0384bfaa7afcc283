"""No number of a report was chosen by: what a choice saw is held against what its row reports, item by item."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from evaluation.benchmarks import get_benchmark
from evaluation.data.splits import contents, refuse_seen
from evaluation.data.tsv import load_items
from pipelines.layout import SEEN
from pipelines.report.numbers import Evidence
from pipelines.report.sources import Source


def refuse_seen_rows(tables: Sequence[Evidence]) -> None:
    """Refuses a row that reports on an item which its choice has seen.

    Raises:
        SplitError: names the table, the row and the choice.
    """
    for evidence in tables:
        for cell in evidence.cells:
            if "choice" in cell.artifacts and "items" in cell.artifacts:
                choice, items = (evidence.sources[cell.artifacts[role]] for role in ("choice", "items"))
                where = f"{cell.table}, row {cell.row!r}, seed {cell.seed},"
                refuse_seen(_seen(choice.path), _held(items), choice.manifest["label"], where)


def seen_of_all(evidence: Evidence) -> dict[str, tuple[int, int]]:
    """Row label -> how many of all items its choice has seen, and how many there are; rows without a choice have 0."""
    found = {}
    for cell in evidence.cells:
        if "all_items" in cell.artifacts:
            held = _held(evidence.sources[cell.artifacts["all_items"]])
            choice = cell.artifacts.get("choice")
            found[cell.row] = len(held & _seen(evidence.sources[choice].path)) if choice else 0, len(held)
    return found


@cache
def _seen(choice: Path) -> frozenset[str]:
    return frozenset(json.loads((choice / SEEN).read_text()))


def _held(items: Source) -> frozenset[str]:
    return _contents(items.path, tuple(items.manifest["params"]["names"]))


@cache
def _contents(tables: Path, names: Sequence[str]) -> frozenset[str]:
    rows = [get_benchmark(name) for name in names]
    return frozenset(mark for row in rows for mark in contents(load_items(tables / row.tsv, row)))
