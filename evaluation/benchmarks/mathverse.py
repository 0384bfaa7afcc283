"""MathVerse by rules, which is our extension: the published protocol asks a model twice about every response.

The rules extract a letter for a question with choices and the closing answer otherwise. `official` then keeps the
protocol's first comparison, equality of the two texts; `semantic` compares options and values. A score made this way is
labelled by its judge, "rules", and never stands beside a judged one unmarked.
"""

import re
from collections.abc import Callable, Mapping

from evaluation.answers.equality import same_answer
from evaluation.answers.text import without_thoughts
from evaluation.benchmarks.base import Benchmark, ask_question, column
from evaluation.data.tsv import Item
from evaluation.judging.judge import JudgeRequest
from evaluation.judging.prompts import Protocol, ask_value, read_value
from evaluation.judging.protocols import MATHVERSE, SEMANTIC, VLMEVALKIT_ALWAYS
from evaluation.judging.rules import read_choice, read_free
from evaluation.judging.verdicts import Outcome

_ONLY = ("VOnly", "68a11d4680014ac881fa37adeadea3a4")
# `Area $=121 \pi$` names what its value is.
_NAMED = re.compile(r"^[A-Z][a-z]+(?: [a-z]+)* ?\$ ?= ?|(?:,? ?units ?\$? ?\^?\{?\d?\}?\$?)$|\$$")
_CHOICE = re.compile(r"^\s*\(?([A-H])\s?[:.)]\s*(.*)$", re.M)
_EQUALITY_EXAMPLES = (
    "Question: Find x.\nStandard answer: 2\\sqrt{3}\nStudent's answer: x = √12\nReply: 1",
    "Question: What is the angle?\nStandard answer: 40°\nStudent's answer: 40\nReply: 1",
    "Question: Which is right? A: 5 B: 6\nStandard answer: B\nStudent's answer: 6\nReply: 1",
    "Question: Find the area.\nStandard answer: 12\nStudent's answer: 12π\nReply: 0",
)


def score_mathverse(item: Item, response: str, mode: str) -> Outcome:
    """The verdict of our rules on one response."""
    text, gold = without_thoughts(response), item.answer.strip()
    options = question_choices(item)
    gold = _gold_letter(gold, options)
    if gold in options:
        return read_choice(text, options, gold, item.question)
    is_official = mode == "official"
    named = _NAMED.sub("", gold)
    return read_free(text, lambda a: a.strip() == gold if is_official else _is_same(gold, named, a), item.question)


def _is_same(gold: str, named: str, answer: str) -> bool:
    return same_answer(gold, answer) or (named != gold and same_answer(named, answer))


def _gold_letter(gold: str, options: Mapping[str, str]) -> str:
    """The letter that the gold answer names: `B`, `(B)`, or an option's text where that is in the table."""
    bare = gold.strip("()")
    spelled = [letter for letter, option in options.items() if option.strip() == gold]
    return bare if bare in options else (spelled[0] if len(spelled) == 1 else gold)


def question_choices(item: Item) -> Mapping[str, str]:
    """Letter -> text of the table's choices, else of those that the question, or the judge's fuller one, spells out."""
    if item.options:
        return item.options
    for text in (item.question, item.fields.get("question_for_eval", ""), item.fields.get("query_cot", "")):
        _, found, tail = re.sub(r"\bChoice:", "Choices:", text).rpartition("Choices:")
        choices = dict(_CHOICE.findall(tail)) if found else {}
        if len(choices) > 1:
            return choices
    return {}


def _ask_equality(request: JudgeRequest, extraction: str) -> str:
    question = request.fields.get("question_for_eval", "").strip() or request.question
    rules = (
        "Decide whether a student's answer to a question means the same as the standard answer. Only the final result "
        "counts: forms of one number, a missing unit, or an option's letter instead of its text make no difference. "
        "Reply 1 if they mean the same and 0 if not, and nothing else."
    )
    case = f"Question: {question}\nStandard answer: {request.answer}\nStudent's answer: {extraction}\nReply:"
    return "\n\n".join([rules, *_EQUALITY_EXAMPLES, case])


def _mathverse(
    name: str, table: str, md5: str, prompt: Callable[[Item], str] = ask_question, aliases: tuple[str, ...] = ()
) -> Benchmark:
    return Benchmark(
        name=name,
        aliases=aliases,
        tsv=f"MathVerse_MINI{table}.tsv",
        url=f"https://opencompass.openxlab.space/utils/benchmarks/MathVerse/MathVerse_MINI{table}.tsv",
        md5=md5,
        rows=788,
        facets=("metadata.problem_version", "metadata.subject", "metadata.subfield"),
        prompt=prompt,
        rule=score_mathverse,
        options=question_choices,
        protocol=Protocol(
            ask_value,
            read_value,
            is_gold=lambda request, answer, mode: answer == request.answer.strip(),
            compare=_ask_equality,
        ),
        protocols={"official": MATHVERSE, "vlmevalkit": VLMEVALKIT_ALWAYS, "semantic": SEMANTIC},
    )


BENCHMARKS = (
    _mathverse("MathVerse_MINI_Vision_Only", *_ONLY, aliases=("MathVerse",)),
    _mathverse(
        "MathVerse_MINI_Vision_Only_cot", *_ONLY, lambda item: column(item, "query_cot"), aliases=("MathVerse_cot",)
    ),
    _mathverse("MathVerse_MINI_Vision_Dominant", "VDom", "b8fb63852d261ab2aaefba29cc2414d3"),
    _mathverse("MathVerse_MINI_Vision_Intensive", "VInt", "01cbd35be202bb0c4873a4186a63bc19"),
    _mathverse("MathVerse_MINI_Text_Lite", "TLite", "19e4b13bdd30b89a03b2e358bcfefa04"),
    _mathverse("MathVerse_MINI_Text_Dominant", "TDom", "4f5cd2fa6630ea00bb11d6fde1f6fe6a"),
)
