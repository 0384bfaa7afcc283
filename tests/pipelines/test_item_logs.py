"""Items in other viewers' forms: read back by inspect_ai's own reader, and by what lm-eval's scripts look for."""

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from recorded import World, world

from pipelines import export
from pipelines.errors import ConfigError, StoreError

__all__ = ["world"]
ROOT = Path(__file__).resolve().parents[2]
INSPECT = Path(os.environ.get("DRIFT_INSPECT_PYTHON", ROOT / ".venv-inspect" / "bin" / "python"))
READ = """
import json, sys
from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries
log = read_eval_log(sys.argv[1], resolve_attachments=True)
sample = log.samples[0]
image, text = sample.input[0].content
print(json.dumps({
    "status": log.status, "task": log.eval.task, "model": log.eval.model, "samples": len(log.samples),
    "accuracy": log.results.scores[0].metrics["accuracy"].value, "image": image.image[:22], "question": text.text,
    "target": sample.target, "reply": sample.output.completion, "score": sample.scores["official"].value,
    "answer": sample.scores["official"].answer, "rule": sample.scores["official"].metadata["rule"],
    "summaries": [summary.scores["official"].value for summary in read_eval_log_sample_summaries(sys.argv[1])],
}))
"""


@pytest.fixture
def words(world: World) -> list[str]:
    """Results of one cell, in a store, and where they lie."""
    score = world.score("test")
    results = world.folder.parent / "results"
    results.mkdir()
    place = f"score/{score.path.name}"
    (results / "provenance.json").write_text(json.dumps({"cells": {"table3": {"DRIFT": {"0": {"score": place}}}}}))
    return [f"store={world.store.root}", f"results={results}", f"out={world.folder.parent / 'out'}"]


def out(words: list[str]) -> Path:
    return Path(words[-1].removeprefix("out="))


@pytest.mark.skipif(not INSPECT.exists(), reason="inspect_ai is not installed: make setup-inspect")
def test_inspect_s_own_reader_finds_question_picture_reply_and_verdict(words: list[str]) -> None:
    assert export.export(["--inspect", *words]) == 0
    (log,) = out(words).glob("*_LabMathVista_*.eval")
    said = subprocess.run([str(INSPECT), "-c", READ, str(log)], capture_output=True, text=True, check=True)
    assert json.loads(said.stdout) == {
        "status": "success", "task": "LabMathVista", "model": "qwen2_5_vl_r1 default drift seed=0", "samples": 2,
        "accuracy": 0.5, "image": "data:image/png;base64,", "question": "test 1? think", "target": "1",
        "reply": "The answer is \\boxed{1}", "score": "C", "answer": "1", "rule": "boxed", "summaries": ["C", "I"],
    }  # fmt: skip


def test_a_log_has_the_parts_of_the_format_and_the_same_score_gives_the_same_bytes(words: list[str]) -> None:
    export.export(["--inspect", *words])
    (log,) = out(words).iterdir()
    before = log.read_bytes()
    with zipfile.ZipFile(log) as archive:
        names = archive.namelist()
        header = json.loads(archive.read("header.json"))
    assert names == [
        "_journal/start.json", "samples/1_epoch_1.json", "samples/2_epoch_1.json", "summaries.json", "header.json",
    ]  # fmt: skip
    assert header["results"]["scores"][0]["metrics"]["accuracy"] == {"name": "accuracy", "value": 0.5}
    export.export(["--inspect", *words])
    assert log.read_bytes() == before


def test_lm_eval_s_samples_are_named_and_filled_as_its_scripts_read_them(words: list[str]) -> None:
    export.export(["--lm-eval", *words, "table=table3"])
    (samples,) = out(words).rglob("samples_*.jsonl")
    (results,) = out(words).rglob("results_*.json")
    name = samples.name
    assert name[name.find("_") + 1 : name.rfind("_")] == "LabMathVista", "as the harness reads a task out of the name"
    first, second = map(json.loads, samples.read_text().splitlines())
    assert (first["doc"]["question"], first["target"], first["resps"]) == (
        "test 1?",
        "1",
        [["The answer is \\boxed{1}"]],
    )
    assert (first["filtered_resps"], first["accuracy"], second["accuracy"]) == (["1"], 1.0, 0.0)
    assert set(first) >= {"doc_id", "arguments", "filter", "metrics", "doc_hash", "prompt_hash", "target_hash"}
    assert json.loads(results.read_text())["results"]["LabMathVista"]["accuracy,none"] == 0.5


def test_what_is_not_there_is_refused(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--inspekt: .*--inspect"):
        export.export(["--inspekt", *words])
    with pytest.raises(ConfigError, match=r"table=tabel3: .*table3"):
        export.export(["--inspect", "table=tabel3", *words])
    with pytest.raises(StoreError, match="holds no results"):
        export.export(["--inspect", f"results={tmp_path / 'none'}"])
    with pytest.raises(StoreError, match=r"the results name score/.*, which is not in"):
        export.export(["--inspect", *words[1:], f"store={tmp_path / 'elsewhere'}"])
