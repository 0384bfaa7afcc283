r"""Rules that several benchmarks share: an option by its letter, a free answer by its closing words, a `\boxed{}`."""

from collections.abc import Callable, Mapping

from evaluation.answers.arithmetic import evaluate
from evaluation.answers.final import final_answer
from evaluation.answers.reading import read_option
from evaluation.answers.text import last_boxed, split_think, without_thoughts
from evaluation.data.tsv import Item
from evaluation.judging.verdicts import UNMATCHED, Outcome

LONGEST = 200
LETTERS = "ABCDEFGH"
_PUNCTUATION = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_TOLERANCE = 1e-6


def score_choice(item: Item, response: str, mode: str) -> Outcome:
    """The verdict on a letter answer; the gold answer is a letter, and a table without option columns has A to H.

    `official` follows VLMEvalKit's letter rules: exactly one option letter standing alone, else exactly one option text
    inside a short answer. Where these fail the kit asks a model and finally draws an option at random; here the item is
    unmatched. `semantic` reads the closing statement of the answer part.
    """
    options = item.options or dict.fromkeys(LETTERS, "")
    if mode != "official":
        return read_choice(without_thoughts(response), options, item.answer.strip())
    words, answer = set(response.translate(_PUNCTUATION).split()), response.casefold()
    found = [letter for letter in options if letter in words]
    if len(found) != 1 and len(answer) <= 2 * sum(len(option) for option in options.values()):
        found = [letter for letter, option in options.items() if option and option.casefold() in answer]
    letter = found[0] if len(found) == 1 else None
    return UNMATCHED if letter is None else Outcome(letter == item.answer.strip(), letter, "kit_letter")


def read_choice(text: str, options: Mapping[str, str], gold: str) -> Outcome:
    """The verdict on the option that a careful reader takes `text` to choose."""
    letter, said, rule = read_option(text, options)
    return Outcome(letter == gold, said, rule) if said else UNMATCHED


def read_free(text: str, is_gold: Callable[[str], bool]) -> Outcome:
    """The verdict on the closing answer of `text`."""
    found = final_answer(text)
    return UNMATCHED if found is None else Outcome(is_gold(found[0]), found[0][:LONGEST], found[1])


def score_boxed(item: Item, response: str, mode: str) -> Outcome:
    r"""The last `\boxed{}` against the gold answer, as text or as a number; no box is unmatched.

    `official` reads the whole response, `semantic` what follows the reasoning block.
    """
    boxed = last_boxed(response if mode == "official" else split_think(response)[1])
    if boxed is None:
        return UNMATCHED
    gold = item.answer.strip()
    if boxed == gold:
        return Outcome(True, boxed, "boxed")
    left, right = evaluate(boxed), evaluate(gold)
    is_equal = left is not None and right is not None and abs(left - right) <= _TOLERANCE * max(1.0, abs(right))
    return Outcome(is_equal, boxed, "boxed")
