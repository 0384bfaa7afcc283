"""Reads a benchmark's TSV into items, strictly, and writes such tables.

The format is VLMEvalKit's: one row an item, base64 images, a column per option letter or one `choices` list. Cells
stay text: "N/A" and "None" are answers, not gaps (a data-frame reader turns them into NaN). The csv module is used, so
that a scorer needs no pandas.
"""

import ast
import base64
import binascii
import csv
import io
import json
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drift.errors import DataError
from drift.files import replacing

_FIELD_LIMIT = 2**31 - 1
# VLMEvalKit's convention: a shorter image cell is the index of the row that holds the picture.
_REFERENCE_LENGTH = 64
_CHOICES_LIMIT = 100_000
QA = ("index", "question", "answer")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Where a benchmark's table lies and what it holds.

    Attributes:
        name: the benchmark, as VLMEvalKit spells it.
        tsv: file name inside a data folder.
        url: where it is downloaded from; None for the lab's own tables.
        md5: checksum of the published table, None where none is published.
        rows: number of rows of the published table, None where it was not counted.
        columns: columns that scoring can't do without.
        group: a row's group, None for a table without groups.
    """

    name: str
    tsv: str
    url: str | None = None
    md5: str | None = None
    rows: int | None = None
    columns: tuple[str, ...] = QA
    group: Callable[[Mapping[str, str]], str] | None = None


@dataclass(frozen=True)
class Item:
    """One question: `options` maps letters to texts in order, `fields` holds every other column as text."""

    index: str
    question: str
    answer: str
    options: Mapping[str, str] = field(default_factory=dict)
    images: tuple[bytes, ...] = ()
    group: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


def load_items(path: Path, table: Table, with_images: bool = True) -> list[Item]:
    """Every row of `path` as an item, in file order.

    Args:
        path: a TSV with the columns that `table.columns` names; an image column is optional.
        table: what the benchmark says of its table.
        with_images: False leaves `Item.images` empty (scoring needs none).
    Raises:
        DataError: no file, no rows, a missing column, a ragged row, an index twice, an unreadable image or option list.
    """
    rows = read_rows(path, table)
    images = _decode_images(path, rows) if with_images and "image" in rows[0] else {}
    return [_item(path, row, table, images.get(row["index"], ())) for row in rows]


def iter_items(path: Path, table: Table) -> Iterator[Item]:
    """The items of `load_items` one at a time and without images, for tables that memory should not hold.

    Raises:
        DataError: as `load_items`, when the row is reached.
    """
    for row in _rows(path, table):
        yield _item(path, row, table, ())


def header_of(path: Path) -> tuple[str, ...]:
    """The columns of a TSV; empty where it has no first line that can be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return tuple(next(csv.reader(stream, delimiter="\t"), ()))
    except (OSError, UnicodeDecodeError, csv.Error):
        return ()


def write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Writes `rows` as a TSV that `load_items` reads back, whole or not at all.

    Raises:
        DataError: no rows, or rows with different columns.
    """
    if not rows:
        raise DataError(f"{path}: no rows to write; expected at least one")
    columns = list(rows[0])
    if (odd := next((row for row in rows if list(row) != columns), None)) is not None:
        raise DataError(f"{path}: row {odd.get('index')!r} has columns {list(odd)}; expected {columns}")
    with replacing(path) as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=columns, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def encode_image(data: bytes) -> str:
    """The picture file's bytes as a base64 cell."""
    return base64.b64encode(data).decode("ascii")


def parse_choices(text: str) -> list[str]:
    """The options of a `choices` cell: a JSON or Python list of texts and numbers; empty for an empty cell.

    Raises:
        DataError: the cell is not a flat list.
    """
    if not text.strip() or text.strip() in ("None", "nan"):
        return []
    if len(text) > _CHOICES_LIMIT:
        raise DataError(f"a choices cell has {len(text)} characters; expected at most {_CHOICES_LIMIT}")
    value: object = None
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
            break
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    if not isinstance(value, list) or any(isinstance(entry, list | dict) for entry in value):
        raise DataError(f"choices {text[:80]!r} is not a flat list; expected one like \"['3', '5']\"")
    return [str(entry) for entry in value]


def read_rows(path: Path, table: Table) -> list[dict[str, str]]:
    """Every row as it stands, which `write_rows` writes back.

    Raises:
        DataError: no file, no rows, a missing column, a ragged row, or an index twice.
    """
    return list(_rows(path, table))


def _rows(path: Path, table: Table) -> Iterator[dict[str, str]]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the table of {table.name} ({table.tsv})")
    csv.field_size_limit(_FIELD_LIMIT)
    is_empty = True
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t", restkey="", restval=None)
            missing = [name for name in table.columns if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{path}: columns {missing} are missing; {table.name} needs {list(table.columns)}, "
                    f"the file has {list(reader.fieldnames or ())}"
                )
            for row in _whole_rows(path, reader):
                is_empty = False
                yield row
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable UTF-8 TSV ({error}); export the table again") from error
    if is_empty:
        raise DataError(f"{path}: no rows; expected at least one item of {table.name}")


def _whole_rows(path: Path, reader: csv.DictReader) -> Iterator[dict[str, str]]:
    """Rows with a cell in every column, and an index that no other has."""
    width = len(reader.fieldnames or ())
    seen: set[str] = set()
    for row in reader:
        if "" in row and isinstance(row[""], list):
            raise DataError(
                f"{path}: line {reader.line_num} has more than {width} cells; a tab or quote is not escaped"
            )
        if any(value is None for value in row.values()):
            raise DataError(f"{path}: line {reader.line_num} has fewer than {width} cells; the file is cut or ragged")
        if not row["index"].strip():
            raise DataError(f"{path}: line {reader.line_num} has an empty index; every item needs its own")
        if row["index"] in seen:
            raise DataError(f"{path}: line {reader.line_num}: index {row['index']!r} appears twice; expected each once")
        seen.add(row["index"])
        yield row


def _item(path: Path, row: dict[str, str], table: Table, images: tuple[bytes, ...]) -> Item:
    try:
        letters = _options(row)
        group = None if table.group is None else table.group(row)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    known = {*QA, "image", *string.ascii_uppercase}
    fields = {name: value for name, value in row.items() if name not in known}
    return Item(row["index"], row["question"], row["answer"], letters, images, group, fields)


def _options(row: Mapping[str, str]) -> dict[str, str]:
    letters = {name: row[name] for name in string.ascii_uppercase if row.get(name, "").strip()}
    if letters or "choices" not in row:
        return letters
    try:
        return dict(zip(string.ascii_uppercase, parse_choices(row["choices"]), strict=False))
    except DataError as error:
        raise DataError(f"item {row['index']!r}: {error}") from error


def _decode_images(path: Path, rows: Sequence[Mapping[str, str]]) -> dict[str, tuple[bytes, ...]]:
    cells = {row["index"]: row["image"] for row in rows}
    decoded: dict[str, tuple[bytes, ...]] = {}
    for index, cell in cells.items():
        target = cell.strip()
        if 0 < len(target) <= _REFERENCE_LENGTH and target in cells:
            target = cells[target].strip()
        parts = [target] if target else []
        if target.startswith("["):
            parts = [part.strip().strip("'\"") for part in target.strip("[]").split(",") if part.strip()]
        decoded[index] = tuple(_decode(path, index, part) for part in parts)
    return decoded


def _decode(path: Path, index: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(
            f"{path}: the image of item {index!r} ({text[:16]!r}..., {len(text)} characters) is neither base64 nor the "
            f"index of another row ({error})"
        ) from error
