"""The laboratory's language: chains worked by hand, and what the mixes draw."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from pipelines.lab.language import (
    FOLDS,
    WORDS,
    Problem,
    asked,
    calc,
    count,
    draw_any,
    draw_count,
    draw_following,
    fold,
    following,
    icon_fold,
    icon_name,
    position,
    reading,
    reply,
    text_prompt,
)
from pipelines.lab.mixes import (
    BASE,
    EXPERT,
    IMAGES,
    LONG,
    LONG_CHAINS,
    MLLM,
    Row,
    draw_exercises,
    draw_reasoning,
)

WORKED = [
    (fold((3, 8, 5), "sum"), "sum ?", "3 8 5 . 3 + 8 = 1 + 5 = 6", "6"),
    (fold((3, 8, 5), "sub"), "sub ?", "3 8 5 . 3 - 8 = 5 - 5 = 0", "0"),
    (fold((3, 8, 5), "max"), "max ?", "3 8 5 . 3 max 8 = 8 max 5 = 8", "8"),
    (fold((3, 8, 5), "min"), "min ?", "3 8 5 . 3 min 8 = 3 min 5 = 3", "3"),
    (calc((3, 8, 5), ("sum", "sub")), "calc + - ?", "3 8 5 . 3 + 8 = 1 - 5 = 6", "6"),
    (icon_fold((3, 8, 5), "sum"), "?", "3 8 5 . sum . 3 + 8 = 1 + 5 = 6", "6"),
    (count((3, 8, 3), 3), "cnt 3 ?", "3 8 3 . 3 yes 1 ; 8 no 1 ; 3 yes 2", "2"),
    (following((3, 5, 7)), "next ?", "3 5 7 . 5 - 3 = 2 ; 7 - 5 = 2 ; 7 + 2 = 9", "9"),
    (reading((3, 8, 5)), "read ?", "", "3 8 5"),
    (position((3, 8, 5), 2), "pos 2 ?", "", "8"),
    (icon_name((3, 8), "max"), "icon ?", "", "max"),
]


@pytest.mark.parametrize(("problem", "question", "chain", "answer"), WORKED, ids=lambda x: getattr(x, "task", ""))
def test_every_task_reasons_as_worked_by_hand(problem: Problem, question: str, chain: str, answer: str) -> None:
    assert (problem.question, problem.chain, problem.answer) == (question, chain, answer)


def test_a_problem_is_asked_with_think_and_answered_with_its_chain() -> None:
    problem = fold((3, 8, 5), "sum")
    assert text_prompt(problem, think=True) == "list 3 8 5 . sum ? think"
    assert asked(problem, think=False) == "sum ?"
    assert reply(problem, think=True) == "<think> 3 8 5 . 3 + 8 = 1 + 5 = 6 </think> \\boxed{ 6 }"
    assert reply(problem, think=False) == "\\boxed{ 6 }"


def test_any_task_comes_in_the_shares_of_the_recipe() -> None:
    rng = Random(0)
    shares = Counter(draw_any(rng, (3,)).task for _ in range(4000))
    for task, share in {"fold": 0.40, "calc": 0.25, "cnt": 0.10, "next": 0.25}.items():
        assert shares[task] / 4000 == pytest.approx(share, abs=0.03)


def test_counting_says_yes_about_as_often_as_no() -> None:
    rng = Random(0)
    chains = " ".join(draw_count(rng, 6).chain for _ in range(500)).split()
    assert chains.count("yes") / (chains.count("yes") + chains.count("no")) == pytest.approx(0.55, abs=0.04)


def test_next_is_an_arithmetic_progression_modulo_ten() -> None:
    rng = Random(0)
    for _ in range(200):
        problem = draw_following(rng, 5)
        whole = [*problem.digits, int(problem.answer)]
        assert len({(b - a) % 10 for a, b in pairwise(whole)}) == 1


@pytest.mark.parametrize("mix", [BASE, EXPERT, IMAGES, MLLM], ids=["base", "expert", "images", "mllm"])
def test_the_shares_of_a_mix_add_up_to_one(mix) -> None:
    assert sum(row.share for row in mix) == pytest.approx(1.0)


def test_only_the_mllm_mix_shows_images_and_it_does_so_four_times_in_five() -> None:
    exercises = draw_exercises(MLLM, Random(0), 4000)
    assert sum(e.image for e in exercises) / 4000 == pytest.approx(0.8, abs=0.03)
    assert not any(e.image for e in draw_exercises(BASE, Random(0), 400))


def test_sft_problems_span_two_to_six_digits_and_one_short_one_in_ten_shows_a_glyph() -> None:
    rng = Random(0)
    problems = [draw_reasoning(rng, LONG) for _ in range(5000)]
    assert {len(p.digits) for p in problems} == {2, 3, 4, 5, 6}
    short = [p for p in problems if len(p.digits) <= 4]
    assert sum(p.icon is not None for p in short) / len(short) == pytest.approx(0.1, abs=0.02)
    assert all(p.icon is None for p in problems if len(p.digits) > 4)


def test_every_word_that_is_drawn_is_in_the_language() -> None:
    known = {*WORDS, "<think>", "</think>"}
    rng = Random(0)
    for exercise in draw_exercises((*BASE, *EXPERT, *IMAGES), rng, 2000):
        words = f"{text_prompt(exercise.problem, exercise.think)} {reply(exercise.problem, exercise.think)}".split()
        assert known.issuperset(words)
    assert known.issuperset(FOLDS)


def test_text_models_drill_counting_more_than_problems_ask_for_it() -> None:
    def counted(mix: tuple[Row, ...]) -> float:
        return sum(e.problem.task == "cnt" for e in draw_exercises(mix, Random(0), 4000)) / 4000

    assert counted(EXPERT) == pytest.approx(0.25, abs=0.03)
    assert counted(LONG_CHAINS) == pytest.approx(0.10, abs=0.02)
