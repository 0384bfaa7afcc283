"""evaluator=vlmevalkit sets the toolkit's verdicts beside ours, changes none of ours, and is named by its commit."""

import csv
import json
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_commands import command

from drift.errors import DataError
from evaluation.data.tsv import encode_image, write_rows
from evaluation.judging.config import RulesJudge
from evaluation.toolkit.job import PYTHON_VARIABLE, ToolkitError
from pipelines import compose, plan, revisions
from pipelines.errors import ConfigError, StageError
from pipelines.stage import Runtime
from pipelines.stages import ScoreParams, SecondOpinionParams
from pipelines.stages.evaluate import score_responses
from pipelines.stages.second_opinion import compare_with_toolkit

COMMIT = "c" * 40
TOOLKIT = Path(__file__).parents[1] / "evaluation" / "toolkit_standin.py"
KEYS = [("2steps_1", "1"), ("2steps_2", "1"), ("2steps_multi", "1"), ("2steps_1", "2"), ("2steps_2", "2")]
KEYS += [("2steps_multi", "2")]


@pytest.fixture
def toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interpreter that runs TOOLKIT whatever it is told to run: every answer is right but that of item 2."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {TOOLKIT} "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv(PYTHON_VARIABLE, str(python))
    return python


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """Two lab suites of six items; ours calls the first five right."""
    folder = tmp_path / "tables"
    folder.mkdir()
    for name in ("LabMathVista", "LabWeMath"):
        rows = [
            {"index": str(k), "image": encode_image(b"png"), "question": "sum ?", "answer": str(k), "ID": i, "key": key}
            for k, (key, i) in enumerate(KEYS)
        ]
        write_rows(folder / f"{name}.tsv", rows)
        lines = [{"index": str(k), "response": rf"\boxed{{ {min(k, 4)} }}", "finish_reason": "stop"} for k in range(6)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "scores").mkdir()
    found = {"responses": folder, "benchmarks": folder, "model": folder}
    params = ScoreParams({"MathVista": "LabMathVista", "WeMath": "LabWeMath"}, RulesJudge("rules"))
    score_responses(params, Runtime(tmp_path), found, tmp_path / "scores")
    return {**found, "scores": tmp_path / "scores"}


PARAMS = SecondOpinionParams(
    COMMIT, ("LabMathVista", "LabWeMath"), "default", compose.load([]).engine, "boxed-rules", ""
)


def test_the_artifact_holds_agreement_differences_and_both_scores(
    tmp_path: Path, toolkit: Path, inputs: dict[str, Path]
) -> None:
    out = tmp_path / "out"
    (out / "toolkit" / "work").mkdir(parents=True)  # of a run that was killed
    values = compare_with_toolkit(PARAMS, Runtime(tmp_path, threads=3), inputs, out)
    assert (values["commit"], values["judge"]) == (COMMIT, "boxed-rules")
    assert values["agreement"] == {"LabMathVista": 66.67, "LabWeMath": 66.67}
    differences = [json.loads(line) for line in (out / "disagreements.jsonl").read_text().splitlines()]
    assert [d["index"] for d in differences] == ["2", "5"] * 2
    assert differences[0]["theirs"] == {"correct": False, "response": "r2"}
    assert f"commit {COMMIT}, judge boxed-rules; our rules in mode official" in (out / "agreement.md").read_text()
    with (out / "scores.csv").open(newline="") as stream:
        rows = {row["benchmark"]: row for row in csv.DictReader(stream)}
    assert {float(rows["LabMathVista"][side]) for side in ("ours", "theirs")} == {500 / 6}
    # We-Math by one formula: ours masters group 1 and fails the last step of group 2, theirs the other way round.
    assert (float(rows["LabWeMath"]["ours"]), float(rows["LabWeMath"]["theirs"])) == (75.0, 75.0)
    assert (rows["LabWeMath"]["toolkit_metric"], rows["LabWeMath"]["toolkit_score"]) == ("acc", "83.3")
    kept = {path.name for path in (out / "toolkit").iterdir()}
    assert kept == {"job.json", "log.txt", "toolkit.json", "MathVista_MINI.jsonl", "WeMath.jsonl"}
    job = json.loads((out / "toolkit" / "job.json").read_text())
    assert job["engine"]["settings"]["max_new_tokens"] == 52
    assert job["model"] == str(inputs["model"] / "model")


def test_another_toolkit_than_the_planned_one_is_refused(
    tmp_path: Path, toolkit: Path, inputs: dict[str, Path]
) -> None:
    with pytest.raises(StageError, match=f"installed at commit {COMMIT}, planned was installed; run again"):
        compare_with_toolkit(replace(PARAMS, commit="installed"), Runtime(tmp_path), inputs, tmp_path / "out")


def test_what_decides_the_comparison_is_in_its_identity_and_ours_stays_as_it_was(toolkit: Path) -> None:
    base = revisions.resolve(compose.load(["method=baseline", "evaluator=vlmevalkit"]), online=True)
    assert base.evaluator.revision == COMMIT
    opinion = plan.second_opinion(base)
    assert set(opinion.inputs) == {"scores", "model", "responses", "benchmarks"}
    changed = [
        replace(base, evaluator=replace(base.evaluator, revision="d" * 40)),
        replace(base, evaluator=replace(base.evaluator, judge="gpt-4o-mini", judge_url="http://x/v1")),
        replace(base, judge=replace(base.judge, mode="semantic")),
        replace(base, engine=replace(base.engine, settings=replace(base.engine.settings, max_new_tokens=9))),
        replace(base, seed=1),
    ]
    assert len({opinion.key, *(plan.second_opinion(config).key for config in changed)}) == 1 + len(changed)
    native = compose.load(["method=baseline"])
    assert native.evaluator.name == "native"
    assert plan.score(native).key == plan.score(base).key == opinion.inputs["scores"].key


def test_what_the_toolkit_cannot_do_is_refused_before_anything_runs() -> None:
    def planned(*overrides: str) -> None:
        plan.second_opinion(compose.load(["method=baseline", "evaluator=vlmevalkit", *overrides]))

    with pytest.raises(DataError, match="LabReading stands in for no benchmark"):
        planned("suite=lab_perception")
    with pytest.raises(DataError, match="boxed-rules reads the lab's answers only"):
        planned("profile=paper")
    with pytest.raises(DataError, match="judge=gpt-4o-mini needs judge_url"):
        planned("profile=paper", "evaluator.judge=gpt-4o-mini")
    with pytest.raises(ConfigError, match="engine=transformers inside the toolkit, not vllm"):
        planned("engine=vllm")


def test_a_toolkit_that_is_not_installed_is_one_message_and_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "nowhere"))
    config = compose.load(["evaluator=vlmevalkit"])
    assert revisions.resolve(config, online=False).evaluator.revision == "installed"
    with pytest.raises(ToolkitError, match="nowhere is not there; run `make setup-vlmevalkit SOURCE="):
        revisions.resolve(config, online=True)
    done = command("pipelines.run", "method=baseline", "evaluator=vlmevalkit", f"store={tmp_path / 'store'}")
    assert done.returncode == 2
    assert done.stderr.count("make setup-vlmevalkit SOURCE=") == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store").exists()


def test_tables_are_filled_by_our_own_scores() -> None:
    done = command("pipelines.reproduce", "--plan", "evaluator=vlmevalkit")
    assert done.returncode == 2
    assert "tables hold our own scores; for vlmevalkit's beside them use pipelines.run" in done.stderr
