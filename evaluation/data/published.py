"""Answers that others published, with their verdicts: each format as items, responses and verdicts, one at a time.

`verdict` is the publisher's own; the table of MATH-V that VLMEvalKit's judge leaves behind has none, but what the judge
read (`res`), and there the toolkit's comparison is made here.
"""

import ast
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from drift.errors import DataError
from evaluation.data.converters import read_json
from evaluation.data.rows import read_rows
from evaluation.data.tsv import parse_choices

Format = Literal["none", "mathvista", "math_v", "logicvista", "vlmevalkit"]
_LETTERS = "ABCDEFGHIJ"
_MALFORMED = (AttributeError, KeyError, TypeError, ValueError, csv.Error)  # records of another shape
_NO_NUMBER = (ValueError, SyntaxError, OverflowError, RecursionError, MemoryError)
_NOT_A_COLUMN = ("prediction", "res", "extract", "log", "log_score", "log_extract", "score", "hit", "image")


@dataclass(frozen=True)
class Answer:
    """One published answer.

    Attributes:
        row: the item as a row of the benchmark's table, without its image.
        response: the model's words.
        verdict: what the publisher says of them, None where it says nothing.
    """

    row: Mapping[str, str]
    response: str
    verdict: bool | None

    def __post_init__(self) -> None:
        """Raises TypeError where a file holds something else than words and a verdict."""
        if not isinstance(self.response, str) or self.verdict not in (True, False, None):
            raise TypeError(f"{self.response!r} is no text, or {self.verdict!r} no verdict")


def read_answers(form: Format, path: Path, questions: Path | None) -> Iterator[Answer]:
    """The answers of a published file, in its order.

    Args:
        questions: the file of the questions, where the format keeps them apart.
    Raises:
        DataError: the file is not of this format; names the row.
    """
    try:
        yield from _FORMATS[form](path, questions or path)
    except _MALFORMED as error:
        raise DataError(f"{path}: no answers as {form} has them ({type(error).__name__}: {error})") from error


def _mathvista(path: Path, _: Path) -> Iterator[Answer]:
    for index, record in read_json(path).items():
        meta = record["metadata"]
        row = {"index": index, "question": record["question"], "answer": str(record["answer"])}
        row |= {"choices": str(record["choices"] or []), "skills": str(meta["skills"]), "task": meta["task"]}
        row |= {name: str(record[name]) for name in ("question_type", "answer_type", "precision")}
        yield Answer(row, record["response"] or "", bool(record.get("true_false")))


def _math_v(path: Path, questions: Path) -> Iterator[Answer]:
    asked = {record["id"]: record for _, record in read_rows(questions, "questions")}
    for _, record in read_rows(path, "answers"):
        item = asked[record["id"]]
        row = {"index": item["id"], "question": item["question"], "answer": item["answer"]}
        row |= {"choices": str(item["options"]), "category": item["subject"], "level": str(item["level"])}
        yield Answer(row, record["response"], record["correct"])


def _logicvista(path: Path, questions: Path) -> Iterator[Answer]:
    asked = read_json(questions)
    with path.open(encoding="utf-8", newline="") as stream:
        for record in csv.DictReader(stream):
            item, said = (
                asked[record["id"]],
                next((name for name in record if name.endswith("answer raw")), "answer raw"),
            )
            row = {"index": record["id"], "question": item["question"], "answer": item["answer"]}
            yield Answer(row | {"skill": str(item["skill"])}, record[said], record["match?"] == "1")


def _vlmevalkit(path: Path, _: Path) -> Iterator[Answer]:
    for place, record in read_rows(path, "answers"):
        row = {name: _plain(value) for name, value in record.items() if name not in _NOT_A_COLUMN}
        yield Answer(row, _plain(record["prediction"]), _verdict(place, record, row))


def _verdict(place: str, record: Mapping[str, Any], row: Mapping[str, str]) -> bool:
    found = record.get("score", record.get("hit"))
    if found is None and "res" in record:
        try:
            return _is_read_right(_plain(record["res"]), row)
        except DataError as error:
            raise DataError(f"{place}, column 'choices': {error}") from error
    value = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}.get(str(found).casefold())
    if value is None:
        raise DataError(f"{place}, column 'score' or 'hit': {found!r} is no verdict")
    return value


def _is_read_right(said: str, row: Mapping[str, str]) -> bool:
    """The toolkit's post_check: the option's letter or text in `said`, or a number within 1e-6 of the gold answer."""
    options = parse_choices(row.get("choices", ""))
    if options:
        words = set(said.replace(".", " ").replace("(", " ").replace(")", " ").split())
        letters = [letter for letter, _ in zip(_LETTERS, options, strict=False) if letter in words]
        texts = [letter for letter, text in zip(_LETTERS, options, strict=False) if text.casefold() in said.casefold()]
        chosen = letters if len(letters) == 1 else texts
        return chosen == [row["answer"]]
    try:
        return said == row["answer"] or abs(_number(said) - _number(row["answer"])) < 1e-6
    except _NO_NUMBER:
        return False


def _number(text: str) -> float:
    value = ast.literal_eval(text.strip())
    if not isinstance(value, int | float):
        raise ValueError(text)
    return float(value)


def _plain(value: Any) -> str:
    """A cell as text; a spreadsheet's 6.0 is the 6 that it was."""
    whole = isinstance(value, float) and value.is_integer()
    return "" if value is None else str(int(value) if whole else value)


_FORMATS: Mapping[str, Callable[[Path, Path], Iterator[Answer]]] = {
    "mathvista": _mathvista,
    "math_v": _math_v,
    "logicvista": _logicvista,
    "vlmevalkit": _vlmevalkit,
}


def as_table(answers: Sequence[Answer]) -> list[dict[str, str]]:
    """The rows of a table that holds every item, each with every column."""
    columns = dict.fromkeys(name for answer in answers for name in answer.row)
    return [{name: answer.row.get(name, "") for name in columns} for answer in answers]
