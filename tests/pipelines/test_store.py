"""An artifact exists whole or not at all, has one writer at a time, and notices damage."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drift.files import sha256_of
from pipelines import integrity
from pipelines.errors import DamageError, StoreError
from pipelines.layout import SUMMARY
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
    with pytest.raises(DamageError, match=r"data\.txt has 4 bytes, its manifest says 5; a run sets it aside"):
        Store(tmp_path).find("toy", MARK)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    artifact = make(tmp_path)
    (artifact.path / "folder" / "data.txt").unlink()
    with pytest.raises(DamageError, match=r"data\.txt is missing"):
        Store(tmp_path).find("toy", MARK)


def test_a_flipped_byte_is_found_at_the_next_use(tmp_path: Path) -> None:
    artifact = make(tmp_path)
    assert Store(tmp_path).take("toy", MARK, {}) is not None
    (artifact.path / "folder" / "data.txt").write_text("jello")
    for look in (lambda store: store.take("toy", MARK, {}), lambda store: store.check(artifact)):
        with pytest.raises(DamageError, match=r"data\.txt differs from its manifest"):
            look(Store(tmp_path))
    assert Store(tmp_path).usable("toy", MARK) is None


def test_what_was_found_whole_is_not_read_again_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, read = make(tmp_path), []
    monkeypatch.setattr(integrity, "sha256_of", lambda path: read.append(path.name) or sha256_of(path))
    Store(tmp_path).take("toy", MARK, {})
    assert not read
    os.utime(artifact.path / "folder" / "data.txt")
    Store(tmp_path).take("toy", MARK, {})
    Store(tmp_path).take("toy", MARK, {})
    assert read == ["data.txt"]


def test_a_file_that_no_manifest_lists_is_damage(tmp_path: Path) -> None:
    (make(tmp_path).path / "folder" / "more.txt").write_text("x")
    with pytest.raises(DamageError, match=r"folder/more\.txt is not in the manifest"):
        Store(tmp_path).find("toy", MARK)


def test_a_file_that_became_a_link_is_damage_and_one_that_always_was_is_none(tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("hello")
    store = Store(tmp_path / "store")
    with store.writing("toy", MARK) as partial:
        (partial / "ours.txt").write_text("hello")
        (partial / "theirs.txt").symlink_to(tmp_path / "outside.txt")
        artifact = store.commit(partial, {"stage": "toy", "fingerprint": MARK, "values": {}})
    assert store.take("toy", MARK, {}) is not None
    (artifact.path / "ours.txt").unlink()
    (artifact.path / "ours.txt").symlink_to(tmp_path / "outside.txt")
    with pytest.raises(DamageError, match=r"ours\.txt is a link to .*outside\.txt"):
        store.find("toy", MARK)


def test_what_a_killed_writer_left_is_not_sealed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.writing("toy", MARK) as partial:
        (partial / "data.txt").write_text("hello")
        (partial / ".data.txt.4711.part").write_text("hel")
        artifact = store.commit(partial, {"stage": "toy", "fingerprint": MARK, "values": {}})
    assert list(artifact.manifest["files"]) == ["data.txt"]
    assert not list(artifact.path.glob(".*"))


def test_a_manifest_of_before_there_were_seals_is_taken_and_its_edit_is_found(tmp_path: Path) -> None:
    path = make(tmp_path).path / MANIFEST
    old = {key: value for key, value in json.loads(path.read_text()).items() if key not in ("seal", "links")}
    path.write_text(json.dumps(old))
    (record,) = (tmp_path / ".verified").iterdir()
    record.unlink()
    assert Store(tmp_path).take("toy", MARK, {}) is not None
    path.write_text(json.dumps(old | {"values": {"x": 2}}))
    with pytest.raises(DamageError, match=r"manifest\.json was changed since it was written"):
        Store(tmp_path).take("toy", MARK, {})


def test_two_runs_that_differ_in_their_time_alone_hold_the_same() -> None:
    def manifest(digest: str, seconds: float, **values: float) -> dict[str, Any]:
        files = {SUMMARY: {"sha256": digest}, "model/model.safetensors": {"sha256": "b"}}
        return {"fingerprint": MARK, "values": {"seconds": seconds, **values}, "files": files}

    assert integrity.content(manifest("a", 1.0, loss=0.5)) == integrity.content(manifest("c", 2.0, loss=0.5))
    assert integrity.content(manifest("a", 1.0, loss=0.5)) != integrity.content(manifest("a", 1.0, loss=0.6))


def test_one_that_was_made_from_another_input_is_not_taken(tmp_path: Path) -> None:
    store, other = Store(tmp_path), "e" * 64
    source = make(tmp_path)
    with store.writing("toy", other) as partial:
        store.commit(partial, {"stage": "toy", "fingerprint": other, "values": {}, "links": {"a": source.content}})
    assert store.take("toy", other, {"a": source}) is not None
    changed = Artifact(source.path, source.manifest | {"values": {"x": 2}})
    with pytest.raises(DamageError, match=r"was made from another a than is in the store now"):
        store.take("toy", other, {"a": changed})


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
        (lambda text: json.dumps(json.loads(text) | {"files": {}}), "was changed since it was sealed"),
        (lambda text: json.dumps(json.loads(text) | {"values": {"x": 2}}), "was changed since it was sealed"),
        (lambda text: json.dumps(json.loads(text) | {"files": None}), "damaged: .*files"),
    ],
)
def test_a_damaged_manifest_is_told_with_the_remedy(tmp_path: Path, damage: Callable[[str], str], message: str) -> None:
    path = make(tmp_path).path / MANIFEST
    path.write_text(damage(path.read_text()))
    with pytest.raises(DamageError, match=rf"manifest\.json.*{message}.*; a run sets it aside"):
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
