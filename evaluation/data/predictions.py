"""Predictions: index and response of each row of a file, one at a time, and a place where they wait for their items.

The response is the column `response`, else `prediction`, as VLMEvalKit calls it. A file that VLMEvalKit wrote repeats
its table's answers: where there is such a column it must agree with the data's.
"""

import math
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drift.errors import DataError, closest
from evaluation.data.rows import read_rows

COLUMNS = ("response", "prediction")
_AT_ONCE = 500  # of an SQLite statement's variables


@dataclass(frozen=True)
class Prediction:
    """One row: `gold` is the file's own column `answer`, empty where it has none."""

    index: str
    response: str
    gold: str = ""


def iter_predictions(path: Path) -> Iterator[Prediction]:
    """The predictions of a file in its order, duplicates included.

    Raises:
        DataError: no file, no rows, a row without index or response, or a cell that is neither text nor a finite
            number; names row and column.
    """
    is_empty = True
    for place, record in read_rows(path, "predictions"):
        is_empty = False
        column = next((name for name in COLUMNS if name in record), None)
        if column is None or "index" not in record:
            absent = [name for name, there in (("index", "index" in record), ("response", column)) if not there]
            raise DataError(
                f"{place}: {absent} missing; expected index, and response or prediction; "
                f"{closest(absent[0], record)[:300]}"
            )
        index = _text(place, "index", record["index"])
        yield Prediction(index, _text(place, column, record[column]), _gold(record.get("answer")))
    if is_empty:
        raise DataError(f"{path}: no lines; expected predictions")


def read_predictions(path: Path) -> dict[str, str]:
    """index -> response of a whole file.

    Raises:
        DataError: as `iter_predictions`, or an index twice.
    """
    responses: dict[str, str] = {}
    for prediction in iter_predictions(path):
        if prediction.index in responses:
            raise _twice(path, prediction.index)
        responses[prediction.index] = prediction.response
    return responses


class Waiting:
    """Predictions on disk until their items come, in whatever order: memory holds none of them."""

    def __init__(self, path: Path, rows: sqlite3.Connection) -> None:
        self.path, self._rows, self.count, self.matched = path, rows, 0, 0

    @classmethod
    @contextmanager
    def of(cls, path: Path, predictions: Iterator[Prediction]) -> Iterator["Waiting"]:
        """All of `predictions`, in a temporary file that is gone when the block ends.

        Raises:
            DataError: an index twice.
        """
        with tempfile.TemporaryDirectory(prefix="drift-score-") as folder:
            rows = sqlite3.connect(Path(folder) / "predictions.sqlite", isolation_level=None)
            try:
                rows.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN")
                rows.execute("CREATE TABLE waiting (name BLOB PRIMARY KEY, response BLOB, gold BLOB) WITHOUT ROWID")
                waiting = cls(path, rows)
                for prediction in predictions:
                    waiting._put(prediction)
                yield waiting
            finally:
                rows.close()

    def take(self, indices: Sequence[str]) -> dict[str, Prediction]:
        """Those of `indices` that are there."""
        found: dict[str, Prediction] = {}
        for start in range(0, len(indices), _AT_ONCE):
            keys = [_bytes(index) for index in indices[start : start + _AT_ONCE]]
            asked = f"SELECT name, response, gold FROM waiting WHERE name IN ({','.join('?' * len(keys))})"
            for name, response, gold in self._rows.execute(asked, keys):
                found[_back(name)] = Prediction(_back(name), _back(response), _back(gold))
        self.matched += len(found)
        return found

    def first(self, count: int) -> list[str]:
        """Some indices, for errors."""
        return [_back(name) for (name,) in self._rows.execute("SELECT name FROM waiting LIMIT ?", (count,))]

    def _put(self, prediction: Prediction) -> None:
        row = (_bytes(prediction.index), _bytes(prediction.response), _bytes(prediction.gold))
        try:
            self._rows.execute("INSERT INTO waiting VALUES (?, ?, ?)", row)
        except sqlite3.IntegrityError:
            raise _twice(self.path, prediction.index) from None
        except sqlite3.Error as error:
            raise DataError(
                f"{self.path}: no room for a copy in {tempfile.gettempdir()} ({error}); set TMPDIR"
            ) from error
        self.count += 1


def _text(place: str, column: str, value: Any) -> str:
    """A cell as text; numbers as they are written, whole ones without a point where it is an index."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)  # and of any length, which no float may be
    is_number = is_whole or (isinstance(value, float) and math.isfinite(value))
    if not is_number and not isinstance(value, str):
        raise DataError(f'{place}, column {column!r}: {value!r} is no answer; expected text ("" for none)')
    return str(int(value) if column == "index" and is_number and value == int(value) else value)


def _gold(value: Any) -> str:
    """The file's own gold answer; what is no text or number says nothing."""
    is_said = isinstance(value, str | int | float) and not isinstance(value, bool) and value == value
    return str(value) if is_said else ""


def _twice(path: Path, index: str) -> DataError:
    return DataError(f"{path}: index {index!r} appears twice; expected one response an item")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a response may hold a lone surrogate, which has no UTF-8 form


def _back(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
