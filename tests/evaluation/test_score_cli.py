"""The command line of the scorer and of the comparison: what they print, write and refuse."""

import json
import subprocess
import sys

import pytest

from evaluation import compare, score
from evaluation.data.tsv import write_rows


@pytest.fixture
def folder(tmp_path):
    rows = [
        {"index": str(k), "question": f"What is {k} + 1?", "answer": str(k + 1), "choices": "[]"} for k in range(20)
    ]
    write_rows(tmp_path / "MathVision.tsv", rows)
    write_predictions(tmp_path / "p.jsonl", {str(k): f"\\boxed{{{k + 1 if k < 15 else 'none'}}}" for k in range(20)})
    return tmp_path


def write_predictions(path, responses):
    path.write_text("".join(json.dumps({"index": k, "response": r}) + "\n" for k, r in responses.items()))


def run(folder, capsys, **changes):
    values = {"benchmark": "MathVision", "data": folder / "MathVision.tsv", "predictions": folder / "p.jsonl"}
    values |= {"verdicts": folder / "v.jsonl", "mode": "official", "judge": "rules", **changes}
    status = score.main([f"{key}={value}" for key, value in values.items()])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_it_prints_one_json_object_and_writes_a_verdict_a_line(folder, capsys):
    status, out, _ = run(folder, capsys)
    summary = json.loads(out)
    assert status == 0
    assert (summary["benchmark"], summary["mode"], summary["accuracy"], summary["n"]) == (
        "MathVision",
        "official",
        75,
        20,
    )
    assert summary["ci_low"] < 75 < summary["ci_high"]
    assert (summary["unmatched"], summary["unjudged"]) == (0, 0)
    verdicts = [json.loads(line) for line in (folder / "v.jsonl").read_text().splitlines()]
    assert [v["correct"] for v in verdicts] == [True] * 15 + [False] * 5
    assert {"index", "correct", "extraction", "rule"} <= set(verdicts[0])


def test_it_runs_as_a_module_and_fails_with_one_line_and_status_2(folder):
    command = [sys.executable, "-m", "evaluation.score", "benchmark=MathVison", "data=x", "predictions=x", "verdicts=x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "did you mean 'MathVision'" in done.stderr


def test_a_missing_prediction_is_an_error_unless_allowed_and_then_wrong_and_counted(folder, capsys):
    write_predictions(folder / "p.jsonl", {str(k): f"\\boxed{{{k + 1}}}" for k in range(19)})
    status, _, err = run(folder, capsys)
    assert status == 2
    assert "no response for 1 of 20 items, first ['19']" in err
    assert not (folder / "v.jsonl").exists()
    status, out, _ = run(folder, capsys, allow_missing="true")
    assert json.loads(out)["missing"] == 1
    assert json.loads(out)["accuracy"] == 95


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"index": "0", "response": "1"}\n{"index": "0", "response": "2"}\n', "index '0' appears twice"),
        ('{"index": "0", "response": "1"}\n{"index": "1", "resp', "p.jsonl:2: not JSON"),
        ('{"index": "0", "response": null}\n', "p.jsonl:1, column 'response': None is no answer"),
        ('{"index": "x", "response": "1"}\n', "none of its 1 responses belongs to the data"),
        ("", "no lines"),
    ],
)
def test_broken_prediction_files_are_refused_and_nothing_is_written(folder, capsys, text, message):
    (folder / "p.jsonl").write_text(text)
    status, out, err = run(folder, capsys)
    assert (status, out) == (2, "")
    assert message in err
    assert sorted(path.name for path in folder.iterdir()) == ["MathVision.tsv", "p.jsonl"]


def test_verdicts_that_cannot_be_written_are_one_line(folder, capsys):
    status, out, err = run(folder, capsys, verdicts=folder / "p.jsonl" / "v.jsonl")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "can't be written" in err


def test_unknown_arguments_modes_and_judges_name_the_closest(folder, capsys):
    assert "did you mean 'mode'" in run(folder, capsys, mod="x")[2]
    assert "did you mean 'official'" in run(folder, capsys, mode="oficial")[2]
    assert "did you mean 'rules'" in run(folder, capsys, judge="rule")[2]


def test_a_response_cut_by_xlsx_is_flagged_and_reads_as_unmatched_in_semantic_mode(folder, capsys):
    responses = {str(k): "1" for k in range(20)} | {"0": "so 1 " * 6553 + "1 "}
    assert len(responses["0"]) == 32_767
    write_predictions(folder / "p.jsonl", responses)
    _, out, _ = run(folder, capsys, mode="semantic")
    assert json.loads(out)["truncated"] == 1
    first = json.loads((folder / "v.jsonl").read_text().splitlines()[0])
    assert (first["correct"], first["rule"], first["is_truncated"]) == (False, "truncated", True)


def verdict_file(path, correct, groups=None):
    lines = [{"index": str(k), "correct": c, "group": groups[k] if groups else None} for k, c in enumerate(correct)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_compare_prints_paired_statistics_with_holm_over_the_pairs(tmp_path, capsys):
    base = verdict_file(tmp_path / "a.jsonl", [True] * 50 + [False] * 50)
    better = verdict_file(tmp_path / "b.jsonl", [True] * 60 + [False] * 40)
    same = verdict_file(tmp_path / "c.jsonl", [True] * 51 + [False] * 49)
    assert compare.main([base, better, same]) == 0
    result = json.loads(capsys.readouterr().out)
    first, second = result["pairs"]
    assert [score["accuracy"] for score in result["scores"]] == [50, 60, 51]
    assert first["difference"] == pytest.approx(10)
    assert first["p_value"] == pytest.approx(2 * 0.5**10)
    assert first["p_holm"] == pytest.approx(2 * first["p_value"])
    assert first["is_significant"]
    assert not second["is_significant"]
    assert first["ci_low"] > 0 >= second["ci_low"]


def test_compare_leaves_unjudged_items_out_of_the_pair_and_resamples_groups_where_there_are_any(tmp_path, capsys):
    groups = [f"g{k // 2}" for k in range(10)]
    base = verdict_file(tmp_path / "a.jsonl", [True] * 9 + [None], groups)
    other = verdict_file(tmp_path / "b.jsonl", [False] * 10, groups)
    assert compare.main([base, other]) == 0
    pair = json.loads(capsys.readouterr().out)["pairs"][0]
    assert (pair["n"], pair["is_clustered"], pair["difference"]) == (9, True, -100)


def test_compare_refuses_one_file_and_files_about_different_items(tmp_path, capsys):
    base = verdict_file(tmp_path / "a.jsonl", [True])
    assert compare.main([base]) == 2
    assert "expected at least two" in capsys.readouterr().err
    assert compare.main([base, verdict_file(tmp_path / "b.jsonl", [True, False])]) == 2
    assert "hold different items (1 in one alone, first ['1'])" in capsys.readouterr().err
