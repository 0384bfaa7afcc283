"""Files that are whole or not there, their hashes, and JSON lines: the one place for all three."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from drift.errors import DataError

_PART = re.compile(r"\..+\.\d+\.part")


def is_part(name: str) -> bool:
    """Whether a file's name is one that `replacing` gives what is not finished; a killed process leaves it behind."""
    return _PART.fullmatch(name) is not None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A binary stream whose content takes the name `path` when the block ends well; else the old file stays.

    The part lies beside its target under a name of this process, so two writers never share one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            yield stream
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """The file holds the old content or the new, never a part; text is UTF-8."""
    with replacing(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    r"""One JSON object a line, whole or not at all; what UTF-8 can't hold stays as a \u escape."""
    with replacing(path) as stream:
        stream.writelines(json.dumps(record).encode("ascii") + b"\n" for record in records)


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def md5_of(path: Path) -> str:
    """Hex md5 of a file's bytes, as benchmarks publish it; a name, no protection."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def read_jsonl(path: Path, what: str = "JSON lines", *, allow_torn_end: bool = False) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file, blank lines left out.

    Args:
        what: names the content in errors.
        allow_torn_end: drop a last line without its line break, which a killed writer left.
    Raises:
        DataError: no such file, not UTF-8, or a line (its number is given) that is no JSON object.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected {what}, one JSON object a line")
    lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if allow_torn_end:
        lines = lines[:-1]  # without its line break a line may be half a number and still parse
    return [parse_record(line, f"{path}:{number}", what) for number, line in enumerate(lines, 1) if line.strip()]


def parse_record(line: bytes, place: str, what: str) -> dict[str, Any]:
    """The JSON object of a line; `place` and `what` name it in errors.

    Raises:
        DataError: it is none, or not UTF-8.
    """
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # JSON's and Unicode's errors are ValueErrors
        raise DataError(
            f"{place}: not JSON ({error}); was the file cut? expected one object of {what} a line"
        ) from error
    if not isinstance(record, dict):
        raise DataError(f"{place}: {type(record).__name__}; expected an object such as {{'index': ...}}")
    return record
