"""Repository files become TSVs that load_items reads, and items without a picture are left out and counted."""

import json

import pytest

from drift.errors import DataError
from evaluation.benchmarks import get_benchmark
from evaluation.benchmarks.wemath import split_options
from evaluation.data.converters import Conversion
from evaluation.data.tsv import load_items


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"png" + path.name.encode())


def test_logicvista_keeps_key_skill_and_picture(tmp_path):
    record = {"imagename": "v1_0.png", "question": "Which?", "answer": "B, D", "skill": ["inductive"]}
    (tmp_path / "dataset.json").write_text(json.dumps({"v1_0": record, "v1_1": {**record, "imagename": "gone.png"}}))
    picture(tmp_path / "images" / "v1_0.png")
    assert get_benchmark("LogicVista").convert(tmp_path, tmp_path / "out" / "t.tsv") == Conversion(1, 1)
    (item,) = load_items(tmp_path / "out" / "t.tsv", get_benchmark("LogicVista"))
    assert (item.index, item.answer, item.images) == ("v1_0", "B, D", (b"pngv1_0.png",))
    assert item.fields["skill"] == "['inductive']"


def test_wemath_splits_options_and_groups_items_by_id(tmp_path):
    record = {"ID": "2steps_7", "split": "testmini", "knowledge concept": "c", "question": "q", "answer": "C"}
    record |= {"option": "A. 1, 2;B. 3; C. 4 ; D. No correct answer"}
    records = [
        {**record, "key": f"2steps_{step}", "image_path": f"2steps/image/7-{step}.png"} for step in ("1", "2", "multi")
    ]
    (tmp_path / "testmini.json").write_text(json.dumps(records))
    for step in ("1", "2", "multi"):
        picture(tmp_path / "images" / f"2steps_7-{step}.png")
    assert get_benchmark("WeMath").convert(tmp_path, tmp_path / "t.tsv") == Conversion(3, 0)
    items = load_items(tmp_path / "t.tsv", get_benchmark("WeMath"))
    assert {item.group for item in items} == {"2steps_7"}
    assert items[2].options == {"A": "1, 2", "B": "3", "C": "4", "D": "No correct answer"}
    assert items[2].images == (b"png2steps_7-multi.png",)


def test_mathvision_keeps_options_and_answers_as_text(tmp_path):
    rows = [
        {
            "id": "1",
            "question": "q",
            "options": [],
            "answer": "60",
            "level": 2,
            "subject": "s",
            "image": "images/1.jpg",
        },
        {
            "id": "2",
            "question": "q",
            "options": ["x", "None"],
            "answer": "B",
            "level": 2,
            "subject": "s",
            "image": "i/2",
        },
    ]
    (tmp_path / "testmini.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    picture(tmp_path / "images" / "1.jpg")
    picture(tmp_path / "i" / "2")
    assert get_benchmark("MathVision_MINI").convert(tmp_path, tmp_path / "t.tsv") == Conversion(2, 0)
    items = load_items(tmp_path / "t.tsv", get_benchmark("MathVision_MINI"))
    assert [item.options for item in items] == [{}, {"A": "x", "B": "None"}]


def test_option_labels_are_told_from_points_of_the_figure():
    text = "A. Turn A around point ;O.;B. Turn it to get ;C.; C. No.; F. No correct answer"
    assert list(split_options(text)) == ["A", "B", "C", "F"]
    assert split_options("A. 45° B. 60° ;C. 120°; D. No correct answer")["B"] == "60°"


def test_unknown_names_and_folders_without_pictures_are_refused(tmp_path):
    with pytest.raises(DataError, match="did you mean 'LogicVista'"):
        get_benchmark("LogicVist").convert(tmp_path, tmp_path / "t.tsv")
    with pytest.raises(DataError, match=r"MMStar has no converter .*; put MMStar\.tsv in the folder"):
        get_benchmark("MMStar").convert(tmp_path, tmp_path / "t.tsv")
    with pytest.raises(DataError, match="no such file"):
        get_benchmark("WeMath").convert(tmp_path, tmp_path / "t.tsv")
    (tmp_path / "dataset.json").write_text('{"a": {"imagename": "x", "question": "q", "answer": "A", "skill": []}}')
    with pytest.raises(DataError, match="none of 1 items has its image"):
        get_benchmark("LogicVista").convert(tmp_path, tmp_path / "t.tsv")
    assert not (tmp_path / "t.tsv").exists()
