r"""The lab's suites: a boxed digit or word, and for five of them the benchmark that they stand in for.

VLMEvalKit scores such a suite with its class of that benchmark. Those of We-Math and LogicVista score option letters
only, so the digit d becomes the option `ABCDEFGHIJ`[d] there.
"""

from functools import partial

from drift.errors import DataError
from evaluation.benchmarks.base import Benchmark, grouped_by
from evaluation.benchmarks.wemath import grouped_scores
from evaluation.data.tsv import QA, Item
from evaluation.judging.prompts import value_protocol
from evaluation.judging.rules import score_boxed

LETTERS = "ABCDEFGHIJ"


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


def _logicvista(item: Item) -> dict[str, str]:
    return {"answer": LETTERS[_digit(item)], "skill": "inductive"}


def _digit(item: Item) -> int:
    if len(item.answer) != 1 or item.answer not in "0123456789":
        raise DataError(
            f"item {item.index!r} has the answer {item.answer!r}; this class of the toolkit needs one digit"
        )
    return int(item.answer)


_suite = partial(
    Benchmark,
    prompt=lambda item: f"{item.question} think",
    rule=score_boxed,
    protocol=value_protocol(score_boxed, lambda value: f"\\boxed{{{value}}}"),
)
BENCHMARKS = (
    _suite(name="LabMathVista", tsv="LabMathVista.tsv", stands_in_for="MathVista_MINI", toolkit=_mathvista),
    _suite(
        name="LabMathVision",
        tsv="LabMathVision.tsv",
        stands_in_for="MathVision",
        toolkit=lambda item: {"choices": "[]", "category": "lab"},
    ),
    _suite(name="LabMathVerse", tsv="LabMathVerse.tsv", stands_in_for="MathVerse_MINI_Vision_Only", toolkit=_mathverse),
    _suite(
        name="LabWeMath",
        tsv="LabWeMath.tsv",
        columns=(*QA, "ID", "key"),
        group=grouped_by("ID"),
        headline="strict",
        metrics=grouped_scores,
        stands_in_for="WeMath",
        toolkit=_wemath,
    ),
    _suite(name="LabLogicVista", tsv="LabLogicVista.tsv", stands_in_for="LogicVista", toolkit=_logicvista),
    _suite(name="LabReading", tsv="LabReading.tsv"),
    _suite(name="LabPosition", tsv="LabPosition.tsv"),
    _suite(name="LabIcon", tsv="LabIcon.tsv"),
)
