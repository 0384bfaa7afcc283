"""An artifact exists whole or not at all, belongs to one writer, and notices damage."""

import json
from pathlib import Path

import pytest

from pipelines.errors import StoreError
from pipelines.store import MANIFEST, Artifact, Store

MARK = "f" * 64


def make(root: Path) -> Artifact:
    store = Store(root)
    with store.writing("toy", MARK) as partial:
        (partial / "folder").mkdir()
        (partial / "folder" / "data.txt").write_text("hello")
        return store.commit(partial, {"stage": "toy", "fingerprint": MARK, "values": {"x": 1}})


def test_what_was_committed_is_found_with_its_values(tmp_path: Path) -> None:
    make(tmp_path)
    found = Store(tmp_path).find("toy", MARK)
    assert found is not None
    assert found.values == {"x": 1}
    assert (found.path / "folder" / "data.txt").read_text() == "hello"


def test_an_unfinished_artifact_is_not_there_and_its_files_wait_to_be_resumed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.writing("toy", MARK) as partial:
        (partial / "half.txt").write_text("half")
    assert store.find("toy", MARK) is None
    with store.writing("toy", MARK) as partial:
        assert (partial / "half.txt").read_text() == "half"


def test_a_second_writer_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    import os

    store = Store(tmp_path)
    with (
        store.writing("toy", MARK),
        pytest.raises(StoreError, match=f"is being written by process {os.getpid()}"),
        Store(tmp_path).writing("toy", MARK),
    ):
        pass


def test_a_file_of_another_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    artifact = make(tmp_path)
    (artifact.path / "folder" / "data.txt").write_text("hell")
    with pytest.raises(StoreError, match=r"data\.txt has 4 bytes, its manifest says 5.*rm -r"):
        Store(tmp_path).find("toy", MARK)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    artifact = make(tmp_path)
    (artifact.path / "folder" / "data.txt").unlink()
    with pytest.raises(StoreError, match=r"data\.txt is missing"):
        Store(tmp_path).find("toy", MARK)


def test_a_flipped_byte_is_found_by_verify(tmp_path: Path) -> None:
    artifact = make(tmp_path)
    artifact.verify()
    (artifact.path / "folder" / "data.txt").write_text("jello")
    with pytest.raises(StoreError, match="differs from its manifest"):
        artifact.verify()


def test_the_manifest_records_every_file(tmp_path: Path) -> None:
    files = json.loads((make(tmp_path).path / MANIFEST).read_text())["files"]
    assert files["folder/data.txt"]["size"] == 5
    assert len(files["folder/data.txt"]["sha256"]) == 64
