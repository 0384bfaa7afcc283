"""`drift verify` reads every byte, and says whether committed results follow from what they name."""

import json
from pathlib import Path

import pytest

from pipelines import integrity, verify
from pipelines.errors import DamageError, StoreError
from pipelines.integrity import Record
from pipelines.report.committed import check_results
from pipelines.report.marked import STUDY
from pipelines.store import MANIFEST, Artifact, Store


def made(store: Store, mark: str, text: str, **links: Artifact) -> Artifact:
    with store.writing("toy", mark) as partial:
        (partial / "data.txt").write_text(text)
        manifest = {"stage": "toy", "fingerprint": mark, "values": {}}
        manifest["inputs"] = {name: artifact.fingerprint for name, artifact in links.items()}
        manifest["links"] = {name: artifact.content for name, artifact in links.items()}
        return store.commit(partial, manifest)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_whole_store_has_no_faults(store: Store) -> None:
    made(store, "b" * 64, "made from it", source=made(store, "a" * 64, "hello"))
    said, faults = verify.check_store(store)
    assert said.startswith("2 artifacts of")
    assert not faults


def test_a_byte_that_changed_and_left_no_trace_is_found_and_not_trusted_again(store: Store) -> None:
    artifact = made(store, "a" * 64, "hello")
    (artifact.path / "data.txt").write_text("jello")
    found = integrity.marks_of(integrity.inventory(artifact.path))
    Record(artifact.manifest["seal"], {}, found).write(store.record(artifact.path))  # as a failing disk leaves it
    assert store.take("toy", "a" * 64, {}) is not None, "a use looks at size, times and inode"
    _, faults = verify.check_store(store)
    assert len(faults) == 1
    assert "data.txt differs from its manifest (sha256); a run sets it aside" in faults[0]
    with pytest.raises(DamageError, match="differs"):
        store.take("toy", "a" * 64, {})


def test_every_kind_of_damage_is_named_once(store: Store) -> None:
    paths = [made(store, letter * 64, "hello").path for letter in "abcdef"]
    (paths[0] / MANIFEST).unlink()
    (paths[1] / MANIFEST).write_text("{")
    (paths[2] / "data.txt").unlink()
    (paths[3] / "more.txt").write_text("x")
    paths[4].rename(store.root / "moved")
    paths[4].symlink_to(store.root / "moved")
    (paths[5] / MANIFEST).write_text((paths[5] / MANIFEST).read_text().replace('"values": {}', '"values": {"x": 1}'))
    faults = verify.check_store(store)[1]
    for path, why in zip(
        paths, ("no manifest", "damaged", "missing", "not in the", "is a link", "was changed"), strict=True
    ):
        assert sum(str(path) in fault and why in fault for fault in faults) == 1, faults
    assert len(faults) == 6


def test_one_that_was_made_from_what_is_no_more_is_a_fault(store: Store) -> None:
    source = made(store, "a" * 64, "hello")
    made(store, "b" * 64, "made from it", source=source)
    source.path.rename(store.root / "old")
    made(store, "a" * 64, "another")
    faults = verify.check_store(store)[1]
    assert len(faults) == 1
    assert "was made from another source than is there" in faults[0]


def test_a_store_of_before_there_were_seals_is_taken_up(store: Store) -> None:
    source = made(store, "a" * 64, "hello")
    target = made(store, "b" * 64, "made from it", source=source)
    for artifact in (source, target):
        old = {key: value for key, value in artifact.manifest.items() if key not in ("seal", "links")}
        (artifact.path / MANIFEST).write_text(json.dumps(old))
        store.record(artifact.path).unlink()
    assert not verify.check_store(store)[1]
    assert store.take("toy", "b" * 64, {"source": source}) is not None


def test_an_empty_store_is_told(store: Store) -> None:
    with pytest.raises(StoreError, match="holds no artifacts; make some first"):
        verify.check_store(store)


def results(folder: Path, value: float = 50.0) -> Path:
    marks = ["a" * 20, "b" * 20]
    record = {"label": "x", "environment": 0}
    artifacts = {
        f"score/{mark}": {**record, "fingerprint": mark * 3, "values": {"A": v, "B": v + 10, "B_loose": v + 20}}
        for mark, v in zip(marks, (40.0, 60.0), strict=True)
    }
    (folder / "tables").mkdir(parents=True)
    (folder / "report.md").write_text("the page")
    (folder / "provenance.json").write_text(json.dumps({"artifacts": artifacts, "cells": {}, "environments": []}))
    lines = ["table,row,benchmark,value,std,n,seeds,ci_low,ci_high,paper_value,fingerprint"]
    for column, mean in (("A", value), ("B", 60.0), ("B_loose", 70.0), ("Avg", 60.0)):
        lines.append(f"t,DRIFT,{column},{mean},14.1421,20,2,,,,{'+'.join(marks)}")
    (folder / "tables" / "t_long.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_without_a_store_numbers_follow_from_the_values_of_their_provenance(tmp_path: Path) -> None:
    said, faults = check_results(results(tmp_path / "lab"), Store(tmp_path / "none"))
    assert "4 numbers" in said
    assert "holds no report" in said
    assert not faults


def test_a_number_that_was_edited_is_named(tmp_path: Path) -> None:
    _, faults = check_results(results(tmp_path / "lab", value=51.0), Store(tmp_path / "none"))
    assert faults == ["t_long, 'DRIFT', A: value is 51.0, its artifacts give 50.0"]


def test_with_a_store_each_file_is_a_reports_and_each_artifact_is_there(tmp_path: Path) -> None:
    store, folder = Store(tmp_path), results(tmp_path / "lab")
    with store.writing("report", "c" * 64) as partial:
        (partial / "tables").mkdir()
        for name in ("report.md", "provenance.json", "tables/t_long.csv"):
            (partial / name).write_bytes((folder / name).read_bytes())
        store.commit(partial, {"stage": "report", "fingerprint": "c" * 64, "values": {}})
    assert [fault.partition(" ")[0] for fault in check_results(folder, store)[1]] == [
        f"score/{'a' * 20}",
        f"score/{'b' * 20}",
    ]
    faults = check_results(folder, store)[1]
    (folder / "report.md").write_text(STUDY.insert("the page", "What a study says.", "## Findings"))
    assert check_results(folder, store)[1] == faults  # what a study says stands beside the artifact
    (folder / "report.md").write_text("another page")
    assert any("report.md is not what any report" in fault for fault in check_results(folder, store)[1])


def test_results_without_provenance_are_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no provenance\.json"):
        check_results(tmp_path, Store(tmp_path))
