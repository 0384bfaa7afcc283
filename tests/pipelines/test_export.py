"""An archive of results is read back whole, holds no weights and nothing of a benchmark, and is the same every time."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from drift.files import write_jsonl
from pipelines import export
from pipelines.errors import ConfigError, StoreError

VERDICT = {"index": "7", "correct": True, "rule": "boxed", "mode": "official", "gold": "SECRET", "extraction": "SECRET"}


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    """A results folder and a store with the artifact that it names."""
    results, store = tmp_path / "results", tmp_path / "store"
    (results / "tables").mkdir(parents=True)
    (results / "tables" / "table2.csv").write_text("row,MathVista\nSFT,68.7\n")
    (results / "provenance.json").write_text(json.dumps({"artifacts": {"score/abc": {}}}))
    folder = store / "score" / "abc"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"fingerprint": "abc"}')
    (folder / "model.safetensors").write_bytes(b"weights")
    write_jsonl(folder / "MathVista.verdicts.jsonl", [VERDICT])
    return results, store


def opened(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = archive.getmembers()
        assert {(m.mtime, m.uid, m.uname) for m in members} == {(0, 0, "")}
        return {member.name: archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]


def test_what_was_packed_is_read_back_and_hashes_to_its_list(made: tuple[Path, Path]) -> None:
    files = export.collect(*made, answers=False)
    content = export.pack(files, {"profile": "lab"})
    back = opened(content)
    assert {name: back[name] for name in files} == files
    index = json.loads(back[export.INDEX])
    assert (index["profile"], set(index["files"])) == ("lab", set(files))
    listed = dict(line.split("  ")[::-1] for line in back[export.HASHES].decode().splitlines())
    assert listed == {name: hashlib.sha256(files[name]).hexdigest() for name in files}
    assert export.pack(export.collect(*made, answers=False), {"profile": "lab"}) == content


def test_no_weights_and_no_word_of_a_benchmark_unless_asked_for(made: tuple[Path, Path]) -> None:
    files = export.collect(*made, answers=False)
    assert set(files) == {
        "results/provenance.json", "results/tables/table2.csv",
        "artifacts/score/abc/manifest.json", "artifacts/score/abc/MathVista.verdicts.jsonl",
    }  # fmt: skip
    verdicts = files["artifacts/score/abc/MathVista.verdicts.jsonl"]
    assert json.loads(verdicts) == {"index": "7", "correct": True, "rule": "boxed", "mode": "official"}
    asked = export.collect(*made, answers=True)
    assert b"SECRET" in asked["artifacts/score/abc/MathVista.verdicts.jsonl"]


def test_what_is_missing_is_named(made: tuple[Path, Path], tmp_path: Path) -> None:
    results, store = made
    with pytest.raises(StoreError, match="holds no results; make them first"):
        export.collect(tmp_path, store, answers=False)
    with pytest.raises(StoreError, match="names score/abc, which is not in"):
        export.collect(results, tmp_path / "empty", answers=False)
    with pytest.raises(ConfigError, match="answers='maybe', expected yes or no"):
        export.export(["answers=maybe"])
