"""Whether committed results follow from the store, or where there is none from what their own provenance says.

It computes means by itself, so that a fault in `pipelines.report.numbers` does not check itself.
"""

import csv
import hashlib
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from drift.files import sha256_of
from pipelines.errors import StoreError
from pipelines.layout import APPENDIX, FIGURES, ITEMS, OUTLINE, PROTOCOLS, REPORT, TABLES, VERDICTS
from pipelines.report.marked import STUDY
from pipelines.report.spec import AVERAGE
from pipelines.store import Artifact, Store

PROVENANCE = "provenance.json"
_DIGITS = 4  # of a long table


def check_results(folder: Path, store: Store) -> tuple[str, list[str]]:
    """What was looked at, in one line, and every fault.

    Raises:
        StoreError: there are no results with a provenance.
    """
    try:
        provenance = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{folder} holds no {PROVENANCE}, so nothing says where its numbers come from") from None
    tables = {path.stem: _rows(path) for path in sorted((folder / TABLES).glob("*_long.csv"))}
    faults = [fault for name, rows in tables.items() for fault in _misfits(name, rows, provenance)]
    said = f"{sum(map(len, tables.values()))} numbers of {folder} were compared with the values of their provenance"
    if any("values" not in record for record in provenance["artifacts"].values()):
        said += " (it holds none: only their places)"
    reports = [
        artifact for path in store.places() if path.parent.name == "report" and (artifact := _whole(store, path))
    ]
    if not reports:
        return f"{said}; {store.root} holds no report to compare them with", faults
    said += f", its files with {len(reports)} reports in {store.root}"
    return said, faults + list(_unsourced(folder, reports)) + list(_otherwise(provenance, store))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _misfits(name: str, rows: Sequence[Mapping[str, str]], provenance: Mapping[str, Any]) -> Iterator[str]:
    """The numbers of a long table that are not the mean of what their artifacts say."""
    artifacts = {record["fingerprint"][:20]: record for record in provenance["artifacts"].values()}
    columns: dict[str, list[str]] = {}
    for row in rows:
        columns.setdefault(row["row"], []).append(row["benchmark"])
    for row in rows:
        where = f"{name}, {row['row']!r}, {row['benchmark']}"
        marks = row["fingerprint"].split("+")
        if gone := [mark for mark in marks if mark not in artifacts]:
            yield f"{where}: artifact {gone[0]} is not in {PROVENANCE}"
        elif all("values" in artifacts[mark] for mark in marks):
            values = [_value(artifacts[mark]["values"], row["benchmark"], columns[row["row"]]) for mark in marks]
            deviation = statistics.stdev(values) if len(values) > 1 else None
            for key, expected in (("value", statistics.fmean(values)), ("std", deviation)):
                if not _is_same(row[key], expected):
                    yield f"{where}: {key} is {row[key]}, its artifacts give {expected}"


def _value(values: Mapping[str, float], column: str, columns: Sequence[str]) -> float:
    if column == AVERAGE:
        return statistics.fmean(_value(values, other, columns) for other in columns if other != AVERAGE)
    if column in values:
        return values[column]
    return values[column.partition("_")[0]]  # the headline under its own name


def _is_same(text: str, expected: float | None) -> bool:
    if expected is None or not text:
        return expected is None and not text
    return math.isclose(float(text), expected, abs_tol=0.5001 * 10**-_DIGITS, rel_tol=1e-9)


def _whole(store: Store, path: Path) -> Artifact | None:
    found = store.open(path)
    if found is None:
        return None
    store.check(found[0])
    return found[0]


def _unsourced(folder: Path, reports: Sequence[Artifact]) -> Iterator[str]:
    """The files of the results that no report of the store holds, byte for byte."""
    known: dict[str, set[str]] = {}
    for report in reports:
        for name, entry in report.manifest["files"].items():
            known.setdefault(name, set()).add(entry["sha256"])
    for path in (folder / PROVENANCE, folder / REPORT, *_made(folder)):
        mark = _bare(path) if path.name == REPORT else sha256_of(path)
        if mark not in known.get(str(path.relative_to(folder)), ()):
            yield f"{path} is not what any report in the store says"


def _bare(path: Path) -> str:
    """The sha256 of a report without what a study says in it, which is no part of the artifact."""
    return hashlib.sha256(STUDY.without(path.read_text(encoding="utf-8")).encode()).hexdigest()


def _made(folder: Path) -> list[Path]:
    """What else a report writes, where it is there; the page is built from it, and claims are not a report's."""
    places = (TABLES, FIGURES, VERDICTS, ITEMS, PROTOCOLS)
    files = [folder / name for name in (APPENDIX, OUTLINE)] + [
        p for place in places for p in (folder / place).rglob("*")
    ]
    return sorted(path for path in files if path.is_file())


def _otherwise(provenance: Mapping[str, Any], store: Store) -> Iterator[str]:
    """The artifacts behind the results that are not in the store, or hold something else there."""
    for place, record in provenance["artifacts"].items():
        found = store.open(store.root / place)
        if found is None:
            yield f"{place} ({record['label']}) is not in the store"
        elif record.get("content", found[0].content) != found[0].content:
            yield f"{place} ({record['label']}) holds something else than when the results were made"
