"""The scorer looks at its files before it believes them, breaks scores down, and is the same on several cores."""

import json
import os
from pathlib import Path

import pytest

from drift.errors import DataError
from evaluation import score
from evaluation.benchmarks import BENCHMARKS, get_benchmark
from evaluation.benchmarks.wemath import Group, four_dimensions
from evaluation.data.checks import check_table
from evaluation.data.tsv import Item, write_rows
from evaluation.judging.breakdown import labels_of
from evaluation.judging.summary import Tally, summarise
from evaluation.judging.verdicts import Verdict

COLUMNS = {
    "MathVista_MINI": ("question_type", "answer_type", "task", "skills", "category"),
    "MathVision": ("choices", "category", "level"),
    "MathVerse_MINI_Vision_Only": ("question_for_eval", "query_cot", "metadata"),
    "WeMath": ("ID", "key", "knowledge concept"),
    "LogicVista": ("skill",),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        {"index": str(k), "question": "q", "answer": str(k), "choices": "[]", "category": "ab"[k % 2], "level": "1"}
        for k in range(600)
    ]
    write_rows(tmp_path / "data.tsv", rows)
    lines = [{"index": k, "response": f"\\boxed{{{k if k % 3 else 'no'}}}"} for k in range(600)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def run(folder: Path, capsys: pytest.CaptureFixture, **changes: object) -> tuple[int, dict, str]:
    values: dict[str, object] = {"benchmark": "MathVision", "data": folder / "data.tsv", "verdicts": folder / "v.jsonl"}
    values |= {"predictions": folder / "p.jsonl", **changes}
    status = score.main([f"{key}={value}" for key, value in values.items()])
    captured = capsys.readouterr()
    return status, json.loads(captured.out or "{}"), captured.err


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("taken_for", COLUMNS)
def test_a_table_is_scored_as_its_own_benchmark_alone(tmp_path: Path, name: str, taken_for: str) -> None:
    table = tmp_path / "t.tsv"
    write_rows(table, [dict.fromkeys(("index", "question", "answer", *COLUMNS[name]), "1")])
    if name == taken_for:
        assert not check_table(table, get_benchmark(name), BENCHMARKS)["is_published_table"]
    else:
        with pytest.raises(DataError, match=f"of {name.removesuffix('_Vision_Only')}.* and lacks .* of {taken_for}"):
            check_table(table, get_benchmark(taken_for), BENCHMARKS)


def test_a_published_table_is_known_by_its_md5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.data.checks.md5_of", lambda path: get_benchmark("MMStar").md5)
    (tmp_path / "t.tsv").write_text("index\tquestion\tanswer\n")
    with pytest.raises(DataError, match=r"published table of MMStar \(md5 e1ec.*, not of RealWorldQA"):
        check_table(tmp_path / "t.tsv", get_benchmark("RealWorldQA"), BENCHMARKS)
    assert check_table(tmp_path / "t.tsv", get_benchmark("MMStar"), BENCHMARKS)["is_published_table"]


def test_what_differs_from_the_published_table_is_said(folder, capsys, caplog) -> None:
    status, summary, _ = run(folder, capsys)
    assert (status, summary["is_published_table"], summary["n"], summary["published_rows"]) == (0, False, 600, 3040)
    assert "has 600 rows; the published table of MathVision has 3040" in caplog.text
    assert "the published table of MathVision has 93f6de14f7916e598aa1b7165589831e" in caplog.text


def test_predictions_of_another_tables_answers_are_refused(folder, capsys) -> None:
    lines = [{"index": k, "response": "x", "answer": k if k != 7 else "eight"} for k in range(600)]
    (folder / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    status, _, error = run(folder, capsys)
    assert status == 2
    assert "column 'answer': differs from" in error
    assert "first index 7 ('eight' for '7')" in error


@pytest.mark.parametrize("name", ["data.tsv", "p.jsonl", "hard", "link", "folder", "fifo", "cache"])
def test_verdicts_never_replace_an_input_or_what_is_no_file(folder: Path, capsys, name: str) -> None:
    os.link(folder / "p.jsonl", folder / "hard")
    (folder / "link").symlink_to(folder / "p.jsonl")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "cache").write_text("replies")
    before = (folder / "p.jsonl").read_bytes(), (folder / "data.tsv").read_bytes(), sorted(folder.iterdir())
    status, out, error = run(folder, capsys, verdicts=folder / name, judge_cache=folder / "cache")
    assert (status, out) == (2, {})
    assert "which would be lost" in error or "is no regular file" in error
    assert before == ((folder / "p.jsonl").read_bytes(), (folder / "data.tsv").read_bytes(), sorted(folder.iterdir()))


def test_a_device_is_left_alone(folder: Path, capsys) -> None:
    assert "/dev/null is no regular file" in run(folder, capsys, verdicts="/dev/null")[2]
    assert Path("/dev/null").is_char_device()


def test_several_processes_give_the_same_verdicts_in_the_same_order(folder: Path, capsys) -> None:
    alone = run(folder, capsys)[1]
    text = (folder / "v.jsonl").read_bytes()
    assert run(folder, capsys, processes=2)[1] == alone
    assert (folder / "v.jsonl").read_bytes() == text
    assert run(folder, capsys, processes=0)[0] == 2


def test_a_score_is_broken_down_by_what_the_benchmark_names(folder: Path, capsys) -> None:
    parts = run(folder, capsys)[1]["breakdown"]
    assert parts["level"] == {"1": {"n": 600, "accuracy": pytest.approx(100 * 2 / 3)}}
    assert [part["n"] for part in parts["category"].values()] == [300, 300]


def test_labels_come_from_cells_lists_and_keys_of_json() -> None:
    fields = {"skill": "['inductive', 'spatial']", "task": " vqa ", "metadata": '{"subject": "Plane Geometry"}'}
    item = Item("1", "q", "a", fields=fields | {"problem_version": "Text Lite", "empty": ""})
    facets = ("skill", "task", "metadata.subject", "metadata.problem_version", "empty", "absent")
    found = [labels_of(item, facet) for facet in facets]
    assert found == [["inductive", "spatial"], ["vqa"], ["Plane Geometry"], ["Text Lite"], [], []]


def test_wemaths_four_rates_follow_its_published_formula() -> None:
    # Two steps: insufficient, inadequate, mastered (strict and loose), mastered loosely and by rote strictly, by rote.
    sheets = [((True, False), False), ((True, True), False), ((True, True), True), ((False, True), True)]
    groups = [Group(str(k), *sheet) for k, sheet in enumerate([*sheets, ((False, False), True)])]
    assert four_dimensions(groups) == pytest.approx(
        {"IK": 20, "IG": 20, "CM_strict": 20, "CM_loose": 40, "RM_strict": 100 * 2 / 3, "RM_loose": 100 / 3}
    )
    assert set(four_dimensions(groups[:2])) == {"IK", "IG", "CM_strict", "CM_loose"}  # nothing right, nothing by rote


def test_a_tally_of_parts_is_the_summary_of_the_whole() -> None:
    benchmark = get_benchmark("WeMath")
    keys = [(group, key) for group in "ghi" for key in ("1", "2", "multi")]
    items = [Item(f"{g}{k}", "q", "A", {"A": "x"}, group=g, fields={"key": f"2steps_{k}"}) for g, k in keys]
    verdicts = [Verdict(item.index, n % 4 != 1, "A", "r", unmatched=n == 5) for n, item in enumerate(items)]
    tally = Tally(benchmark)
    for start in range(0, len(items), 2):
        tally.add(items[start : start + 2], verdicts[start : start + 2])
    assert tally.score() == summarise(benchmark, items, verdicts)
