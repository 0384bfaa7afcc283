"""Questions to distil from: records of many shapes as one kind of question, and each fault of a record by its name.

A folder holds JSON lines, a JSON list, parquet or a benchmark's TSV, with its pictures beside it or inside. A record
has question, answer and picture under the names that datasets give them, or is a sharegpt conversation, whose reply
then stands for what a generator would say. What can't be used is a `Fault`: no exception, and nothing is left out in
silence.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, Literal, get_args

from drift.errors import DataError
from drift.files import parse_record
from drift.training.conversations import IMAGE_MARK, ROLES
from evaluation.data.rows import read_rows
from evaluation.data.tsv import parse_choices

RecordReason = Literal["json", "record", "role", "turns", "question empty", "answer empty", "text", "marks", "images"]
_QUESTION = ("question", "problem", "query")
_ANSWER = ("answer", "ground_truth", "solution")
_OPTIONS = ("options", "choices")
_IMAGES = ("images", "image")
_NAMES = ("index", "id", "question_id", "pid")
_KINDS = (".parquet", ".jsonl", ".json", ".tsv")
_NO_TABLES = ("dataset_info.json", "dataset_infos.json", "state.json")
_LONGEST_PATH = 1024  # of a picture's place; a longer cell is the picture itself
_ROWS = 64  # of a parquet file at a time
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Question:
    """One question with its gold answer; `images` are paths below the questions' folder.

    Attributes:
        index: unique in its set.
        name: what its source calls it.
        options: letter -> text, where one is to be chosen.
        reply: of a record that is a conversation; empty where a generator is asked.
    """

    index: str
    question: str
    answer: str
    images: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    reply: str = ""

    def record(self) -> dict[str, Any]:
        """As a JSON line."""
        return asdict(self)


@dataclass(frozen=True)
class Fault:
    """Why a record, or an answer to it, is left out: a reason that is counted, and what was found."""

    reason: str
    found: str = ""


@dataclass(frozen=True)
class Raw:
    """A record as it came: its question without pictures, the pictures as bytes or paths, or what is wrong with it."""

    place: str
    question: Question | None = None
    pictures: tuple[bytes | str, ...] = ()
    fault: Fault | None = None
    text: str = ""


class _RecordError(DataError):
    def __init__(self, reason: RecordReason, found: str) -> None:
        super().__init__(reason, found)
        self.fault = Fault(reason, found)


def read_records(folder: Path, files: str = "") -> Iterator[Raw]:
    """Every record of a folder, in the order of its files.

    Args:
        files: a pattern of their names; empty takes the only kind of table that there is.
    Raises:
        DataError: no table, or several kinds and no pattern that names one.
    """
    for path in _tables(folder, files):
        for place, found in _rows(path):
            yield _raw(place, found)


def read_questions(path: Path) -> Iterator[Question]:
    """The questions of a file that was written from `Question.record`, one at a time."""
    for _, record in read_rows(path, "questions"):
        yield Question(**{**record, "images": tuple(record["images"])})


def _tables(folder: Path, files: str) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; expected one with questions as {', '.join(_KINDS)}")
    if files:
        found = sorted(path for path in folder.glob(files) if path.is_file())
        if not found:
            raise DataError(f"{folder} has no file like {files!r}; it has {_listed(folder)}")
        return found
    there = [path for path in sorted(folder.rglob("*")) if path.suffix in _KINDS and path.name not in _NO_TABLES]
    kinds = list(dict.fromkeys(path.suffix for path in there))
    if len(kinds) != 1:
        has = f"several kinds of tables ({', '.join(kinds)})" if kinds else f"no table but {_listed(folder)}"
        raise DataError(f"{folder} has {has}; expected one kind of {', '.join(_KINDS)}, or a pattern (questions.files)")
    return there


def _listed(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "nothing"


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | Fault]]:
    """The rows of a file; a line of JSON lines that is none is a fault of its own, elsewhere it ends the file."""
    if path.suffix == ".jsonl":
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield f"{path.name}:{number}", _parsed(line, f"{path.name}:{number}")
        return
    try:
        yield from _parquet(path) if path.suffix == ".parquet" else read_rows(path, "questions")
    except DataError as error:
        yield f"{path.name}: the rest of it", Fault("json", str(error)[:300])


def _parsed(line: bytes, place: str) -> dict[str, Any] | Fault:
    try:
        return parse_record(line.removeprefix(b"\xef\xbb\xbf"), place, "a question")
    except DataError as error:
        return Fault("json", str(error)[:300])


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        with ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path.name}: row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is not readable behind row {number}: {error}") from error


def _raw(place: str, row: dict[str, Any] | Fault) -> Raw:
    if isinstance(row, Fault):
        return Raw(place, fault=row, text=row.found)
    try:
        question = _conversation(row) if "messages" in row or "conversations" in row else _asked(row)
        _check(question)
        return Raw(place, question, _pictures(row), text=question.question)
    except _RecordError as error:
        return Raw(place, fault=error.fault, text=_excerpt(row))


def _excerpt(row: Mapping[str, Any]) -> str:
    texts = {key: value for key, value in row.items() if isinstance(value, str | int | float) and key not in _IMAGES}
    return json.dumps(texts or list(row))[:400]


def _asked(row: Mapping[str, Any]) -> Question:
    question = str(_first(row, _QUESTION) or "")
    answer = _first(row, _ANSWER)
    if isinstance(answer, list | dict):
        raise _RecordError("record", f"the answer is a {type(answer).__name__}")
    gold = "" if answer is None else str(answer)
    return Question("", _without_marks(question, row), gold, options=_options(row), name=str(_first(row, _NAMES) or ""))


def _conversation(row: Mapping[str, Any]) -> Question:
    """The user's turn and the reply to it; the gold answer is a field of its own."""
    turns = row.get("messages") or row.get("conversations")
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, Mapping) for turn in turns):
        raise _RecordError("record", "no list of messages")
    said = [(turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))) for turn in turns]
    for role, content in said:
        if ROLES.get(str(role)) not in ("user", "assistant") or not isinstance(content, str):
            raise _RecordError("role", f"{role!r} says {str(content)[:80]!r}")
    roles = [ROLES[str(role)] for role, _ in said]
    if roles not in (["user"], ["user", "assistant"]):
        raise _RecordError("turns", " ".join(roles))
    reply = str(said[1][1]) if len(said) > 1 else ""
    return replace(_asked({**row, "question": said[0][1]}), reply=reply)


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def _without_marks(question: str, row: Mapping[str, Any]) -> str:
    """The text without `<image>`: pictures come first, as evaluation shows them."""
    marks, pictures = question.count(IMAGE_MARK), len(_listing(row))
    if marks not in (0, pictures):
        raise _RecordError("marks", f"{marks} {IMAGE_MARK} in the question, {pictures} pictures")
    return question.replace(IMAGE_MARK, "").strip()


def _options(row: Mapping[str, Any]) -> dict[str, str]:
    """Options by letter: columns A, B, C, or a list, or its text."""
    lettered = {name: str(row[name]) for name in LETTERS if str(row.get(name) or "").strip()}
    if lettered:
        return lettered
    found = _first(row, _OPTIONS)
    try:
        values = parse_choices(found) if isinstance(found, str) else found
    except DataError as error:
        raise _RecordError("record", str(error)[:200]) from error
    if not isinstance(values, list | Mapping | None):
        raise _RecordError("record", f"the options are a {type(values).__name__}")
    if isinstance(values, Mapping):
        return {str(letter): str(text) for letter, text in values.items()}
    return dict(zip(LETTERS, map(str, values or ()), strict=False))


def _check(question: Question) -> None:
    if not question.question.strip():
        raise _RecordError("question empty", "")
    if not question.answer.strip() and not question.reply:
        raise _RecordError("answer empty", "")
    try:
        "".join((question.question, question.answer, question.reply, *question.options.values())).encode()
    except UnicodeEncodeError as error:
        raise _RecordError("text", str(error)[:200]) from error


def _listing(row: Mapping[str, Any]) -> list[Any]:
    found = _first(row, _IMAGES)
    return [] if found is None else found if isinstance(found, list) else [found]


def _pictures(row: Mapping[str, Any]) -> tuple[bytes | str, ...]:
    return tuple(_picture(each) for each in _listing(row))


def _picture(value: Any) -> bytes | str:
    """A picture's bytes, or its path from the folder on."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value:
        raise _RecordError("images", f"a {type(value).__name__} is no picture; expected bytes, a path or base64")
    if len(value) <= _LONGEST_PATH and PurePath(value).suffix:
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _RecordError("images", f"{value[:40]!r} is neither a path nor base64") from error


RECORD_REASONS: tuple[str, ...] = get_args(RecordReason)
