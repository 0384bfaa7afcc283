"""Rows of a table, one at a time, in the formats that VLMEvalKit and others leave predictions in.

By the file's name: .xlsx, .tsv, .csv, .json (a list of records, or an object by index) and JSON lines for all else; a
`.gz` behind it is unpacked on the way. Memory holds a row, but for the shared strings of an xlsx and an object by
index, which their formats keep in one piece. Nothing is unpickled or evaluated.
"""

import csv
import gzip
import io
import json
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import IO, Any

from drift.errors import DataError
from drift.files import parse_record

Row = tuple[str, dict[str, Any]]
"""Where a row stands, for errors, and its cells by column."""

_CHUNK = 1 << 20
_FIELD_LIMIT = 2**31 - 1
_LONGEST_RECORD = 1 << 26
_LARGEST_BOOK = 1 << 31
_BROKEN = (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error)  # gzip's own error is an OSError


def read_rows(path: Path, what: str) -> Iterator[Row]:
    """The rows of `path`.

    Args:
        what: names the content in errors.
    Raises:
        DataError: no such file, or not a readable table of its format; names the row.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected {what} as JSON lines, json, tsv, csv or xlsx")
    return _READERS.get(Path(path.name.removesuffix(".gz")).suffix.lower(), _jsonl)(path, what)


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.name.endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _jsonl(path: Path, what: str) -> Iterator[Row]:
    with _opened(path) as stream:
        try:
            for number, line in enumerate(stream, 1):
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if text.strip():
                    yield f"{path}:{number}", parse_record(text, f"{path}:{number}", what)
        except _BROKEN as error:
            raise DataError(f"{path}: not readable ({error}); copy the file again") from error


def _separated(delimiter: str) -> Callable[[Path, str], Iterator[Row]]:
    def read(path: Path, what: str) -> Iterator[Row]:
        csv.field_size_limit(_FIELD_LIMIT)
        line = 1
        with _opened(path) as raw:
            try:
                reader = csv.DictReader(
                    io.TextIOWrapper(raw, "utf-8-sig", newline=""), delimiter=delimiter, strict=True
                )
                width = len(reader.fieldnames or ())
                for record in reader:
                    line = reader.line_num
                    if None in record or None in record.values():
                        raise DataError(f"{path}:{line}: expected {width} cells, as in its header; the row is ragged")
                    yield f"{path}:{line}", record
            except _BROKEN as error:
                raise DataError(f"{path}: not readable behind line {line} ({error}); export it again") from error

    return read


def _json(path: Path, what: str) -> Iterator[Row]:
    """A list's records as they are parsed; an object's entries, each with its key as `index` where it has none."""
    with _opened(path) as raw:
        text = _Text(path, io.TextIOWrapper(raw, "utf-8-sig"))
        try:
            if text.peek() == "[":
                yield from _listed(path, text)
                return
            whole = text.value("the file", limit=sys.maxsize)
            if text.peek() or not isinstance(whole, dict):
                raise DataError(f"{path}: expected a list of records of {what}, or one object by index")
        except _BROKEN as error:
            raise DataError(f"{path}: not readable ({error}); copy the file again") from error
    for index, entry in whole.items():
        yield f"{path}: entry {index!r}", {"index": index} | (entry if isinstance(entry, dict) else {"response": entry})


class _Text:
    """JSON text that is read on as it is parsed."""

    def __init__(self, path: Path, stream: IO[str]) -> None:
        self._path, self._stream, self._text, self._decoder = path, stream, "", json.JSONDecoder()

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while not (text := self._text.lstrip()) and (more := self._stream.read(_CHUNK)):
            self._text = more
        self._text = text
        return text[:1]

    def skip(self) -> None:
        self._text = self._text[1:]

    def value(self, place: str, limit: int = _LONGEST_RECORD) -> Any:
        """The next value; the text is read on, more each time, until it holds one (DataError where it never does)."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text)
            except (ValueError, RecursionError) as error:
                more = self._stream.read(max(_CHUNK, len(self._text))) if len(self._text) < limit else ""
                if not more:
                    why = f"{place} is not JSON ({error}); was the file cut?"
                    raise DataError(f"{self._path}: {why}") from error
                self._text += more
            else:
                self._text = self._text[end:]
                return value


def _listed(path: Path, text: _Text) -> Iterator[Row]:
    number = 0
    text.skip()
    while (found := text.peek()) != "]":
        if number and found == ",":
            text.skip()
        elif number:
            raise DataError(f"{path}: record {number} is followed by {found!r}; expected a comma or the list's end")
        number += 1
        record = text.value(f"record {number}")
        if not isinstance(record, dict):
            raise DataError(f"{path}: record {number} is {type(record).__name__}; expected an object")
        yield f"{path}: record {number}", record
    text.skip()
    if found := text.peek():
        raise DataError(f"{path}: {found!r} stands behind the list of {number} records; the file is no JSON")


def _xlsx(path: Path, what: str) -> Iterator[Row]:
    """The rows of the first sheet; its first row names the columns."""
    try:
        import openpyxl
    except ModuleNotFoundError:
        raise DataError(f"{path}: reading xlsx needs openpyxl: pip install 'drift-reproduction[eval]'") from None
    # What openpyxl raises for a file that is no workbook depends on the part that is broken; SyntaxError is of its XML.
    broken = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, SyntaxError)
    values = (KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError)
    try:
        with zipfile.ZipFile(path) as parts:
            if (size := sum(part.file_size for part in parts.infolist())) > _LARGEST_BOOK:
                raise DataError(
                    f"{path}: {size} bytes when unpacked, expected at most {_LARGEST_BOOK}; use tsv or JSON lines"
                )
        with path.open("rb") as stream, closing(openpyxl.load_workbook(stream, read_only=True, data_only=True)) as book:
            yield from _sheet(path, book.worksheets[0].iter_rows())
    except (*broken, *values) as error:
        raise DataError(f"{path}: not a readable xlsx of {what} ({error}); export it again") from error


def _sheet(path: Path, lines: Iterator[tuple[Any, ...]]) -> Iterator[Row]:
    header: list[str] = []
    for number, cells in enumerate(lines, 1):
        values = [_cell(path, number, cell) for cell in cells]
        if not header:
            header = [str(value).strip() for value in values]
        elif any(value != "" for value in values):
            yield f"{path}: row {number}", dict(zip(header, values, strict=False))


def _cell(path: Path, number: int, cell: Any) -> Any:
    """A cell's text or number; a formula's error value is none."""
    from openpyxl.utils.escape import unescape

    if cell.data_type == "e":
        raise DataError(f"{path}: row {number}, cell {cell.coordinate} is the error {cell.value}; expected text")
    value = cell.value
    return "" if value is None else unescape(value) if isinstance(value, str) else value


_READERS: Mapping[str, Callable[[Path, str], Iterator[Row]]] = {
    ".xlsx": _xlsx,
    ".tsv": _separated("\t"),
    ".csv": _separated(","),
    ".json": _json,
}
