"""What neither a plan nor published results refer to is listed and goes only where it is asked for."""

import json
import os
from pathlib import Path

import pytest

from pipelines import gc
from pipelines.errors import ConfigError, DamageError
from pipelines.store import Artifact, Store


def made(store: Store, stage: str, mark: str, **inputs: Artifact) -> Artifact:
    with store.writing(stage, mark) as partial:
        (partial / "file").write_text(mark)
        marks = {name: item.fingerprint for name, item in inputs.items()}
        return store.commit(partial, {"stage": stage, "fingerprint": mark, "values": {}, "inputs": marks})


def test_what_results_were_made_from_stays_and_the_rest_is_listed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    model = made(store, "model", "a" * 64)
    answers = made(store, "generate", "b" * 64, model=model)
    score = made(store, "score", "c" * 64, responses=answers)
    lost = made(store, "score", "d" * 64, responses=answers)
    (tmp_path / "results" / "lab").mkdir(parents=True)
    place = f"score/{score.path.name}"
    (tmp_path / "results" / "lab" / "provenance.json").write_text(json.dumps({"artifacts": {place: {}}}))
    kept = gc.published(store, tmp_path / "results")
    assert kept == {score.path}
    assert gc.unreferenced(store, [*kept]) == [lost.path]


def test_nothing_is_chosen_by_a_manifest_that_is_damaged(tmp_path: Path) -> None:
    model = made(Store(tmp_path), "model", "a" * 64)
    (model.path / "manifest.json").write_text("null")
    with pytest.raises(DamageError, match=r"model/a{20}/manifest\.json is damaged"):
        gc.unreferenced(Store(tmp_path), [model.path])


def test_partial_work_is_left_for_a_day(tmp_path: Path) -> None:
    store = Store(tmp_path)
    partial = store.partial("train", "e" * 64)
    partial.mkdir(parents=True)
    assert gc.unreferenced(store, []) == []
    os.utime(partial, (0, 0))
    assert gc.unreferenced(store, []) == [partial]


def test_nothing_is_removed_unless_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.tables.names", lambda: ["table3"])  # a plan of all of them takes seconds
    store = Store(tmp_path)
    lost = made(store, "score", "d" * 64)
    words = [f"store={tmp_path}", "profile=smoke"]
    assert gc.collect(words) == 0
    assert lost.path.exists()
    assert "1 folders, 0.0 MB to remove: drift gc --delete" in capsys.readouterr().out
    assert gc.collect([*words, "--delete"]) == 0
    assert not lost.path.exists()
    assert not store.record(lost.path).exists()
    with pytest.raises(ConfigError, match="unknown option '--delte': did you mean '--delete'"):
        gc.collect(["--delte"])
