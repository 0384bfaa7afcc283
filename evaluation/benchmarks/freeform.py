r"""Scores free-form answers that a prompt asks to put in `\boxed{}`: the lab's suites."""

from evaluation.answers.arithmetic import evaluate
from evaluation.answers.text import last_boxed, split_think
from evaluation.data.tsv import Item
from evaluation.judging.verdicts import Outcome

_TOLERANCE = 1e-6


def score_boxed(item: Item, response: str, mode: str) -> Outcome:
    r"""The last `\boxed{}` against the gold answer, as text or as a number; no box is unmatched.

    `official` reads the whole response, `semantic` what follows the reasoning block.
    """
    text = response if mode == "official" else split_think(response)[1]
    boxed = last_boxed(text)
    if boxed is None:
        return Outcome(False, None, "unmatched")
    gold = item.answer.strip()
    if boxed == gold:
        return Outcome(True, boxed, "boxed")
    left, right = evaluate(boxed), evaluate(gold)
    is_equal = left is not None and right is not None and abs(left - right) <= _TOLERANCE * max(1.0, abs(right))
    return Outcome(is_equal, boxed, "boxed")
