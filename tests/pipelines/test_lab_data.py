"""The laboratory's files: pixels, pools, sharegpt records, and TSVs that VLMEvalKit's columns can be read from."""

import base64
import dataclasses
import hashlib
import io
import json
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from drift.errors import DataError, DriftError
from pipelines import compose
from pipelines.lab.config import sub_seed
from pipelines.lab.data import write_benchmarks, write_questions, write_sft_data
from pipelines.lab.images import (
    POOLS,
    cell_classes,
    draw_strip,
    encode_png,
    load_pool,
    pool_indices,
)
from pipelines.lab.language import asked, fold, icon_fold
from pipelines.lab.mixes import LONG, draw_reasoning
from pipelines.lab.suites import GROUPED, SUITES, draw_group, draw_suite

LAB, SMOKE = (compose.load([f"world={name}"]).world for name in ("lab", "smoke"))


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        whole.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return whole.hexdigest()


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bench")
    write_benchmarks(SMOKE, "test", out)
    return out


def test_the_digit_pools_share_no_drawing_and_use_all_of_them() -> None:
    pools = [set(pool_indices(name)) for name in POOLS]
    assert [len(p) for p in pools] == [1150, 200, 150, 297]
    assert set.union(*pools) == set(range(1797))
    assert all(len(drawings) > 5 for name in POOLS for drawings in load_pool(name))


def test_a_png_gives_back_the_strip_it_was_made_from() -> None:
    strip = draw_strip(fold((3, 8, 5), "sum"), load_pool("test"), np.random.default_rng(0))
    assert strip.shape == (8, 64)
    assert np.array_equal(np.array(Image.open(io.BytesIO(encode_png(strip)))), strip)


def test_a_strip_shows_digits_left_to_right_and_the_glyph_in_the_last_cell() -> None:
    problem = icon_fold((3, 8), "sub")
    assert cell_classes(problem) == [3, 8, 14, 14, 14, 14, 14, 11]
    strip = draw_strip(problem, load_pool("test"), np.random.default_rng(0)).astype(float) / 255
    inked = [strip[:, 8 * i : 8 * i + 8].mean() > 0.1 for i in range(8)]
    assert inked == [True, True, False, False, False, False, False, True]


def test_sft_records_have_the_form_of_the_paper_s_data(tmp_path: Path) -> None:
    write_sft_data(SMOKE, tmp_path)
    records = json.loads((tmp_path / "train.json").read_text())
    assert len(records) == SMOKE.sft_items
    for record in records:
        user, assistant = record["messages"]
        assert user["role"] == "user"
        assert user["content"].startswith("<image>")
        assert user["content"].endswith("? think")
        assert assistant["role"] == "assistant"
        assert assistant["content"].startswith("<think> ")
        assert assistant["content"].endswith(" }")
        (image,) = record["images"]
        assert Image.open(tmp_path / image).size == (64, 8)


def test_the_same_config_writes_the_same_bytes_and_another_seed_other_ones(tmp_path: Path) -> None:
    for folder, config in {"a": SMOKE, "b": SMOKE, "c": dataclasses.replace(SMOKE, seed=1)}.items():
        write_sft_data(config, tmp_path / folder)
        write_benchmarks(config, "validation", tmp_path / folder)
    assert _digest(tmp_path / "a") == _digest(tmp_path / "b")
    assert _digest(tmp_path / "a") != _digest(tmp_path / "c")


def test_every_suite_is_a_tsv_with_the_kit_s_columns(benchmarks: Path) -> None:
    assert {p.stem for p in benchmarks.glob("*.tsv")} == {*SUITES, GROUPED}
    for name in SUITES:
        frame = _read(benchmarks / f"{name}.tsv")
        assert list(frame.columns) == ["index", "image", "question", "answer", "category", "digits"]
        assert list(frame["index"]) == [str(i) for i in range(SMOKE.suite_items)]
        image = Image.open(io.BytesIO(base64.b64decode(frame["image"][0])))
        assert image.size == (64, 8)
        assert all(q.endswith("?") for q in frame["question"])


def test_reading_answers_with_the_digits_and_the_vision_only_suite_asks_nothing(benchmarks: Path) -> None:
    reading = _read(benchmarks / "LabReading.tsv")
    assert list(reading["answer"]) == list(reading["digits"])
    vision_only = _read(benchmarks / "LabMathVerse.tsv")
    assert set(vision_only["question"]) == {"?"}
    assert all(d.split()[-1] in ("sum", "sub", "max", "min") for d in vision_only["digits"])


def test_wemath_groups_are_complete_and_keyed_as_in_the_real_file(benchmarks: Path) -> None:
    frame = _read(benchmarks / "LabWeMath.tsv")
    for group, rows in frame.groupby("ID"):
        steps = int(group[0])
        assert group.startswith(f"{steps}steps_")
        assert list(rows["key"]) == [*(f"{steps}steps_{i}" for i in range(1, steps + 1)), f"{steps}steps_multi"]
    assert frame["ID"].nunique() == SMOKE.wemath_groups
    assert frame["image"].nunique() == len(frame)


def test_the_one_step_items_of_a_group_are_the_steps_of_its_long_item() -> None:
    rng = Random(0)
    for _ in range(50):
        *singles, (_, long) = draw_group(rng, 3)
        walked = " . ".join([" ".join(map(str, long.digits)), long.chain.split(" . ")[1]])
        assert walked == long.chain
        assert singles[-1][1].answer == long.answer
        for (_, first), (_, second) in pairwise(singles):
            assert second.digits[0] == int(first.answer)


def test_validation_and_test_are_other_draws() -> None:
    validation, test = (draw_suite(SMOKE, split, "LabMathVista") for split in ("validation", "test"))
    assert [r.problem for r in validation] != [r.problem for r in test]


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown split 'valid'; did you mean 'validation'"):
        write_benchmarks(SMOKE, "valid", tmp_path)


def test_a_config_refuses_a_negative_seed() -> None:
    with pytest.raises(DriftError, match=r"world\.seed is -1, expected at least 0"):
        dataclasses.replace(LAB, seed=-1)


def test_each_purpose_has_a_seed_of_its_own() -> None:
    assert sub_seed(0, "base init") == sub_seed(0, "base init")
    assert len({sub_seed(s, p) for s in range(3) for p in ("a", "b", "c")}) == 9


def test_a_smoke_world_is_never_taken_for_the_lab() -> None:
    assert dataclasses.asdict(SMOKE) != dataclasses.asdict(dataclasses.replace(LAB, seed=SMOKE.seed))
    assert (LAB.name, SMOKE.name) == ("lab", "smoke")


def test_questions_for_a_teacher_are_other_draws_of_the_same_problems_eleven_for_each_four_examples(
    tmp_path: Path,
) -> None:
    world = dataclasses.replace(LAB, sft_items=40)
    write_questions(world, tmp_path)
    records = [json.loads(line) for line in (tmp_path / "questions.jsonl").read_text().splitlines()]
    rng = Random(sub_seed(world.seed, "questions"))
    assert len(records) == 110
    for record in records:
        problem = draw_reasoning(rng, LONG)
        assert (record["question"], record["answer"]) == (asked(problem, think=True), problem.answer)
        assert (tmp_path / record["image"]).exists()
