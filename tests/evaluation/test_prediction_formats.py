"""Predictions in every format are the same predictions; a broken file is refused with its row and column."""

import gzip
import json
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drift.errors import DataError
from evaluation.data.predictions import Prediction, Waiting, iter_predictions, read_predictions

RESPONSES = {"1": "so \\boxed{3}", "2": 'two\nlines, "quoted"\tand a tab', "7": "None", "x_1": "é ∞"}


def write(folder: Path, form: str, column: str = "response") -> Path:
    """`RESPONSES` in a format."""
    path = folder / f"p.{form}"
    rows = [{"index": index, "question": "q", column: text} for index, text in RESPONSES.items()]
    if form == "json":
        path.write_text(json.dumps(rows, indent=4))
    elif form in ("jsonl", "jsonl.gz"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if form.endswith("gz") else text.encode())
    elif form == "xlsx":
        book = openpyxl.Workbook()
        for line in (list(rows[0]), *(list(row.values()) for row in rows)):
            book.active.append(line)
        book.save(path)
    else:
        import pandas

        pandas.DataFrame(rows).to_csv(path, sep="\t" if form == "tsv" else ",", index=False, quoting=1)
    return path


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "json", "tsv", "csv", "xlsx"])
@pytest.mark.parametrize("column", ["response", "prediction"])
def test_each_format_holds_the_same_predictions(tmp_path: Path, form: str, column: str) -> None:
    assert read_predictions(write(tmp_path, form, column)) == RESPONSES


def test_an_object_by_index_is_a_file_of_predictions_too(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps({"1": "a", "2": {"response": "b", "prediction": "its extraction"}}))
    assert read_predictions(tmp_path / "p.json") == {"1": "a", "2": "b"}


def test_a_number_of_any_length_is_an_answer_as_it_is_written(tmp_path: Path) -> None:
    long = "9" * 400  # no float holds it
    (tmp_path / "p.jsonl").write_text(f'{{"index": {long}, "prediction": {long}}}\n')
    assert read_predictions(tmp_path / "p.jsonl") == {long: long}


def test_a_spreadsheets_numbers_are_indices_and_answers_and_its_escapes_are_characters(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for line in (["index", "prediction", "answer"], [1.0, 3.5, 4], [2, "a_x000D_b", None], [3, None, "x"]):
        book.active.append(line)
    book.save(tmp_path / "p.xlsx")
    expected = [Prediction("1", "3.5", "4"), Prediction("2", "a\rb"), Prediction("3", "", "x")]
    assert list(iter_predictions(tmp_path / "p.xlsx")) == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "p.jsonl",
            '{"index": 1, "response": "a"}\n{"index": 2, "response": NaN}',
            r"p.jsonl:2, column 'response': nan",
        ),
        ("p.jsonl", '{"index": NaN, "response": "a"}', r"p.jsonl:1, column 'index': nan is no answer"),
        ("p.jsonl", '{"index": 1, "response": ["a"]}', r"p.jsonl:1, column 'response': \['a'\] is no answer"),
        ("p.jsonl", '{"index": 1, "answer": "a"}', r"p.jsonl:1: \['response'\] missing.*known: answer, index"),
        ("p.jsonl", "\x00\x01", r"p.jsonl:1: not JSON"),
        ("p.json", '[{"index": 1, "prediction": Infinity}]', r"record 1, column 'prediction': inf is no answer"),
        ("p.json", '[{"index": 1, "prediction": "a"}, {"index": 2', r"record 2 is not JSON.*was the file cut"),
        ("p.json", '[{"index": 1, "prediction": "a"} {}]', r"record 1 is followed by '{'; expected a comma"),
        ("p.json", '[{"index": 1, "prediction": "a"}] x', r"'x' stands behind the list of 1 records"),
        ("p.json", "[1]", r"record 1 is int; expected an object"),
        ("p.json", "[" * 100_000, r"record 1 is not JSON"),
        ("p.json", "3", r"expected a list of records of predictions, or one object by index"),
        ("p.json", "[]", r"no lines; expected predictions"),
        ("p.tsv", "index\tprediction\n1\ta\n2", r"p.tsv:3: expected 2 cells.*ragged"),
        ("p.tsv", "index\tprediction\n1\ta\tb\n", r"p.tsv:2: expected 2 cells.*ragged"),
        ("p.tsv", 'index\tprediction\n1\t"a', r"not readable behind line 1 \(unexpected end of data\)"),
        ("p.tsv", "question\tprediction\nq\ta\n", r"p.tsv:2: \['index'\] missing"),
        ("p.jsonl.gz", "no gzip", r"not readable \(Not a gzipped file"),
    ],
)
def test_a_broken_file_is_refused_with_its_row_and_column(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=rf"(?s){message}"):
        read_predictions(tmp_path / name)


def test_a_broken_spreadsheet_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path, "xlsx").read_bytes()
    (tmp_path / "p.xlsx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a readable xlsx of predictions"):
        read_predictions(tmp_path / "p.xlsx")
    book = openpyxl.Workbook()
    for line in (["index", "prediction"], [1, "#DIV/0!"]):
        book.active.append(line)
    book.save(tmp_path / "p.xlsx")
    with pytest.raises(DataError, match="row 2, cell B2 is the error #DIV/0!; expected text"):
        read_predictions(tmp_path / "p.xlsx")


def test_what_waits_on_disk_comes_back_by_index_and_says_what_nobody_took(tmp_path: Path) -> None:
    predictions = [Prediction(str(k), f"answer {k} \ud800", "g") for k in range(1200)]
    with Waiting.of(tmp_path / "p", iter(predictions)) as waiting:
        taken = waiting.take([str(k) for k in range(1000, 3000)])
        assert (waiting.count, waiting.matched) == (1200, 200)
        assert taken == {p.index: p for p in predictions[1000:]}
    with (
        pytest.raises(DataError, match="index '3' appears twice"),
        Waiting.of(tmp_path / "p", iter(predictions[3:4] * 2)),
    ):
        pass


def mutations(folder: Path, form: str, count: int) -> int:
    """Reads files with bytes changed, cut out and put in; how many were refused, each with a DataError."""
    whole, refused = write(folder, form).read_bytes(), 0
    place, byte = st.integers(0, len(whole) - 1), st.binary(min_size=0, max_size=4)

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(place, st.integers(0, 9), byte), min_size=1, max_size=4))
    def read(changes: list[tuple[int, int, bytes]]) -> None:
        nonlocal refused
        data = whole
        for start, length, put in changes:
            data = data[:start] + put + data[start + length :]
        path = folder / f"mutant.{form}"
        path.write_bytes(data)
        try:
            found = read_predictions(path)
        except DataError as error:
            found, refused = {path.name: str(error)}, refused + (path.name in str(error))
        assert all(isinstance(text, str) for text in found.values())

    read()
    return refused


@pytest.mark.parametrize("form", ["jsonl", "json", "tsv", "xlsx", "jsonl.gz"])
def test_no_damage_is_a_traceback(tmp_path: Path, form: str) -> None:
    assert mutations(tmp_path, form, 60) > 0


@pytest.mark.slow
@pytest.mark.parametrize("form", ["jsonl", "json", "tsv", "csv", "xlsx", "jsonl.gz"])
def test_no_damage_is_a_traceback_in_many_tries(tmp_path: Path, form: str) -> None:
    assert mutations(tmp_path, form, 20_000) > 0
