"""Scores multiple-choice benchmarks by letter: WeMath, RealWorldQA, MMStar.

`official` follows VLMEvalKit's letter rules: exactly one option letter standing alone, else exactly one option text
inside a short answer, and for WeMath the repository's own rule, the first character after the last `Answer`. Where
these fail the kit asks a model and, for MMStar and RealWorldQA, finally draws an option at random; here the item is
unmatched.
`semantic` reads the closing statement of the answer part.
"""

import re
from collections.abc import Mapping

from evaluation.answers.reading import read_option
from evaluation.answers.text import split_think
from evaluation.data.tsv import Item
from evaluation.judging.verdicts import Outcome

_PUNCTUATION = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_ANSWER_NOISE = re.compile(r"[>＞<＜:.]")
_LETTERS = "ABCDEFGH"


def score_choice(item: Item, response: str, mode: str) -> Outcome:
    """The verdict on a letter answer; the gold answer is a letter, and a table without option columns has A to H."""
    options = item.options or dict.fromkeys(_LETTERS, "")
    if mode == "official":
        letter = _kit_letter(response, options) or _kit_text(response, options)
        return _outcome(item, None if letter is None else (letter, "kit_letter"))
    reading = read_option(split_think(response)[1] or response, options)
    return Outcome(reading.letter == item.answer.strip(), reading.text, reading.rule if reading.text else "unmatched")


def score_wemath(item: Item, response: str, mode: str) -> Outcome:
    """As score_choice; `official` falls back on the repository's rule, and options come from the question's column."""
    outcome = score_choice(item, response, mode)
    if outcome.extraction is not None or mode != "official":
        return outcome
    letter = _after_answer(response)
    return _outcome(item, None if letter is None else (letter, "after_answer"))


def _outcome(item: Item, found: tuple[str, str] | None) -> Outcome:
    if found is None:
        return Outcome(False, None, "unmatched")
    return Outcome(found[0] == item.answer.strip(), found[0], found[1])


def _kit_letter(response: str, options: Mapping[str, str]) -> str | None:
    words = set(response.translate(_PUNCTUATION).split())
    found = [letter for letter in options if letter in words]
    return found[0] if len(found) == 1 else None


def _kit_text(response: str, options: Mapping[str, str]) -> str | None:
    answer = response.casefold()
    if len(answer) > 2 * sum(len(option) for option in options.values()):
        return None
    found = [letter for letter, option in options.items() if option and option.casefold() in answer]
    return found[0] if len(found) == 1 else None


def _after_answer(response: str) -> str | None:
    tail = _ANSWER_NOISE.sub("", response.rsplit("Answer", 1)[-1].strip()).strip()
    return tail[0] if tail and tail[0] in _LETTERS else None
