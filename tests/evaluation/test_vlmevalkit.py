"""VLMEvalKit scores the lab's own tables and model, and every verdict that differs from ours is named."""

import csv
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pico_vl
import pytest

from drift.errors import DataError
from evaluation.benchmarks import BENCHMARKS, get_benchmark
from evaluation.data.tsv import encode_image, write_rows
from evaluation.engines.chat import ChatClient
from evaluation.engines.config import Endpoint
from evaluation.toolkit.agreement import Command as Comparison
from evaluation.toolkit.agreement import compare_verdicts, write_agreement
from evaluation.toolkit.agreement import run as compare_files
from evaluation.toolkit.boxed_judge import answer, serve_boxed_judge
from evaluation.toolkit.job import (
    PYTHON_VARIABLE,
    ToolkitError,
    check_comparable,
    toolkit_commit,
    toolkit_python,
    toolkit_score,
)
from evaluation.toolkit.tables import PROMPT_COLUMN, toolkit_dataset, write_table
from evaluation.toolkit.vlmevalkit import Command, compare_sides

ADAPTED = sorted(name for name, benchmark in BENCHMARKS.items() if benchmark.toolkit)
TOOLKIT = os.environ.get(PYTHON_VARIABLE, "")
GROUPS = [("2steps_1", "1"), ("2steps_2", "1"), ("2steps_multi", "1")]
GROUPS += [("3steps_1", "2"), ("3steps_2", "2"), ("3steps_3", "2"), ("3steps_multi", "2")]


def write_suite(folder: Path, name: str) -> Path:
    """Seven pictured items with the answers 0 to 6, in the columns of the lab's tables."""
    rng = np.random.default_rng(0)
    rows = []
    for i, (key, group) in enumerate(GROUPS):
        row = {"index": str(i), "image": encode_image(pico_vl.png(rng)), "question": f"sum {i} ?", "answer": str(i)}
        rows.append(row | ({"ID": group, "key": key} if name == "LabWeMath" else {}))
    write_rows(folder / f"{name}.tsv", rows)
    return folder / f"{name}.tsv"


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


@pytest.mark.parametrize("name", ADAPTED)
def test_a_lab_table_keeps_items_and_prompts_in_the_columns_of_its_class(tmp_path, name):
    benchmark = get_benchmark(name)
    assert write_table(benchmark, write_suite(tmp_path, name), tmp_path / "data") == 7
    rows = read_table(tmp_path / "data" / f"{toolkit_dataset(benchmark)}.tsv")
    assert [row["index"] for row in rows] == [str(i) for i in range(7)]
    assert rows[3][PROMPT_COLUMN] == "sum 3 ? think"
    letters = name in {"LabWeMath", "LabLogicVista"}
    assert [row["answer"] for row in rows] == list("ABCDEFG" if letters else "0123456")
    assert toolkit_dataset(benchmark) == benchmark.stands_in_for


def test_a_table_that_the_toolkit_cannot_score_is_refused(tmp_path):
    path = write_suite(tmp_path, "LabMathVista")
    rows = read_table(path)
    rows[2]["answer"] = "12"
    write_rows(path, rows)
    with pytest.raises(DataError, match="'2' has the answer '12'; this class of the toolkit needs one digit"):
        write_table(get_benchmark("LabMathVista"), path, tmp_path)
    with pytest.raises(DataError, match="LabReading stands in for no benchmark"):
        toolkit_dataset(get_benchmark("LabReading"))
    with pytest.raises(DataError, match="published table, which is passed on whole"):
        write_table(get_benchmark("MMStar"), path, tmp_path, limit=3)


PAIR = "[Standard Answer]: {}\n[Model_answer] : {}\nJudgement:"
BOXED = "<think> 1 + 2 = 3 </think> \\boxed{ 3 }"


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (f"Model response: \\boxed{{9}}\nnext\nModel respone: {BOXED}Extracted answer:", "3"),
        ("Model respone: no boxExtracted answer:", "none"),
        (f"Example: \\boxed{{9}}\nModel response: 'nothing'\nExtracted Answer: {''}", "none"),
        (f"Answer: <start>\nA\n<end>\nYour output: A\nAnswer: <start>\n{BOXED}\n<end>\nYour output: ", "D"),
        ("Answer: <start>\n\\boxed{ 5 2 }\n<end>\nYour output: ", "Z"),
        ("[Standard Answer]: 3\n    [Model_answer] : 3.0\n    Judgement:", "1"),
        (f"{PAIR.format(3, 3)} 1\n{PAIR.format(3, 'x')}", "0"),
        ("hello", "none"),
    ],
)
def test_the_boxed_judge_answers_what_the_end_of_the_prompt_asks_for(prompt, expected):
    assert answer(prompt) == expected


def test_the_boxed_judge_is_an_openai_compatible_endpoint():
    with serve_boxed_judge() as url:
        messages = [{"role": "user", "content": [{"type": "text", "text": f"Model response: {BOXED}"}]}]
        assert ChatClient(Endpoint(url, "any")).complete(messages, {}).text == "3"


def verdicts(*correct: bool | None, response: str = "x") -> list[dict]:
    return [{"index": str(i), "correct": c, "response": response} for i, c in enumerate(correct)]


def test_agreement_counts_each_cell_and_names_each_difference(tmp_path):
    ours, theirs = verdicts(True, True, False, False, None), verdicts(True, False, True, False, True)
    result = compare_verdicts("B", ours, theirs)
    assert (result.both_right, result.only_ours_right, result.only_theirs_right, result.both_wrong) == (1, 1, 1, 1)
    assert (result.n, result.unjudged, result.agreement, result.same_response) == (5, 1, 50.0, 5)
    assert [d["index"] for d in result.disagreements] == ["1", "2"]
    write_agreement([result], tmp_path, note="commit abc")
    assert "| B | 5 | 1 | 1 | 1 | 1 | 1 | 5 | 50.0 |" in " ".join((tmp_path / "agreement.md").read_text().split())
    assert len((tmp_path / "disagreements.jsonl").read_text().splitlines()) == 2


def test_verdicts_on_different_items_are_refused(tmp_path):
    with pytest.raises(DataError, match="1 indices stand on one side only, first '2'"):
        compare_verdicts("B", verdicts(True, True), verdicts(True, True, True))
    with pytest.raises(DataError, match="index '0' stands twice in theirs"):
        compare_verdicts("B", verdicts(True), verdicts(True) * 2)
    for name, lines in (("a", verdicts(True, False)), ("b", verdicts(True, True))):
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    row = json.loads(compare_files(Comparison(tmp_path / "a", tmp_path / "b", tmp_path / "o")))
    assert (row["agreement"], row["only_theirs_right"]) == (50.0, 1)


def fake_python(folder: Path, script: str) -> str:
    """An executable that stands for the toolkit's interpreter; $2 is the job."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def command(folder: Path, **changes) -> Command:
    options = {"data": folder, "out": folder / "out", "benchmarks": ("LabMathVista",), "responses": str(folder)}
    write_suite(folder, "LabMathVista")
    lines = [{"index": str(i), "response": f"\\boxed{{ {min(i, 5)} }}"} for i in range(7)]
    (folder / "LabMathVista.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Command(**{**options, **changes})


def test_both_sides_are_compared_and_the_commit_is_recorded(tmp_path):
    theirs = "".join(json.dumps({"index": str(i), "correct": i != 2}) + "\\n" for i in range(7))
    folder = tmp_path / "out" / "toolkit"
    script = f"""printf '{theirs}' > {folder}/MathVista_MINI.jsonl
printf '{{"commit": "abc123"}}' > {folder}/toolkit.json"""
    [result] = compare_sides(command(tmp_path, python=fake_python(tmp_path, script)))
    assert (result.both_right, result.only_ours_right, result.only_theirs_right) == (5, 1, 1)
    assert [d["index"] for d in result.disagreements] == ["2", "6"]
    assert "VLMEvalKit commit abc123, judge boxed-rules" in (tmp_path / "out" / "agreement.md").read_text()
    job = json.loads((folder / "job.json").read_text())
    assert (job["datasets"], job["prompt_column"]) == (["MathVista_MINI"], PROMPT_COLUMN)
    assert job["judge_url"].startswith("http://127.0.0.1:")


def test_a_toolkit_that_fails_hangs_or_is_not_there_is_reported(tmp_path, monkeypatch):
    failing = fake_python(tmp_path, "echo the reason; exit 3")
    with pytest.raises(ToolkitError, match=r"(?s)ended with status 3.*the reason"):
        compare_sides(command(tmp_path, python=failing))
    with pytest.raises(ToolkitError, match="is there already"):
        compare_sides(command(tmp_path, python=failing))
    hanging = fake_python(tmp_path, "exec sleep 20")
    with pytest.raises(ToolkitError, match=r"longer than timeout=0\.2 s"):
        compare_sides(command(tmp_path, python=hanging, timeout=0.2, out=tmp_path / "out2"))
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ToolkitError, match="make setup-vlmevalkit"):
        toolkit_python()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmarks": ("LabMathVista", "MMStar")}, "all of the lab or none"),
        ({"benchmarks": ()}, "name at least one"),
        ({"model": "m"}, "give exactly one of the two"),
        ({"benchmarks": ("LabMathVista", "LabWeMath")}, "one benchmark a run"),
        ({"judge": "gpt-4o-mini"}, "needs judge_url"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused_before_anything_runs(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        compare_sides(command(tmp_path, **changes))
    assert not (tmp_path / "out").exists()


def test_a_judge_that_cannot_read_the_benchmark_is_refused():
    with pytest.raises(DataError, match="boxed-rules reads the lab's answers only"):
        check_comparable(["MMStar"], "boxed-rules", "")
    with pytest.raises(DataError, match="LabReading stands in for no benchmark"):
        check_comparable(["LabReading"], "boxed-rules", "")
    assert [row.name for row in check_comparable(["MMStar"], "exact_matching", "")] == ["MMStar"]


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(["git", "-C", folder, *identity, *words], capture_output=True, text=True, check=True).stdout


def test_the_commit_is_that_of_the_toolkits_own_checkout(tmp_path):
    source = tmp_path / "outer" / "kit"
    (source / "vlmeval").mkdir(parents=True)
    (source / "vlmeval" / "__init__.py").write_text("raise SystemExit('imported')")
    python = Path(fake_python(tmp_path, f'PYTHONPATH={source} exec {sys.executable} "$@"'))
    git(tmp_path / "outer", "init", "-q")
    with pytest.raises(ToolkitError, match=r"kit is no git checkout.*make setup-vlmevalkit"):
        toolkit_commit(python)  # its files lie in a repository, which is not its own
    git(source, "init", "-q")
    git(source, "add", ".")
    git(source, "commit", "-qm", "first")
    commit = git(source, "rev-parse", "HEAD").strip()
    assert toolkit_commit(python) == commit
    (source / "untracked").write_text("")
    assert toolkit_commit(python) == commit
    (source / "vlmeval" / "__init__.py").write_text("")
    assert toolkit_commit(python) == f"{commit}-dirty"
    bare = Path(fake_python(tmp_path, f'exec {sys.executable} -S "$@"'))
    with pytest.raises(ToolkitError, match="vlmeval is not installed there"):
        toolkit_commit(bare)


def test_the_toolkits_own_figure_is_found_where_each_class_leaves_it(tmp_path):
    metrics = {"Subject=Overall|tot": 7, "Subject=Overall|acc": 20.5}
    status = {
        "MathVision": {"primary_metric": "Overall Acc", "metrics": metrics},
        "LogicVista": {"primary_metric": "acc", "metrics": {"tot": 7, "acc": 44.0}},
    }
    (tmp_path / "toolkit.json").write_text(json.dumps({"datasets": status}))
    table = tmp_path / "work" / "checkpoint" / "checkpoint_WeMath_judge_score.csv"
    table.parent.mkdir(parents=True)
    table.write_text('"Model","Score (Strict)","Score (Loose)"\n"","98.38%","98.57%"\n')
    names = ("LabMathVision", "LabLogicVista", "LabWeMath", "LabMathVista")
    found = [toolkit_score(tmp_path, get_benchmark(name)) for name in names]
    assert found == [("Subject=Overall|acc", "20.5"), ("acc", "44.0"), ("Score (Strict)", "98.38%"), ("", "")]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not TOOLKIT, reason=f"VLMEvalKit is not installed: set {PYTHON_VARIABLE} to its interpreter")
def test_the_real_toolkit_agrees_item_by_item(tmp_path):
    names = tuple(ADAPTED)
    for name in names:
        write_suite(tmp_path, name)
    model = pico_vl.save_model(tmp_path / "model")
    options = {"model": str(model), "responses": "", "python": TOOLKIT, "dtype": "float32", "image_backend": "pil"}
    results = compare_sides(command(tmp_path, benchmarks=names, max_new_tokens=8, **options))
    assert [(r.benchmark, r.n, r.same_response, r.agreement) for r in results] == [(n, 7, 7, 100.0) for n in names]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not TOOLKIT, reason=f"VLMEvalKit is not installed: set {PYTHON_VARIABLE} to its interpreter")
def test_the_real_toolkit_scores_stored_responses(tmp_path):
    [result] = compare_sides(command(tmp_path, python=TOOLKIT))
    assert (result.both_right, result.both_wrong, result.same_response) == (6, 1, 7)
