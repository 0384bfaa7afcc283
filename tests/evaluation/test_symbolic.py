"""Formulas are compared within bounded processor time; starting up belongs to no item; silence is never a verdict."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from evaluation.answers import symbolic
from evaluation.answers.equality import agree_at_points, same_equation
from evaluation.answers.symbolic import HelperError, is_equivalent, prepare
from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import Item
from evaluation.judging.scoring import score

# Not explosive by their looks: an integral that sympy searches for, and a power of millions of digits in compiled code.
SLOW = [(r"\int\sin{x^5}\cos{x^7}dx", "x+1"), ("(((99^{99})^{99})^{99})^{99}x", "x+1")]


@pytest.fixture
def helper(monkeypatch):
    """A helper of this test's own, and no verdicts from earlier ones."""
    is_equivalent.cache_clear()
    fresh = symbolic._Helper()
    monkeypatch.setattr(symbolic, "_HELPER", fresh)
    yield fresh
    fresh._stop()
    is_equivalent.cache_clear()


def seconds(helper) -> float:
    """Processor seconds, user's and system's, of the helper and of the children that it waited for."""
    return sum(psutil.Process(helper._process.pid).cpu_times()[:4])


@pytest.mark.parametrize("pair", SLOW)
def test_a_formula_that_never_ends_costs_a_quarter_second_of_processor_time_and_the_helper_lives_on(helper, pair):
    helper.start()
    process, before = psutil.Process(helper._process.pid), seconds(helper)
    assert is_equivalent(*pair) is False
    assert 0.2 < seconds(helper) - before < 0.6
    assert is_equivalent("x=3y", "3y=x") is True
    assert helper._process.pid == process.pid
    assert process.children() == []


def test_an_item_whose_every_option_runs_out_of_time_stays_under_two_seconds(helper):
    options = {letter: rf"\int\cos{{x^{k}}}\sin{{x^{k + 1}}}dx" for letter, k in zip("ABCDE", range(3, 8), strict=True)}
    helper.start()
    before = seconds(helper)
    response = rf"\boxed{{{SLOW[0][0]}}}"
    [verdict] = score(get_benchmark("MathVision"), [Item("1", "q", "A", options)], {"1": response}, "semantic")
    assert (verdict.correct, is_equivalent.cache_info().misses) == (False, 5)
    assert 5 * 0.2 < seconds(helper) - before < 2


def test_a_slow_question_leaves_no_trace_on_the_next_ones(helper):
    pairs = [("x^2+2x+1", "(x+1)^2"), ("a+b", "a-b"), (r"\int x dx", "x+1"), (r"\begin{x", "y=")]
    first = [is_equivalent(*pair) for pair in pairs]
    is_equivalent.cache_clear()
    is_equivalent(*SLOW[0])
    assert [is_equivalent(*pair) for pair in reversed(pairs)] == first[::-1]
    assert first == [True, False, False, False]


def test_starting_up_comes_before_the_first_item_and_only_where_a_gold_answer_is_a_formula(helper):
    benchmark = get_benchmark("MathVision")
    score(benchmark, [Item("1", "q", "12"), Item("2", "q", "A", {"A": "8 cm", "B": "-2"})], {"1": "x+1", "2": "B"})
    score(benchmark, [Item("1", "q", "x+y")], {"1": "x+y"}, "official")  # the published rule compares no formulas
    assert helper._process is None
    asked = Item("1", "Which?\nChoices:\nA: x+y\nB: 2", "A")  # MathVerse spells its options out in the question
    score(get_benchmark("MathVerse"), [asked], {}, "semantic")
    started = helper._process
    assert started.poll() is None
    prepare(["x+y"])
    assert helper._process is started


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="stops a process by signal and looks at its state in /proc")
def test_silence_is_an_error_and_not_a_verdict_and_the_next_question_starts_anew(helper, monkeypatch):
    helper.start()
    stopped = helper._process.pid
    os.kill(stopped, signal.SIGSTOP)
    with monkeypatch.context() as impatient:
        impatient.setattr(symbolic, "_SILENCE_SECONDS", 0.2)
        with pytest.raises(HelperError, match=r"silent for 0\.2 s, asked about .*a\+b"):
            is_equivalent("a+b", "b+a")
    assert not psutil.pid_exists(stopped)
    assert is_equivalent("a+b", "b+a") is True


def test_a_helper_that_was_killed_is_replaced_and_one_that_cannot_start_is_named(helper, monkeypatch):
    helper.start()
    helper._process.kill()
    helper._process.wait()
    assert is_equivalent("a+b", "b+a") is True
    helper._stop()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    start = time.monotonic()
    with pytest.raises(HelperError, match=r"when it was started. Try `/bin/false -m evaluation.answers.symbolic`"):
        is_equivalent("a+c", "c+a")
    assert time.monotonic() - start < 5  # not the patience with a silent one


def test_many_threads_get_each_their_own_answer(helper):
    pairs = [(f"{k}a+b", f"b+{k + k % 2}a") for k in range(2, 14)]
    found: dict[int, bool] = {}

    def ask(place: int) -> None:
        found[place] = is_equivalent(*pairs[place])

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(pairs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[place] for place in range(len(pairs))] == [k % 2 == 0 for k in range(2, 14)]


def test_formulas_without_values_at_points_reach_the_helper():
    assert agree_at_points("x=3y", "3y=x") is None


@pytest.mark.parametrize(
    ("left", "right", "same"), [("x+1", "1+x", True), ("2x", "3x", False), ("2x", "2y", False), ("y", "y+0x", False)]
)
def test_formulas_are_the_same_by_their_variables_and_their_values(left, right, same):
    assert agree_at_points(left, right) is agree_at_points(right, left) is same


@pytest.mark.parametrize(
    ("left", "right", "same"), [("x=3y", "3y=x", True), ("2x=6y", "x=3y", True), ("x=3y", "x=2y", False)]
)
def test_equations_are_the_same_where_their_sides_differ_in_proportion(left, right, same):
    assert same_equation(left, right) is same_equation(right, left) is same
