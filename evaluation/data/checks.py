"""What may be wrong with a scoring's files: another benchmark's table, other golds, a target that would be lost."""

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from drift.errors import DataError
from drift.files import md5_of
from evaluation.data.tsv import QA, Item, header_of

if TYPE_CHECKING:
    from evaluation.benchmarks import Benchmark

_NO_GOLD = ("", "nan")


def check_target(path: Path, inputs: Iterable[Path]) -> None:
    """A file may be written at `path`: what is there is an older one of its kind, and nothing that is read.

    Raises:
        DataError: it is an input, or no regular file (a device, a link, a folder).
    """
    for source in inputs:
        if path.exists() and source.exists() and path.samefile(source):
            raise DataError(f"{path} is the input {source}, which would be lost; choose another place")
    try:
        kind = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISREG(kind):
        raise DataError(
            f"{path} is no regular file (a device, link or folder), and is left alone; choose another place"
        )


def check_table(path: Path, benchmark: "Benchmark", others: Mapping[str, "Benchmark"]) -> dict[str, str | bool]:
    """The table's md5, and whether it is the published one.

    Raises:
        DataError: no such file, or the table of another benchmark, by its md5 or its columns.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the table of {benchmark.name} ({benchmark.tsv})")
    md5 = md5_of(path)
    if md5 != benchmark.md5:
        if owner := next((other for other in others.values() if other.md5 == md5), None):
            raise DataError(f"{path} is the published table of {owner.name} (md5 {md5}), not of {benchmark.name}")
        _check_header(path, benchmark, others.values())
    return {"data_md5": md5, "is_published_table": md5 == benchmark.md5}


def _check_header(path: Path, benchmark: "Benchmark", others: Iterable["Benchmark"]) -> None:
    """Refuses a table without the columns that are this benchmark's own, and with all of another's."""
    there = set(header_of(path))
    if not there or _own(benchmark) <= there:
        return
    fitting = [other for other in others if _own(other) and _own(other) <= there and _own(other) != _own(benchmark)]
    if fitting:
        owner = max(fitting, key=lambda other: len(_own(other)))
        raise DataError(
            f"{path} has the columns {sorted(_own(owner))} of {owner.name} and lacks "
            f"{sorted(_own(benchmark) - there)} of {benchmark.name}; say benchmark={owner.name}"
        )


def _own(benchmark: "Benchmark") -> set[str]:
    """The columns by which a benchmark's table is known."""
    return {*benchmark.columns, *(name.partition(".")[0] for name in benchmark.facets)} - {*QA}


class GoldCheck:
    """The gold answers of a table on their way: there at all, and those that a file of predictions repeats."""

    def __init__(self) -> None:
        self.absent: list[str] = []
        self._other: list[str] = []

    def see(self, item: Item, repeated: str) -> None:
        """An item, and the answer that the file of predictions has for it (empty for none)."""
        if item.answer.strip().casefold() in _NO_GOLD:
            self.absent.append(item.index)
        if repeated.strip() and not _is_same(item.answer, repeated):
            self._other.append(f"{item.index} ({repeated.strip()[:40]!r} for {item.answer[:40]!r})")

    def finish(self, data: Path, predictions: Path) -> None:
        """Refuses predictions that were made for other gold answers (DataError)."""
        if self._other:
            raise DataError(
                f"{predictions}, column 'answer': differs from {data} in {len(self._other)} rows, first index "
                f"{'; '.join(self._other[:3])}. Are they of the same table?"
            )


def _is_same(gold: str, repeated: str) -> bool:
    """Equal as text, or as a number that a spreadsheet has respelled."""
    try:
        return gold.strip() == repeated.strip() or float(gold) == float(repeated)
    except ValueError:
        return False
