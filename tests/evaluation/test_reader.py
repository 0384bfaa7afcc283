"""The reader and the comparator, example by example: what was once read or credited wrongly, and laws of comparison."""

import os
import random
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.answers.equality import same_answer
from evaluation.answers.inference import infer_option
from evaluation.answers.numbers import find_number
from evaluation.answers.reading import read_option
from evaluation.benchmarks import BENCHMARKS, get_benchmark
from evaluation.data.tsv import Item
from evaluation.judging.judge import JudgeReply
from evaluation.judging.protocols import MODES, TOOLKIT_COMMIT, VLMEVALKIT
from evaluation.judging.scoring import score, summarise

OPTIONS = {"A": "2 cm", "B": "8 cm", "C": "12 cm", "D": "15 cm"}


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        ("5 cm", "5 km", False),
        ("50 cents", "$50", False),
        ("50 cents", "$0.50", True),
        ("1 m", "1 cm", False),
        ("1 m", "100 cm", True),
        ("2 1/2", "21/2", False),
        ("2 1/2", "2.5", True),
        ("1000000", "1000001", False),
        ("|x|", "x", False),
        ("1, 2", "(2,1)", False),
        ("1, 2", "(1,2)", True),
        ("160", "160\\mathrm{~cm}", True),
        ("100", "100\\,\\text{cm}^2", True),
        ("5 cm", "5 cm^2", False),
        ("3 hours 20 minutes", "200 minutes", True),
        ("20%", "0.2", True),
        ("3:30", "3:45", False),
        ("3:30 pm", "15:30", True),
        ("[-4,0)", "(-4,0)", False),
        ("\\{1,2\\}", "2, 1", True),
        ("x=5", "5", True),
        ("x=5", "y=5", False),
        ("7 = 11a+c", "11a+c", False),
        ("\\frac{1}{3}", "0.33", False),
        ("\\frac{1}{3}", "0.333333", True),
        ("5 apples", "5 oranges", False),
        ("14{,}916", "14916", True),
        ("\\tan^2(y)+1", "\\sec^2(y)", True),
    ],
)
def test_typed_answers(gold, answer, same):
    assert same_answer(gold, answer) is same_answer(answer, gold) is same


PIECES = [
    "1",
    "2.5",
    "-3",
    "1/2",
    " ",
    ",",
    "(",
    ")",
    "x",
    "=",
    "cm",
    "km",
    "$",
    "%",
    "\\frac{1}{2}",
    "\\{",
    "\\}",
    "|",
    "^2",
    ":30",
]
ANSWERS = st.lists(st.sampled_from([*PIECES, "two", " and ", "[", "°", "~", "\\text{m}"]), min_size=1, max_size=6).map(
    "".join
)


@settings(max_examples=150, deadline=None)
@given(ANSWERS, ANSWERS)
def test_comparison_is_symmetric_and_reflexive(left, right):
    assert same_answer(left, right, symbolic=False) == same_answer(right, left, symbolic=False)
    if left.strip():
        assert same_answer(left, left)


@settings(max_examples=60, deadline=None)
@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_exact_integers_differ_by_one_and_equal_their_other_spellings(number, other):
    assert not same_answer(str(number), str(number + 1))
    assert same_answer(str(number), f"{number:,}")
    assert same_answer(f"{number}/{other}", f"\\frac{{{number}}}{{{other}}}")


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The temperature is 26°C", None),
        ("Look at point B first.", None),
        ("A bird sits on a branch.", None),
        ("The choices are (A) 2 cm, (B) 8 cm, (C) 12 cm, (D) 15 cm", None),
        ("We weigh them up.\nC", "C"),
        ("The correct answer is (C).\nOption (B) is not applicable.", "C"),
    ],
)
def test_guesses_are_no_readings(text, letter):
    assert read_option(text, OPTIONS).letter == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is (B).\n\nThe other options are:\n* Option (A) is too short.", "B"),
        ("The correct answer is (D), 15 cm, where angle A is the right angle.", "D"),
        ("Let's look.\n\nTherefore, the length is (C), which is the longest but one.", "C"),
        ("A) 2 cm\nB) 8 cm\nC) 12 cm\nD) 15 cm", None),
        ("1. 2 cm\n2. 8 cm\n3. 12 cm\n4. 15 cm", None),
        ("1. A\n2. B\n3. C", None),
        ("The choices are:\nA) 2 cm\nB) 8 cm\nC) 12 cm\nD) 15 cm\n\nIt measures 12 cm.", "C"),
        ("(A) 2 cm (B) 8 cm (C) 12 cm (D) 15 cm\n\nThe correct answer is (D) 15 cm.", "D"),
        ("(B) 8 cm is not an option.", None),
        ("The correct answer is (B). So x = \\boxed{82}.", "B"),
        ("If AB = 8 cm and OB = 2 cm, the length is 12 cm.", "C"),
        ("It comes to 3:1, as they say.", None),
        ("A:  The correct option letter is D.", "D"),
        ("A: 12 cm", "C"),
        ("B: 12 cm", "B"),
        ("\x93B\x94 (A) 2 cm, (B) 8 cm, (C) 12 cm, (D) 15 cm", "B"),
    ],
)
def test_what_is_said_beside_the_answer_is_not_taken_for_it(text, letter):
    assert read_option(text, OPTIONS).letter == letter


@pytest.mark.parametrize(
    ("question", "text", "value"),
    [
        (
            "How many objects are left?",
            "There are 5 objects in total.\nAfter that, there are 4 objects left:\nCube.",
            4,
        ),
        ("There are (_) dots in each group.", "The model has 9 dots in 3 groups, with 3 dots in each group.", 3),
        ("What is the ratio of A to B?", "The ratio of A to B is 3:1.", 3),
        ("What is the fraction of women?", "Three out of four are women.", 0.75),
        ("How many women are there?", "Three out of four are women.", 3),
        ("How many were born?", "The image shows 3 people.\nTherefore, the number of people born is 2.", 2),
        ("Which number is missing?", "The missing number is 4.\n\n1, 2, 3, __, 5", 4),
        ("How accurate?", "It is 80% accurate.\n\nName | Value\n--- | ---\nWheat | 100\nNiece | 20\n", 80),
        ("How many things?", "There are two large objects and three small ones.", None),
    ],
)
def test_a_number_is_read_for_its_question(question, text, value):
    found = find_number(text, question)
    assert (found and found.value) == value


@pytest.mark.parametrize(
    ("gold", "response", "is_right"),
    [
        (
            "Area $=121 \\pi \\mathrm{cm}^{2}$",
            "The area of the circle is \\( \\pi \\cdot 11^2 \\) square centimeters.",
            True,
        ),
        ("$x^{2}+y^{2}=49$", "The equation of the circle is (x^2 + y^2) = 49.", True),
        ("$x^{2}+y^{2}=49$", "The equation of the circle is (x^2 + y^2) = 7.", False),
        ("48 \\mathrm{cm}^3", "The volume is 2cm x 8cm x 3cm = 48 cubic centimeters (cm³).", True),
        ("28", "The new course is 35° - 7° = 28° south of east.", True),
        ("1:64", "So the ratio of A to B is 1:64.", True),
        ("64", "So the ratio of A to B is 1:64.", False),
        ("0", "The average rate of change is 0. The graph shows that it stays constant at 6 for each year.", True),
    ],
)
def test_free_answers_of_mathverse(gold, response, is_right):
    item = Item("1", "Question: What is the average rate of change?", gold)
    [verdict] = score(get_benchmark("MathVerse"), [item], {"1": response}, "semantic")
    assert verdict.correct is is_right


SOLUTIONS = "\nChoices:\nA:slopes\nB:areas\nC:zeros\nD:the solutions of f(t)=g(t)"
FUNCTION = "\nChoices:\nA:This is a function\nB:This is not a function"
ELLIPSE = "\\frac{x^2}{49} + \\frac{y^2}{4} = 1"


@pytest.mark.parametrize(
    ("question", "gold", "response", "is_right"),
    [
        ("Where do they meet?", "(-3, 2)", "Rounded to two places, the point is approximately:\n\n(-3, 2)", True),
        (f"What do they mean?{SOLUTIONS}", "D", 'So the right option is:\n\nD. They give the solutions.",', True),
        (
            f"What is y?{SOLUTIONS}",
            "A",
            "I cannot give an option letter, since there isn't enough to solve for 'y'.",
            False,
        ),
        (
            "How far?",
            "18.4",
            "Hence d = 14.5 / cos(38°)\n\nTo one place, the distance is approximately 18.4 meters.",
            True,
        ),
        (
            "Find the equation.",
            "f(x) = -x^2 - 4x + 1",
            '\\( f(x) = -1x^2 - 4x + 1 \\)\n\nSo the graphed function \\( f \\) is:\n\\( f(x) = -x^2 - 4x + 1 \\)"',
            True,
        ),
        ("Which numbers, in interval notation?", "(-3,2]", "Extracted Answer: \\((-3, 2)\\)", False),
        ("Find domain and range.", "domain: [-5, 0) and range: (-2, 1]", "Range: \\((-5, 1]\\)", False),
        (f"Is it a function?{FUNCTION}", "B", "This is not a function", True),
        (f"Its equation?\nChoices:\nA:{ELLIPSE}\nB:Can not be told.", "A", ELLIPSE, True),
        ("Find L.", "\\frac{5(x+7)}{2x+3} units", "So L is:\n\n\\( L = 2 \\sqrt{(x + 7)^2 - (2x + 3)^2} \\)", False),
        (f"Which two?{SOLUTIONS}", "C\nD", "Hence, the correct choices are:\n\nA and C", False),
    ],
)
def test_the_forms_that_mathverses_prompts_show_a_judge_get_its_verdict(question, gold, response, is_right):
    """Eleven of twelve; no rule joins an answer of several named parts (`Domain: ...`, then `Range: ...`)."""
    [verdict] = score(get_benchmark("MathVerse"), [Item("1", question, gold)], {"1": response}, "semantic")
    assert verdict.correct is is_right


def test_a_gold_answer_in_words_is_the_choice_that_it_spells():
    item = Item("1", "True or false?\nChoice:\nA. False\nB. True", "False")
    verdicts = [score(get_benchmark("MathVerse"), [item], {"1": said}, "semantic")[0].correct for said in ("A", "B")]
    assert verdicts == [True, False]


def test_an_echo_of_the_question_says_neither_yes_nor_no():
    item = Item("VD_x_1_0_1_0", "Is it longer?", "Yes")
    echo = score(
        get_benchmark("HallusionBench"), [item], {item.index: "Is it longer? Please answer yes or no."}, "semantic"
    )
    assert (echo[0].correct, echo[0].unmatched) == (False, True)


def test_a_contradicting_mark_is_a_conflict_and_says_where_it_stands():
    item = Item("1", "How long?", "B", OPTIONS)
    response = "So it is long.\n\\boxed{B. 12 cm}"
    [verdict] = score(get_benchmark("MMStar"), [item], {"1": response}, "semantic")
    assert (verdict.extraction, verdict.conflict) == ("B", True)
    assert response[verdict.position :].startswith("\\boxed{")
    [other] = score(get_benchmark("MMStar"), [item], {"1": "\\boxed{B}. The answer is 12 cm."}, "semantic")
    assert other.conflict
    assert summarise(get_benchmark("MMStar"), [item], [other]).conflicts == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("\\boxed{100\\,\\text{cm}^2}", 100),
        ("There are 14 in total.", 14),
        ("The answer is approximately 2.5.", 2.5),
        ("Final Answer: The final answer is $28$. I hope it is correct.", 28),
        ("the answer is:\n\\[ 42 \\]", 42),
    ],
)
def test_whole_phrasings_of_a_number(text, value):
    found = find_number(text)
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize("response", ["<answer>C</answer>", "Answer: C", "</think>\nC"])
def test_what_the_published_rule_of_math_v_misses_the_other_protocols_read(response):
    item = Item("1", "q", "C", OPTIONS)
    assert [
        score(get_benchmark("MathVision"), [item], {"1": response}, mode)[0].correct
        for mode in ("official", "semantic")
    ] == [
        False,
        True,
    ]


class Never:
    """A judge that is not asked."""

    def judge_all(self, requests) -> list[JudgeReply]:
        raise AssertionError(f"asked about {len(requests)} items")


def test_a_protocol_of_rules_alone_asks_no_judge_and_names_none():
    item, benchmark = Item("1", "q", "C", OPTIONS), get_benchmark("MathVision")
    verdicts = score(benchmark, [item], {"1": ""}, "official", Never())
    summary = summarise(benchmark, [item], verdicts)
    assert (summary.judge, summary.unmatched, summary.protocol.split("@")[0]) == ("", 1, "math-v")


def test_every_benchmark_has_a_named_protocol_for_each_mode_and_equal_statements_have_equal_hashes():
    named = {name: [benchmark.pinned(mode).name for mode in MODES] for name, benchmark in BENCHMARKS.items()}
    assert named["MathVista_MINI"] == [
        "mathvista@paper",
        "mathvista@today",
        f"vlmevalkit@{TOOLKIT_COMMIT}",
        "semantic@3",
    ]
    assert all("@" in name for names in named.values() for name in names)
    hashes = {
        benchmark.pinned(mode).name: benchmark.pinned(mode).sha256
        for benchmark in BENCHMARKS.values()
        for mode in MODES
    }
    assert len(set(hashes.values())) == len(hashes)
    assert len(VLMEVALKIT.sha256) == 64


@pytest.mark.parametrize(
    ("extraction", "paper", "today"),
    [("2.0", False, True), ("5.5", False, True), ("2", True, True), ("x", False, False)],
)
def test_mathvista_of_the_paper_and_of_today_part_at_integers(extraction, paper, today):
    gold = "5" if extraction.startswith("5") else "2"
    item = Item("1", "q", gold, fields={"answer_type": "integer"})
    from evaluation.benchmarks.mathvista import official_verdict

    assert (official_verdict(item, extraction), official_verdict(item, extraction, is_today=True)) == (paper, today)


def test_the_toolkit_infers_by_its_oddities():
    assert infer_option("A or B? The answer is B", OPTIONS) == "B"
    assert infer_option("the answer is between them", OPTIONS) == "B"
    assert infer_option("Sorry, I can't help with images of people yet.", OPTIONS) == "Z"
    assert infer_option("B comes first, and then a long way to go", OPTIONS) is None


def clone(variable: str) -> Path:
    place = os.environ.get(variable, "")
    if not place:
        pytest.skip(f"no clone to hold this against; set {variable} to a git folder of it")
    return Path(place)


def shown(repository: Path, revision: str, path: str) -> str:
    return subprocess.run(
        ["git", "-C", repository, "show", f"{revision}:{path}"], capture_output=True, text=True, check=True
    ).stdout


def test_infer_option_is_the_toolkits_can_infer_on_texts_of_all_kinds():
    source = shown(clone("VLMEVALKIT"), TOOLKIT_COMMIT, "vlmeval/utils/matching_util.py")
    log = types.ModuleType("vlmeval.smp.log")
    log.get_logger = lambda name: None
    theirs: dict = {}
    parents = {
        "vlmeval": types.ModuleType("vlmeval"),
        "vlmeval.smp": types.ModuleType("vlmeval.smp"),
        "vlmeval.smp.log": log,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, module in parents.items():
            patch.setitem(sys.modules, name, module)
        exec(compile(source, "matching_util.py", "exec"), theirs)
    rng, words = (
        random.Random(0),
        ["A", "B", "C", "D", "Z", "answer", "is", "**C**", "the", "8 cm", "2", ".", "(B)", "correct", "a"],
    )
    for _ in range(5_000):
        text = " ".join(rng.choices(words, k=rng.randrange(1, 14)))
        assert infer_option(text, OPTIONS) == (theirs["can_infer"](text, dict(OPTIONS)) or None), text


@pytest.mark.slow
def test_math_verifys_own_suite_is_passed_in_240_of_266_and_no_wrong_answer_is_accepted():
    import ast
    import math

    from evaluation.answers.final import final_answer

    repository, right, wrongly_accepted, total = clone("MATH_VERIFY"), 0, [], 0
    for name in ("all", "boxed", "numina_cases", "open_thoughts", "yujianll"):
        for node in ast.walk(ast.parse(shown(repository, "HEAD", f"tests/test_{name}.py"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") != "parametrize":
                continue
            names = [word.strip() for word in ast.literal_eval(node.args[0]).split(",")]
            for row in node.args[1].elts if {"gold", "pred"} <= set(names) else ():
                case = dict(zip(names, eval(compile(ast.Expression(row), name, "eval"), {"math": math}), strict=True))
                gold, answer = ((final_answer(case[side]) or (case[side],))[0] for side in ("gold", "pred"))
                expected, total = bool(case.get("expected", case.get("result"))), total + 1
                found = same_answer(gold, answer)
                right += found == expected
                wrongly_accepted += [case] if found and not expected else []
    print(f"math-verify's suite: {right} of {total}")
    assert wrongly_accepted == []
    assert right >= 240 * total // 266


MUTATIONS = [
    "\\boxed{",
    "}",
    "{",
    "$",
    "\\frac",
    "^",
    "A",
    "(B)",
    "answer is",
    ":",
    "\n",
    "<think>",
    "</think>",
    "9!",
    "^9^9",
    "é",
    "\0",
    "=",
    "~",
]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_mutated_responses_get_verdicts_in_time_and_none_is_run(tmp_path):
    rng, sentinel = random.Random(5), tmp_path / "run"
    bases = [
        "The answer is \\boxed{\\frac{1}{2}}.",
        "<think>x</think>The correct answer is (B) 8 cm.",
        "There are 14 in total. x=3y",
        f"The answer is __import__('pathlib').Path('{sentinel}').touch()",
        f"\\boxed{{open('{sentinel}', 'w')}}",
        "[1, 2, 3]. The ratio is 3:1, which is 3 out of four.",
        "The equation is (x-1)^2 + y^2 = 7^2.",
    ]
    names, slowest = sorted(BENCHMARKS), 0.0
    options, free = Item("a_b_1_0_1_1", "Which? (A) 2 (B) 3", "B", OPTIONS), Item("a_b_1_0_1_1", "How many?", "12")
    for number in range(100_000):
        text = rng.choice(bases)
        for _ in range(rng.randrange(1, 6)):
            place = rng.randrange(len(text) + 1)
            text = (
                text[:place] + rng.choice(MUTATIONS) * rng.choice((1, 1, 1, 2, 40)) + text[place + rng.randrange(4) :]
            )
        start = time.process_time()
        [verdict] = score(
            get_benchmark(names[number % len(names)]),
            [rng.choice((options, free))],
            {"a_b_1_0_1_1": text},
            rng.choice(MODES),
        )
        slowest = max(slowest, time.process_time() - start)
        assert verdict.correct in (True, False)
    print(f"100,000 mutated responses: the slowest took {slowest:.3f} s")
    assert slowest < 2
    assert not sentinel.exists()
