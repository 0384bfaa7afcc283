"""Scores MATH-V: the published rule in evaluation.benchmarks.mathvision_official, or what a careful reader would say.

`semantic` reads the answer part: a chosen option for a question with options, else the closing answer, and compares
options by letter or value and free answers by value.
"""

from evaluation.answers.equality import same_answer
from evaluation.answers.final import final_answer
from evaluation.answers.reading import read_option
from evaluation.answers.text import split_think
from evaluation.benchmarks import mathvision_official as official
from evaluation.data.tsv import Item
from evaluation.judging.verdicts import Outcome

_LONGEST = 200


def score_mathvision(item: Item, response: str, mode: str) -> Outcome:
    """The verdict of `mode` on one response."""
    return _official(item, response) if mode == "official" else _semantic(item, response)


def _official(item: Item, response: str) -> Outcome:
    answer = official.extract(response)
    if not answer:
        return Outcome(False, None, "unmatched")
    value = item.options.get(item.answer, "")
    is_right = official.is_equal(item.answer, answer) or official.is_equal(value, answer)
    return Outcome(is_right, answer[:_LONGEST], "published")


def _semantic(item: Item, response: str) -> Outcome:
    text = split_think(response)[1] or response
    if item.options:
        reading = read_option(text, item.options)
        return Outcome(reading.letter == item.answer, reading.text, reading.rule if reading.text else "unmatched")
    found = final_answer(text)
    if found is None:
        return Outcome(False, None, "unmatched")
    answer, rule = found
    return Outcome(same_answer(item.answer, answer), answer[:_LONGEST], rule)
