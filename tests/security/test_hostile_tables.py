"""Tables, answers and questions that somebody made on purpose: read, or refused by an error that names its place.

Quick by default; FUZZ=100000 asks for as many inputs a reader (`make fuzz`).
"""

import base64
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hostile import JSON, MANY, SEED, TEXT, neighbours, or_refused
from hypothesis import given
from hypothesis import strategies as st

from drift.errors import DataError
from drift.files import read_jsonl
from evaluation.benchmarks import BENCHMARKS
from evaluation.data.predictions import iter_predictions
from evaluation.data.published import _FORMATS, read_answers
from evaluation.data.tsv import load_items
from pipelines.distil.config import PictureLimits
from pipelines.distil.intake import take
from pipelines.distil.records import read_records


@pytest.fixture(scope="module")
def place() -> Path:
    return Path(tempfile.mkdtemp())


NAMES = sorted(BENCHMARKS)
HEADS = ("index", "question", "answer", "image", "choices", "A", "B", "C", "D", "ID", "l2-category", "category")
CELL = TEXT | st.sampled_from(["1", "1\t2", '"', "\n", "\r", "['3', '5']", "[" * 500, "AAAA", "x_1_2_3_4", "é"])


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    return "\n".join("\t".join(row) for row in (heads, *rows)).encode("utf-8", "surrogatepass")


@MANY
@given(
    name=st.sampled_from(NAMES),
    count=st.integers(0, len(HEADS)),
    rows=st.lists(st.lists(CELL, max_size=len(HEADS)) | st.lists(CELL, min_size=12, max_size=12), max_size=3),
    seed=SEED,
)
def test_a_benchmarks_table(place: Path, name: str, count: int, rows: list[list[str]], seed: int) -> None:
    path = place / "table.tsv"
    for each in neighbours(table(HEADS[:count] or HEADS, [row[:count] or row for row in rows]), seed):
        path.write_bytes(each)
        with or_refused(path.name, DataError):
            items = load_items(path, BENCHMARKS[name])
            assert len({item.index for item in items}) == len(items) > 0


@MANY
@given(
    form=st.sampled_from(["jsonl", "json", "tsv", "csv"]),
    records=st.lists(
        st.fixed_dictionaries(
            {"index": st.integers(0, 3) | JSON}, optional={"response": TEXT | JSON, "prediction": JSON, "answer": JSON}
        )
        | JSON,
        max_size=3,
    ),
    by_index=st.booleans(),
    seed=SEED,
)
def test_predictions(place: Path, form: str, records: list[Any], by_index: bool, seed: int) -> None:
    if form == "json":
        content: Any = {str(n): record for n, record in enumerate(records)} if by_index else records
        data = json.dumps(content).encode()
    elif form == "jsonl":
        data = "\n".join(map(json.dumps, records)).encode()
    else:
        rows = [[str(cell) for cell in record.values()] for record in records if isinstance(record, dict)]
        data = table(["index", "response"], rows).replace(b"\t", b"," if form == "csv" else b"\t")
    path = place / f"predictions.{form}"
    for each in neighbours(data, seed):
        path.write_bytes(each)
        with or_refused(path.name, DataError):
            for prediction in iter_predictions(path):
                assert isinstance(prediction.index, str)
                assert isinstance(prediction.response, str)


@MANY
@given(
    lines=st.lists(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20), max_size=4), seed=SEED
)
def test_lines_of_json(place: Path, lines: list[bytes], seed: int) -> None:
    path = place / "any.jsonl"
    for each in neighbours(b"\n".join(lines), seed):
        path.write_bytes(each)
        with or_refused(f"{path}:", DataError):
            assert all(isinstance(record, dict) for record in read_jsonl(path))


PUBLISHED = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["1", "2"]) | JSON,
        "question": TEXT | JSON,
        "answer": TEXT | JSON,
        "prediction": TEXT | JSON,
        "response": TEXT | JSON,
    },
    optional={
        "index": TEXT | JSON,
        "metadata": JSON | st.just({"skills": [], "task": "t"}),
        "choices": st.none() | st.sampled_from(["['3', '5']", "[" * 500]) | JSON,
        "options": JSON,
        "res": st.sampled_from(["9" * 400, "1.5", "(", "-" * 3000 + "1", "1e999", "A"]) | JSON,
        "score": JSON,
        "correct": JSON,
        "subject": JSON,
        "level": JSON,
        "skill": JSON,
        "question_type": JSON,
        "answer_type": JSON,
        "precision": JSON,
    },
)


@MANY
@given(
    form=st.sampled_from(sorted(_FORMATS)),
    records=st.lists(PUBLISHED | JSON, max_size=3),
    by_index=st.booleans(),
    csv=st.lists(st.lists(CELL, max_size=4), max_size=3),
    seed=SEED,
)
def test_published_answers(
    place: Path, form: str, records: list[Any], by_index: bool, csv: list[list[str]], seed: int
) -> None:
    content: Any = {str(n): record for n, record in enumerate(records)} if by_index else records
    lines = "\n".join(map(json.dumps, records))
    asked = place / ("asked.json" if form == "logicvista" else "asked.jsonl")
    asked.write_text(json.dumps(content) if form == "logicvista" else lines)
    path = place / {"mathvista": "said.json", "logicvista": "said.csv"}.get(form, "said.jsonl")
    data = (json.dumps(content) if form == "mathvista" else lines).encode()
    if form == "logicvista":
        data = table(["id", "x answer raw", "match?"], csv).replace(b"\t", b",")
    for each in neighbours(data, seed):
        path.write_bytes(each)
        with or_refused(place.name, DataError):
            for answer in read_answers(form, path, asked):  # type: ignore[arg-type]
                assert isinstance(answer.response, str)
                assert answer.verdict in (True, False)


RECORD = st.fixed_dictionaries(
    {},
    optional={
        "question": TEXT | JSON,
        "answer": TEXT | JSON,
        "options": JSON | st.just("['3', '5']"),
        "A": TEXT | JSON,
        "image": TEXT | JSON | st.just(base64.b64encode(b"picture").decode()),
        "images": st.lists(TEXT | JSON, max_size=2) | JSON,
        "messages": JSON
        | st.lists(
            st.fixed_dictionaries({"role": st.sampled_from(["user", "gpt"]), "content": TEXT | JSON}), max_size=2
        ),
    },
)


@MANY
@given(
    form=st.sampled_from([".jsonl", ".json", ".tsv"]),
    records=st.lists(RECORD | JSON, max_size=3),
    rows=st.lists(st.lists(CELL, min_size=12, max_size=12), max_size=3),
    seed=SEED,
)
def test_questions_to_distil_from(place: Path, form: str, records: list[Any], rows: list[list[str]], seed: int) -> None:
    folder = place / "questions"
    folder.mkdir(exist_ok=True)
    texts = {".jsonl": "\n".join(map(json.dumps, records)).encode(), ".json": json.dumps(records).encode()}
    for each in neighbours(texts.get(form, table(HEADS, rows)), seed):
        (folder / f"q{form}").write_bytes(each)
        taken = take(read_records(folder, f"q{form}"), folder, PictureLimits(), place / "taken")
        assert taken.questions <= taken.records
        assert len((place / "taken" / "questions.jsonl").read_bytes().splitlines()) == taken.questions
