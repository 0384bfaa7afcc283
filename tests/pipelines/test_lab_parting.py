"""The study's world: its parts share no problem, by the problem's id and in whatever way it is posed."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest

from drift.config import identity_of
from drift.errors import DataError
from pipelines import compose, plan
from pipelines.errors import ConfigError
from pipelines.lab.data import write_sft_data
from pipelines.lab.language import (
    Problem,
    alternating,
    calc,
    draw_alternating,
    fold,
    following,
    icon_fold,
    problem_id,
)
from pipelines.lab.mixes import COUNTING, LONG, PARTED, SHARED, TAUGHT, draw_exercises, draw_reasoning
from pipelines.lab.parting import SHORTEST, draw_fitting, fitting, part_of
from pipelines.lab.suites import GROUPED, PERCEPTION, REASONING, SUITES, draw_suite

LAB, STUDY = (compose.load([f"world={name}"]).world for name in ("lab", "study"))
SUITE_NAMES = (*SUITES, GROUPED)


def _ids(problems: Iterable[Problem]) -> set[str]:
    return {problem_id(p) for p in problems if len(p.digits) >= SHORTEST}


def _trained_on() -> dict[str, set[str]]:
    """What each stage draws in 6,000 problems, the SFT data in five times what there is of it."""
    fits, found = fitting(STUDY, "train"), {}
    for name in ("base", "expert", "mllm"):
        drawn = draw_exercises(getattr(PARTED, name), Random(name), 6_000, fits)
        found[name] = _ids(e.problem for e in drawn)
    found["counting"] = _ids(e.problem for e in draw_exercises(COUNTING, Random(0), 5_000, fits))
    rng = Random(1)
    found["sft"] = _ids(draw_fitting(lambda: draw_reasoning(rng, LONG, TAUGHT), fits) for _ in range(3_000))
    return found


def test_no_stage_and_no_suite_of_a_parted_world_shares_a_problem_of_three_digits_with_another_part() -> None:
    suites = {
        split: {name: [row.problem for row in draw_suite(STUDY, split, name)] for name in SUITE_NAMES}
        for split in ("validation", "test")
    }
    chosen_on, reported = (_ids(p for rows in suites[s].values() for p in rows) for s in ("validation", "test"))
    assert len(chosen_on & reported) == 0
    for stage, ids in _trained_on().items():
        assert len(ids) > 1_000, stage
        assert not ids & (chosen_on | reported), stage


def test_what_can_t_be_kept_apart_are_facts_and_only_wemath_s_one_step_items_ask_for_them() -> None:
    for name in SUITE_NAMES:
        problems = [row.problem for row in draw_suite(STUDY, "test", name)]
        short = [p for p in problems if len(p.digits) < SHORTEST]
        if name == GROUPED:
            assert len(short) == 150 * 5 // 2  # two and three one-step items, in turn
            assert len({problem_id(p) for p in short}) <= 200  # of two operators over a hundred pairs
        else:
            assert short == []
            assert len(problems) == STUDY.suite_items == len({problem_id(p) for p in problems}), name
    base = draw_exercises(PARTED.base, Random(0), 4_000, fitting(STUDY, "train"))
    facts = Counter(len(e.problem.digits) < SHORTEST for e in base)
    assert facts[True] / 4_000 == pytest.approx(0.68, abs=0.04)


def test_an_id_is_what_is_asked_of_the_digits_and_not_how() -> None:
    posed = (fold((3, 8, 5), "sum"), icon_fold((3, 8, 5), "sum"), calc((3, 8, 5), ("sum", "sum")))
    assert {problem_id(p) for p in posed} == {"3 8 5 + +"}
    assert problem_id(calc((3, 8, 5), ("sum", "sub"))) == "3 8 5 + -"


def test_another_world_parts_its_problems_another_way_and_half_of_them_are_for_training() -> None:
    problems = [fold((a, b, c), "max") for a in range(10) for b in range(10) for c in range(10)]
    first, second = ([part_of(seed, p) for p in problems] for seed in (0, 1))
    assert first != second
    assert first.count("train") / 1000 == pytest.approx(0.5, abs=0.05)
    assert first.count("test") / 1000 == pytest.approx(0.25, abs=0.05)


def test_more_items_than_a_part_has_problems_are_refused() -> None:
    with pytest.raises(DataError, match=r"none was free; ask for fewer items \(world\.suite_items\)"):
        draw_suite(dataclasses.replace(STUDY, suite_items=900), "test", "LabLogicVista")


def test_steps_by_turns_reason_as_worked_by_hand_and_a_progression_is_one_of_them() -> None:
    problem = alternating((3, 5, 8, 0))
    assert problem.chain == "3 5 8 0 . 5 - 3 = 2 ; 8 - 5 = 3 ; 0 - 8 = 2 ; 0 + 3 = 3"
    assert (problem.question, problem.answer) == ("next ?", "3")
    one, other = alternating((3, 5, 7)), following((3, 5, 7))
    assert (one.question, one.chain, one.answer) == (other.question, other.chain, other.answer)
    rng = Random(0)
    drawn = {draw_alternating(rng, 5).digits for _ in range(20_000)}
    assert len(drawn) == 1_000


def test_no_model_but_the_counting_expert_counts_in_a_parted_world() -> None:
    mixes = [row.tasks for course in (PARTED.base, PARTED.expert, PARTED.mllm) for row in course]
    assert "cnt" not in TAUGHT
    assert not any(task in ("cnt", "any", "drill", "next") for tasks in mixes for task in tasks)
    for name in REASONING:
        assert all(row.problem.task != "cnt" for row in draw_suite(STUDY, "validation", name)), name
    assert {e.problem.task for e in draw_exercises(COUNTING, Random(0), 50)} == {"cnt"}


def test_the_shares_of_a_parted_world_are_those_of_the_other() -> None:
    for name in ("base", "expert", "images", "mllm"):
        rows = zip(getattr(PARTED, name), getattr(SHARED, name), strict=True)
        assert [a.share for a, _ in rows] == [row.share for row in getattr(SHARED, name)], name


def test_the_lab_s_world_is_named_as_it_was_before_there_was_another() -> None:
    assert "problems" not in identity_of(LAB)
    assert identity_of(STUDY)["problems"] == "parted"
    assert not {"other_skill", "other_skill_reasons"} & set(identity_of(LAB.gates))


def test_direct_questions_come_after_the_rationales_and_are_answered_without_one(tmp_path: Path) -> None:
    world = dataclasses.replace(STUDY, sft_items=40)
    write_sft_data(world, tmp_path / "plain")
    write_sft_data(world, tmp_path / "direct", direct=0.5)
    plain, records = (json.loads((tmp_path / name / "train.json").read_text()) for name in ("plain", "direct"))
    assert records[:40] == plain
    assert len(records) == 60
    for record in records[40:]:
        asked, answered = (message["content"] for message in record["messages"])
        assert not asked.endswith("think")
        assert answered.startswith("\\boxed{")
        assert (tmp_path / "direct" / record["images"][0]).exists()


def test_direct_questions_are_those_that_the_mllm_was_taught() -> None:
    asked = {task for row in PARTED.images if not row.think for task in row.tasks}
    assert asked == {"read", "pos", "icon", "fold", "turns"}
    assert {draw_suite(STUDY, "test", name)[0].problem.task for name in PERCEPTION} == {"read", "pos", "icon"}


def test_a_counting_expert_is_another_model_from_the_same_base_and_no_hub_s() -> None:
    words = ["profile=lab", "world=study", "method=drift"]
    one, other = (plan.prior(compose.load([*words, *more])) for more in ([], ["pair=qwen2_5_vl_counting"]))
    assert one.inputs["mllm"].key == other.inputs["mllm"].key
    assert one.inputs["expert"].key != other.inputs["expert"].key
    assert one.inputs["expert"].inputs["base"].key == other.inputs["expert"].inputs["base"].key
    with pytest.raises(ConfigError, match=r"pair\.skill=counting is trained in a lab's world alone"):
        plan.model(compose.load(["profile=paper", "pair=qwen2_5_vl_counting"]), "expert")


def test_only_a_lab_draws_direct_questions() -> None:
    with pytest.raises(ConfigError, match=r"only a lab world can, and data\.source is hub"):
        plan.data(compose.load(["profile=paper", "+data.direct=0.5"]))
