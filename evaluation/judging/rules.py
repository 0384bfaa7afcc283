r"""Rules that several benchmarks share: an option by its letter, a free answer by its closing words, a `\boxed{}`."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from evaluation.answers.arithmetic import evaluate
from evaluation.answers.counting import counted, repeats
from evaluation.answers.final import Closing, closing
from evaluation.answers.inference import infer_option
from evaluation.answers.reading import read_option
from evaluation.answers.text import concludes, last_boxed, own_answer, plain, sentences, split_think, without_thoughts
from evaluation.answers.typed import Quantity, Sequence, Text, Typed, normal, typed
from evaluation.data.tsv import Item
from evaluation.judging.verdicts import UNMATCHED, Outcome

LONGEST = 200
_IMPLIED = ("copula", "relation", "last_line", "there")
LETTERS = "ABCDEFGH"
_TOLERANCE = 1e-6


def score_choice(item: Item, response: str, mode: str) -> Outcome:
    """The verdict on a letter answer; the gold answer is a letter, and a table without option columns has A to H.

    `semantic` reads the closing statement of the answer part, every other mode follows the toolkit.
    """
    options = item.options or dict.fromkeys(LETTERS, "")
    if mode == "semantic":
        return read_choice(without_thoughts(response), options, item.answer.strip(), item.question)
    return infer_choice(response, options, item.answer.strip())


def infer_choice(response: str, options: Mapping[str, str], gold: str) -> Outcome:
    """The toolkit's verdict on a letter: what its `can_infer` names.

    Where that fails the toolkit asks a model and finally draws an option at random; here the rules abstain.
    """
    letter = infer_option(response, options)
    return UNMATCHED if letter is None else Outcome(letter == gold, letter, "can_infer", letter)


def read_choice(text: str, options: Mapping[str, str], gold: str, question: str = "") -> Outcome:
    """The verdict on the option that a careful reader takes `text` to choose."""
    found = read_option(text, options, question)
    is_right = found.letter is not None and found.letter == gold
    return Outcome(is_right, found.said, found.rule, found.evidence, found.conflict, found.unmatched)


def read_free(text: str, is_gold: Callable[[str], bool], question: str = "") -> Outcome:
    """The verdict on the closing answer of `text`; words that an implied reading took for one are left to a judge."""
    found = closing(text)
    if found is None or found.rule in _IMPLIED:
        found = _count(text, question, found) or _restated(text, question) or found
    if found is None:
        return UNMATCHED
    is_right = is_gold(found.text) or ("=" in found.text and is_gold(found.text.rpartition("=")[2]))
    is_prose = found.rule in _IMPLIED and not is_right and _is_prose(typed(normal(found.text)))
    return Outcome(is_right, found.text[:LONGEST], found.rule, found.evidence, unmatched=is_prose)


def _count(text: str, question: str, found: Closing | None) -> Closing | None:
    """The number before what the question asks to count, in the last sentence, or in the first if nothing was found."""
    parts = sentences(own_answer(plain(text)))
    first = () if found and isinstance(typed(normal(found.text)), Quantity) else parts[:1]
    counts = ((part, counted(part, question)) for part in (*parts[-1:], *first))
    return next((Closing(count, "counted", part[:LONGEST]) for part, count in counts if count), None)


def _restated(text: str, question: str) -> Closing | None:
    """What the first sentence comes to, where it repeats the question and the last neither does so nor concludes."""
    parts = sentences(own_answer(plain(text)))
    if not repeats((parts or [""])[0], question) or concludes(parts[-1]) or repeats(parts[-1], question):
        return None
    found = closing(parts[0])
    is_number = found is not None and isinstance(typed(normal(found.text)), Quantity)
    return replace(found, rule="restated") if found and is_number else None


def _is_prose(answer: Typed) -> bool:
    """Whether it is words, or a list that holds some: what an implied reading took for an answer may be none."""
    return isinstance(answer, Text) or (isinstance(answer, Sequence) and any(_is_prose(part) for part in answer.parts))


def score_boxed(item: Item, response: str, mode: str) -> Outcome:
    r"""The last `\boxed{}` against the gold answer, as text or as a number; no box is unmatched.

    `official` reads the whole response, `semantic` what follows the reasoning block.
    """
    boxed = last_boxed(response if mode == "official" else split_think(response)[1])
    if boxed is None:
        return UNMATCHED
    gold = item.answer.strip()
    if boxed == gold:
        return Outcome(True, boxed, "boxed", boxed)
    left, right = evaluate(boxed), evaluate(gold)
    is_equal = left is not None and right is not None and abs(left - right) <= _TOLERANCE * max(1.0, abs(right))
    return Outcome(is_equal, boxed, "boxed", boxed)
