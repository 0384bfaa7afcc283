"""An artifact exists whole or not at all, has one writer at a time, and notices damage."""

import json
import os
import threading
import time
from collections.abc import Callable
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


def test_a_second_writer_waits_for_the_first_and_finds_its_artifact(tmp_path: Path) -> None:
    entered = threading.Event()
    found: list[Artifact | None] = []

    def second() -> None:
        entered.set()
        store = Store(tmp_path)
        with store.holding("toy", MARK):
            found.append(store.find("toy", MARK))

    thread = threading.Thread(target=second)
    with Store(tmp_path).writing("toy", MARK) as partial:
        holder = Store(tmp_path).holder("toy", MARK)
        assert holder is not None
        assert holder.pid == os.getpid()
        thread.start()
        assert entered.wait(5)
        time.sleep(0.3)
        assert not found
        Store(tmp_path).commit(partial, {"stage": "toy", "fingerprint": MARK, "values": {"x": 1}})
    thread.join(timeout=10)
    assert found[0] is not None
    assert found[0].values == {"x": 1}
    assert list((tmp_path / ".partial").iterdir()) == []


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


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: "", "damaged"),
        (lambda text: "[1, 2]", "damaged: .*dictionary"),
        (lambda text: text.replace('"fingerprint"', '"finger"'), "damaged: .*fingerprint"),
        (lambda text: text.replace('"size": 5', '"size": "five"'), "damaged: .*size"),
        (lambda text: text.replace(MARK, "e" * 64), "is of toy e+, expected toy f+"),
        (lambda text: json.dumps(json.loads(text) | {"files": {}}), r"lists no files, and folder/data\.txt is there"),
        (lambda text: json.dumps(json.loads(text) | {"files": None}), "damaged: .*files"),
    ],
)
def test_a_damaged_manifest_is_told_with_the_remedy(tmp_path: Path, damage: Callable[[str], str], message: str) -> None:
    path = make(tmp_path).path / MANIFEST
    path.write_text(damage(path.read_text()))
    with pytest.raises(StoreError, match=rf"manifest\.json.*{message}.*Remove the artifact.*: rm -r {path.parent}"):
        Store(tmp_path).find("toy", MARK)


def test_a_folder_without_its_manifest_is_set_aside_and_made_again(tmp_path: Path) -> None:
    (make(tmp_path).path / MANIFEST).unlink()
    assert Store(tmp_path).find("toy", MARK) is None
    assert make(tmp_path).values == {"x": 1}
    (aside,) = (tmp_path / ".quarantine").iterdir()
    assert (aside / "folder" / "data.txt").read_text() == "hello"


def test_an_artifact_that_is_a_link_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path).path
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"is a link to .*elsewhere.*put the whole store there"):
        Store(tmp_path).find("toy", MARK)
