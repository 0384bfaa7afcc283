"""Scores MathVerse by rules, which is our extension: the published protocol asks a model twice about every response.

The rules extract a letter for a question with choices and the closing answer otherwise. `official` then keeps the
protocol's first comparison, equality of the two texts; `semantic` compares options and values. A score made this way is
labelled by its judge, "rules", and never stands beside a judged one unmarked.
"""

import re

from evaluation.answers.equality import same_answer
from evaluation.answers.final import final_answer
from evaluation.answers.reading import read_option
from evaluation.answers.text import split_think
from evaluation.data.tsv import Item
from evaluation.judging.verdicts import Outcome

_CHOICE = re.compile(r"^\s*\(?([A-H])\s?[:.)]\s*(.*)$", re.M)


def score_mathverse(item: Item, response: str, mode: str) -> Outcome:
    """The verdict of our rules on one response."""
    text = split_think(response)[1] or response
    options = dict(item.options) or question_choices(item)
    if options and item.answer.strip() in options:
        reading = read_option(text, options)
        return Outcome(
            reading.letter == item.answer.strip(), reading.text, reading.rule if reading.text else "unmatched"
        )
    found = final_answer(text)
    if found is None:
        return Outcome(False, None, "unmatched")
    answer, rule = found
    is_right = answer.strip() == item.answer.strip() if mode == "official" else same_answer(item.answer, answer)
    return Outcome(is_right, answer[:200], rule)


def question_choices(item: Item) -> dict[str, str]:
    """Letter -> text of the choices that the question, or the fuller one for the judge, spells out line by line."""
    for text in (item.question, item.fields.get("question_for_eval", ""), item.fields.get("query_cot", "")):
        _, found, tail = text.rpartition("Choices:")
        choices = dict(_CHOICE.findall(tail)) if found else {}
        if len(choices) > 1:
            return choices
    return {}
