"""Scores HallusionBench: yes or no, never both; the grouped accuracies are in evaluation.judging.summary."""

from evaluation.answers.text import last_boxed, own_answer, sentences, split_think
from evaluation.answers.yesno import leading_yes_or_no, yes_or_no
from evaluation.data.tsv import Item
from evaluation.judging.verdicts import Outcome

_GOLD = {"1": "Yes", "0": "No", "yes": "Yes", "no": "No"}


def score_hallusion(item: Item, response: str, mode: str) -> Outcome:
    """The verdict on one response: `official` wants one of the two words alone, `semantic` what it states."""
    answer = yes_or_no(response) if mode == "official" else _read(split_think(response)[1] or response)
    if answer is None:
        return Outcome(False, None, "unmatched")
    gold = item.answer.strip()
    return Outcome(answer == _GOLD.get(gold.casefold(), gold), answer, "yes_no")


def _read(text: str) -> str | None:
    inside = last_boxed(text)
    if inside is not None and (answer := yes_or_no(inside)):
        return answer
    text = own_answer(text)
    if answer := leading_yes_or_no(text) or yes_or_no(text):
        return answer
    parts = sentences(text)
    return yes_or_no(parts[-1]) if parts else None
