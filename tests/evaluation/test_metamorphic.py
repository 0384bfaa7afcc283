"""Each kind of answer of each benchmark, in every phrasing: the right one is credited and a wrong one is not.

By default golds of every type are made up; with the benchmarks' data (DRIFT_BENCHMARKS) and `-m slow` real golds go
through the same phrasings.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from phrasings import NUMBER, OPTION, VALUE, YES_NO

from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import Item
from evaluation.judging.scoring import score

ROOT = Path(os.environ.get("DRIFT_BENCHMARKS", Path(__file__).parents[2] / ".." / "shared" / "benchmarks"))
OPTIONS = (
    {"A": "2 cm", "B": "8 cm", "C": "12 cm", "D": "15 cm"},
    {"A": "decrease", "B": "stay the same", "C": "increase", "D": "none of these"},
    {"A": r"$\frac{1}{2}$", "B": r"$\frac{1}{3}$", "C": r"$\frac{2}{3}$", "D": "$2$"},
    {"A": "A", "B": "B", "C": "C", "D": "D"},
    {"A": "26°", "B": "36°", "C": "46°", "D": "56°"},
    {"A": "point A", "B": "point B", "C": "point C", "D": "point D"},
)
# gold -> an answer that is wrong, one for each kind of answer.
VALUES = {
    "14": "13", "-3": "3", "2.5": "2.4", "1000": "1001", r"\frac{3}{4}": r"\frac{4}{3}",
    r"2\sqrt{3}": r"3\sqrt{2}", "(1,2)": "(2,1)", "x^2+1": "x^2-1", "1,3,5": "1,3,7", "[-4,0)": "(-4,0)",
    "y=2x+1": "y=2x-1", r"12\pi": "12", r"40^{\circ}": r"41^{\circ}", "3:2": "2:3", r"75\%": r"76\%",
    r"\$4.50": r"\$4.55", "18 cm": "18 km", r"2\frac{1}{2}": r"\frac{21}{2}", "3:30": "3:45",
    r"\{1,2\}": r"\{1,3\}", "Monday": "Tuesday", "160": "16", "0.125": "0.12", "50 cents": "\\$50", "|x|": "x",
}  # fmt: skip
CHOICE = ("MathVista", "MathVision", "MMStar", "RealWorldQA", "WeMath", "LogicVista", "MathVerse")


def choice_item(benchmark: str, gold: str, options: dict[str, str]) -> Item:
    """A question with these options, spelled as the benchmark spells them."""
    spelled = " ".join(f"({letter}) {text}" for letter, text in options.items())
    question = f"Question: What is the right one?\nChoices: {spelled}"
    if benchmark == "MathVerse":
        question = "What?\nChoices:\n" + "\n".join(f"{letter}:{text}" for letter, text in options.items())
    fields = {"question_type": "multi_choice", "answer_type": "text", "answer_option": gold, "key": "2steps_1"}
    answer = options[gold] if benchmark == "MathVista" else gold
    columns = {} if benchmark in ("LogicVista", "MathVerse") else options
    return Item("1", question, answer, columns, group="1", fields=fields)


def is_credited(benchmark: str, item: Item, response: str, mode: str) -> bool:
    return score(get_benchmark(benchmark), [item], {item.index: response}, mode)[0].correct is True


def option_cases(benchmark: str) -> Iterator[tuple[str, Item, str, bool]]:
    """(phrasing, item, response, whether it is right): three golds a phrasing, the letters in turn."""
    for place, phrasing in enumerate(OPTION):
        for options in OPTIONS:
            letter = "ABCD"[place % 4]
            other = "B" if letter != "B" else "C"
            response = phrasing.format(L=letter, t=options[letter], w=other)
            for gold in (letter, other, "D" if letter != "D" else "A"):
                yield phrasing, choice_item(benchmark, gold, options), response, gold == letter


def value_cases(golds: dict[str, str]) -> Iterator[tuple[str, Item, str, bool]]:
    """(phrasing, item, response, whether it is right): the gold answer, and a wrong one."""
    for gold, wrong in golds.items():
        is_number = gold.lstrip("-").replace(".", "", 1).isdigit()
        for phrasing in (*VALUE, *(NUMBER if is_number else ())):
            for answer, other in ((gold, wrong), (wrong, gold)):
                yield phrasing, Item("1", "Find it.", gold), phrasing.format(a=answer, w=other), answer == gold


def missed(
    benchmark: str, cases: Iterator[tuple[str, Item, str, bool]], mode: str = "semantic"
) -> tuple[int, Counter, list]:
    """(right cases, phrasings in which a right answer is not credited, responses with a wrong one that is)."""
    rejected, accepted, right = Counter(), [], 0
    for phrasing, item, response, is_right in cases:
        right += is_right
        if is_credited(benchmark, item, response, mode) != is_right:
            if is_right:
                rejected[phrasing] += 1
            else:
                accepted.append((item.answer, response))
    return right, rejected, accepted


def test_there_are_enough_phrasings():
    assert len(set(OPTION)) >= 85
    assert len(set(VALUE)) >= 75
    assert len(set(NUMBER)) >= 28


@pytest.mark.parametrize("benchmark", CHOICE)
def test_a_chosen_option_is_credited_in_every_phrasing_and_another_one_never(benchmark):
    right, rejected, accepted = missed(benchmark, option_cases(benchmark))
    assert accepted == []
    assert rejected.total() <= 0.005 * right, rejected


@pytest.mark.parametrize("benchmark", ["MathVision", "MathVerse"])
def test_a_free_answer_is_credited_in_every_phrasing_and_a_wrong_one_never(benchmark):
    right, rejected, accepted = missed(benchmark, value_cases(VALUES))
    assert accepted == []
    assert rejected.total() <= 0.01 * right, rejected


@pytest.mark.parametrize(
    ("gold", "wrong", "kind"), [("14", "13", "integer"), ("0", "1", "integer"), ("2.5", "2.4", "float")]
)
def test_a_number_of_mathvista_is_credited_in_every_phrasing_and_a_wrong_one_never(gold, wrong, kind):
    hint = "Hint: Please answer and provide the final value, e.g., 1, 2, 3, at the end.\nQuestion: What is it?"
    fields = {"question_type": "free_form", "answer_type": kind, "precision": "1"}
    cases = ((p, Item("1", hint, item.answer, fields=fields), r, ok) for p, item, r, ok in value_cases({gold: wrong}))
    _, rejected, accepted = missed("MathVista", cases)
    assert (accepted, rejected.total()) == ([], 0), rejected


@pytest.mark.parametrize("gold", ["Yes", "No"])
def test_yes_and_no_are_credited_in_every_phrasing_and_the_other_never(gold):
    other = {"Yes": "No", "No": "Yes"}[gold]
    rejected, accepted = [], []
    for phrasing in YES_NO:
        item = Item("VD_x_1_0_1_0", "Is the left line longer?", gold)
        if not is_credited(
            "HallusionBench", item, phrasing.format(a=gold, l=gold.lower(), w=other, v=other.lower()), "semantic"
        ):
            rejected.append(phrasing)
        if is_credited(
            "HallusionBench", item, phrasing.format(a=other, l=other.lower(), w=gold, v=gold.lower()), "semantic"
        ):
            accepted.append(phrasing)
    assert (rejected, accepted) == ([], [])


@pytest.mark.parametrize("mode", ["official", "today", "vlmevalkit"])
@pytest.mark.parametrize("benchmark", CHOICE)
def test_the_imitated_protocols_never_credit_a_letter_that_the_response_does_not_choose(benchmark, mode):
    right, rejected, accepted = missed(
        benchmark, (case for k, case in enumerate(option_cases(benchmark)) if k % 2), mode
    )
    wrong = [response for _, response in accepted]
    assert len(wrong) <= 0.04 * right, wrong[:5]  # their own defects, which are kept
    assert rejected.total() < 0.75 * right


@pytest.mark.slow
@pytest.mark.skipif(not ROOT.is_dir(), reason=f"no benchmark data at {ROOT}; set DRIFT_BENCHMARKS")
def test_real_golds_of_math_v_are_credited_in_every_phrasing_and_others_never():
    records = [
        json.loads(line) for line in (ROOT / "mathvision" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    golds = list(dict.fromkeys(r["answer"] for r in records if not r["options"]))[::4]
    pairs = {gold: golds[(k + 1) % len(golds)] for k, gold in enumerate(golds)}
    right, rejected, accepted = missed("MathVision", value_cases(pairs))
    assert rejected.total() <= 0.02 * right, rejected.most_common(8)
    assert len(accepted) <= 0.002 * right, accepted[:8]
