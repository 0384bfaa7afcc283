r"""The lab's suites: a boxed digit or word, and for five of them the benchmark that they stand in for.

VLMEvalKit scores such a suite with its class of that benchmark. Those of We-Math and LogicVista score option letters
only, so the digit d becomes the option `ABCDEFGHIJ`[d] there.
"""

from collections.abc import Callable
from typing import Any

from drift.errors import DataError
from evaluation.benchmarks.base import Benchmark, grouped_by
from evaluation.benchmarks.wemath import grouped_scores
from evaluation.data.tsv import QA, Item
from evaluation.judging.prompts import value_protocol
from evaluation.judging.rules import score_boxed

LETTERS = "ABCDEFGHIJ"
Columns = Callable[[Item], dict[str, str]]  # that the toolkit's class needs of an item


def _mathvista(item: Item) -> dict[str, str]:
    kind = {"question_type": "free_form", "answer_type": "integer", "answer_option": "", "choices": "[]"}
    return {**kind, "answer": str(_digit(item)), "task": "lab", "skills": "['lab']"}


def _mathverse(item: Item) -> dict[str, str]:
    metadata = '{"problem_version": "Vision Only", "subject": "lab", "subfield": "digits"}'
    return {"question_for_eval": item.question, "query_cot": item.question, "metadata": metadata}


def _wemath(item: Item) -> dict[str, str]:
    options = {letter: str(value) for value, letter in enumerate(LETTERS)}
    key = {"ID": item.fields["ID"], "key": item.fields["key"], "knowledge concept": "lab"}
    return {**options, "answer": LETTERS[_digit(item)], **key}


def _digit(item: Item) -> int:
    if len(item.answer) != 1 or item.answer not in "0123456789":
        raise DataError(
            f"item {item.index!r} has the answer {item.answer!r}; this class of the toolkit needs one digit"
        )
    return int(item.answer)


def _suite(name: str, real: str | None = None, toolkit: Columns | None = None, **members: Any) -> Benchmark:
    return Benchmark(
        name=name,
        tsv=f"{name}.tsv",
        prompt=lambda item: f"{item.question} think",
        rule=score_boxed,
        protocol=value_protocol(score_boxed, lambda value: f"\\boxed{{{value}}}"),
        stands_in_for=real,
        toolkit=toolkit,
        **members,
    )


_GROUPED = {"columns": (*QA, "ID", "key"), "group": grouped_by("ID"), "headline": "strict", "metrics": grouped_scores}
BENCHMARKS = (
    _suite("LabMathVista", "MathVista_MINI", _mathvista),
    _suite("LabMathVision", "MathVision", lambda item: {"choices": "[]", "category": "lab"}),
    _suite("LabMathVerse", "MathVerse_MINI_Vision_Only", _mathverse),
    _suite("LabWeMath", "WeMath", _wemath, **_GROUPED),
    _suite("LabLogicVista", "LogicVista", lambda item: {"answer": LETTERS[_digit(item)], "skill": "inductive"}),
    _suite("LabReading"),
    _suite("LabPosition"),
    _suite("LabIcon"),
)
