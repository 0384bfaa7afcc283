"""Whole files, hashes and JSON lines."""

import hashlib
from pathlib import Path

import pytest

from drift.errors import DataError
from drift.files import md5_of, read_jsonl, replacing, sha256_of, write_jsonl, write_whole


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "x.txt"
    write_whole(path, "old")

    def half() -> None:
        with replacing(path) as stream:
            stream.write(b"ne")
            raise ValueError("the writer stopped")

    with pytest.raises(ValueError, match="stopped"):
        half()
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["x.txt"]


def test_hashes_are_those_of_hashlib(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_whole(path, b"abc" * 1000)
    assert sha256_of(path) == hashlib.sha256(b"abc" * 1000).hexdigest()
    assert md5_of(path) == hashlib.md5(b"abc" * 1000, usedforsecurity=False).hexdigest()


def test_json_lines_come_back_even_with_a_lone_surrogate(tmp_path: Path) -> None:
    records = [{"index": "1", "response": "\ud800 ü"}, {"index": "2"}]
    write_jsonl(tmp_path / "x.jsonl", records)
    assert read_jsonl(tmp_path / "x.jsonl") == records


def test_a_torn_end_is_dropped_only_where_that_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n{"a": 2')
    assert read_jsonl(path, allow_torn_end=True) == [{"a": 1}]
    with pytest.raises(DataError, match=r"x\.jsonl:2: not JSON"):
        read_jsonl(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[1]\n", ":1: list; expected an object"), (b"\xff\n", ":1: not JSON"), (b'{"a"\n', ":1: not JSON")],
)
def test_a_line_that_is_no_object_is_refused_with_its_number(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_jsonl(path)


def test_a_missing_file_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file; expected predictions"):
        read_jsonl(tmp_path / "none", "predictions")
