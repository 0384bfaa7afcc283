"""MathVista: an extraction rule, then the verdict layer that normalises the extraction by answer type.

The verdict layer is the repository's at the commit of its published outputs (lupantech/MathVista,
evaluation/calculate_score.py; arXiv 2310.02255): an integer must parse with int(), so that "14.0" is no integer; a
float is rounded to the item's precision and compared as text; a list is compared as text; a choice that is neither a
letter nor an option is mapped to the option at the smallest edit distance. `semantic` compares values and maps nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from rapidfuzz.distance import Levenshtein

from evaluation.answers.equality import same_answer
from evaluation.answers.final import closing
from evaluation.answers.numbers import find_number, parse_number
from evaluation.answers.reading import read_option
from evaluation.answers.text import is_refusal, own_answer, plain, sentences, without_thoughts
from evaluation.answers.typed import Sequence, normal, typed
from evaluation.answers.yesno import repeats_in_order, stance
from evaluation.benchmarks.base import published
from evaluation.data.tsv import QA, Item
from evaluation.judging.prompts import value_protocol
from evaluation.judging.protocols import MATHVISTA_PAPER, MATHVISTA_TODAY, SEMANTIC, VLMEVALKIT
from evaluation.judging.rules import infer_choice
from evaluation.judging.verdicts import UNMATCHED, Outcome

_MARKED = re.compile(r"\(([a-zA-Z])\)")
_LABEL = re.compile(r"\(?[A-Z]\)")
_LIST = re.compile(r"\[[^\[\]]{1,200}\]")
_OPEN = re.compile(r"\b(?:if|whether|determine|may|might|could|while|whereas)\b|\?$", re.I)
_TEXT_LIMIT = 2_000
# A longer text than this argues both ways; its first sentence no longer tells its stance.
_STANCE_SENTENCES = 6


def score_mathvista(item: Item, response: str, mode: str) -> Outcome:
    """The verdict on one response: extraction, then the verdict layer of `mode`."""
    if mode == "vlmevalkit":
        return toolkit_outcome(item, response)
    found = extract(item, response, mode)
    if found.extraction is None:
        return found
    said = found.extraction
    if mode == "semantic":
        return replace(found, correct=not found.unmatched and semantic_verdict(item, said))
    return replace(found, correct=official_verdict(item, said, is_today=mode == "today"))


def toolkit_outcome(item: Item, response: str) -> Outcome:
    """VLMEvalKit's rules: an option that it infers, or a whole response that parses as the gold number.

    Anything else is left to its judge, a right zero too, which its code takes for no answer. A list never scores.
    """
    if item.options:
        gold = item.fields.get("answer_option", "") or _gold_letter(item)
        return infer_choice(response, item.options, gold)
    parse = {"integer": int, "float": float}.get(item.fields.get("answer_type", ""))
    try:
        is_right = parse is not None and parse(response) == parse(item.answer)
    except (ValueError, OverflowError):
        is_right = False
    return Outcome(True, response.strip(), "equal", response.strip()) if is_right else UNMATCHED


def extract(item: Item, response: str, mode: str = "semantic") -> Outcome:
    """What the rules read, in the form that the official extraction prompt asks for, not yet compared.

    All but `semantic` commit where the published extraction model did and a reader would not: to the last of a list of
    options, to "no" when a refusal answers a yes-no question, to a short text that the verdict layer then maps.
    """
    text, commits = without_thoughts(response), mode != "semantic"
    if item.options:
        return _extract_choice(item, text, commits)
    if item.fields.get("answer_type") == "list":
        return _extract_list(text)
    number = find_number(text, item.question, commits)
    if number is None:
        return UNMATCHED
    value = number.value
    written = str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
    return Outcome(False, written, number.rule, number.evidence)


def official_verdict(item: Item, extraction: str, is_today: bool = False) -> bool:
    """Whether the official verdict layer takes `extraction` for the gold answer, as of the paper or of today."""
    gold = item.answer
    if item.options:
        return _official_option(item, extraction) == _gold_option(item)
    kind = item.fields.get("answer_type", "")
    try:
        if kind == "integer":
            return str(int(float(extraction)) if is_today else int(extraction)) == gold
        if kind == "float":
            return str(round(float(extraction), precision(item))) == gold
    except (ValueError, OverflowError):
        return False
    return extraction == gold


def semantic_verdict(item: Item, extraction: str) -> bool:
    """Whether a reader would take `extraction` for the gold answer: options by letter or text, numbers by value."""
    if item.options:
        letter = extraction.strip().strip("()")
        return item.options.get(letter, extraction) == _gold_option(item)
    if item.fields.get("answer_type") == "list":
        return same_answer(item.answer, extraction) or _list_values(extraction) == _list_values(item.answer)
    value, gold = parse_number(extraction), parse_number(item.answer)
    if value is None or gold is None:
        return extraction.strip().casefold() == item.answer.strip().casefold()
    tolerance = 0.5 * 10.0 ** -precision(item) if item.fields.get("answer_type") == "float" else 0.0
    return abs(value - gold) <= tolerance + 1e-9


def precision(item: Item) -> int:
    """Decimals of a float answer: the item's own column, else those of the gold answer."""
    given = item.fields.get("precision", "")
    try:
        return int(float(given))
    except (ValueError, OverflowError):
        return len(item.answer.partition(".")[2])


def nearest_option(text: str, options: Iterable[str]) -> str:
    """The option at the smallest edit distance from `text`, the first of equals."""
    return min(options, key=lambda option: Levenshtein.distance(text, option))


def _extract_choice(item: Item, text: str, commits: bool) -> Outcome:
    found = read_option(text, item.options, item.question, commits=commits)
    outcome = Outcome(False, found.letter, found.rule, found.evidence, found.conflict, found.unmatched)
    if found.letter is not None:
        return outcome
    if answer := _restated_yes_or_no(item, text):
        return Outcome(False, *answer)
    if not commits:
        return replace(outcome, extraction=found.said)
    if found.said is not None:  # marked, and no option: the verdict layer maps it
        return replace(outcome, extraction=plain(found.said).strip(), unmatched=False)
    if answer := _committed_stance(item, text):
        return Outcome(False, *answer)
    short = plain(text).strip(" \n\u200b")
    # A label that is no option (`(E)` of four) has no nearest option, whatever its edit distance.
    is_mappable = 0 < len(short) <= 40 and not _LABEL.match(short)
    return Outcome(False, short, "short_text", short) if is_mappable else UNMATCHED


def _extract_list(text: str) -> Outcome:
    found = _LIST.findall(text[-5_000:])
    if found:
        return Outcome(False, found[-1], "list", found[-1])
    said = closing(text)
    if said is None or not isinstance(typed(normal(said.text)), Sequence):
        return UNMATCHED
    return Outcome(False, said.text, said.rule, said.evidence)


def _restated_yes_or_no(item: Item, text: str) -> tuple[str, str] | None:
    """(letter, rule) where a sentence repeats a yes-no question word for word, as it stands or negated."""
    by_text = {option.casefold(): letter for letter, option in item.options.items()}
    if set(by_text) != {"yes", "no"}:
        return None
    asked = item.question.rpartition("Question:")[2].partition("Choices:")[0]
    said = sentences(own_answer(plain(text)))
    parts = [part for part in said if repeats_in_order(part, asked) and not _OPEN.search(part)]
    if any(is_refusal(part) for part in said):
        return None
    return (by_text[stance(parts[0]).casefold()], "restated") if parts else None


def _committed_stance(item: Item, text: str) -> tuple[str, str] | None:
    """(letter, rule) of the answer that a text without yes or no implies to a yes-no question."""
    by_text = {option.casefold(): letter for letter, option in item.options.items()}
    parts = sentences(own_answer(plain(text)))
    if set(by_text) != {"yes", "no"} or not 1 <= len(parts) <= _STANCE_SENTENCES:
        return None
    if any(is_refusal(part) for part in parts):
        return by_text["no"], "refusal"
    return None if _OPEN.search(parts[0]) else (by_text[stance(parts[0]).casefold()], "stance")


def _official_option(item: Item, extraction: str) -> str:
    text = extraction.strip()
    if marked := _MARKED.search(text):
        text = marked.group(1).upper()
    if text in item.options:
        return item.options[text]
    return nearest_option(text[:_TEXT_LIMIT], item.options.values())


def _gold_option(item: Item) -> str:
    if item.answer in item.options.values():
        return item.answer
    letter = item.fields.get("answer_option", "") or item.answer
    return item.options.get(letter.strip(), item.answer)


def _gold_letter(item: Item) -> str:
    return next((letter for letter, text in item.options.items() if text == item.answer), item.answer)


def _list_values(text: str) -> list[float | str]:
    parts = text.strip("[]() ").split(",")
    return [part.strip() if (value := parse_number(part)) is None else value for part in parts]


BENCHMARKS = (
    published(
        "MathVista_MINI",
        "f199b98e178e5a2a20e7048f5dcb0464",
        aliases=("MathVista",),
        rows=1000,
        columns=(*QA, "question_type", "answer_type"),
        facets=("task", "skills"),
        rule=score_mathvista,
        protocol=value_protocol(score_mathvista),
        protocols={
            "official": MATHVISTA_PAPER,
            "today": MATHVISTA_TODAY,
            "vlmevalkit": VLMEVALKIT,
            "semantic": SEMANTIC,
        },
    ),
)
