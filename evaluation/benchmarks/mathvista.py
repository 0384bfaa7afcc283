"""MathVista: an extraction rule, then the verdict layer that normalises the extraction by answer type.

The verdict layer is the repository's at the commit of its published outputs (lupantech/MathVista,
evaluation/calculate_score.py; arXiv 2310.02255): an integer must parse with int(), so that "14.0" is no integer; a
float is rounded to the item's precision and compared as text; a list is compared as text; a choice that is neither a
letter nor an option is mapped to the option at the smallest edit distance. `semantic` compares values and maps nothing.
"""

import re
from collections.abc import Iterable

from rapidfuzz.distance import Levenshtein

from evaluation.answers.letters import choose
from evaluation.answers.numbers import find_number, parse_number
from evaluation.answers.text import is_refusal, marked_answers, own_answer, plain, sentences, without_thoughts
from evaluation.answers.yesno import leading_yes_or_no, stance
from evaluation.benchmarks.base import published
from evaluation.data.tsv import QA, Item
from evaluation.judging.prompts import value_protocol
from evaluation.judging.protocols import MATHVISTA_PAPER, MATHVISTA_TODAY, SEMANTIC, VLMEVALKIT
from evaluation.judging.verdicts import UNMATCHED, Outcome

_MARKED = re.compile(r"\(([a-zA-Z])\)")
_LABEL = re.compile(r"\(?[A-Z]\)")
_LIST = re.compile(r"\[[^\[\]]{1,200}\]")
_TEXT_LIMIT = 2_000
# A longer text than this argues both ways; its first sentence no longer tells its stance.
_STANCE_SENTENCES = 6


def score_mathvista(item: Item, response: str, mode: str) -> Outcome:
    """The verdict on one response: extraction, then the verdict layer of `mode`."""
    found = extract(item, response, mode)
    if found is None:
        return UNMATCHED
    extraction, rule = found
    is_right = official_verdict(item, extraction) if mode == "official" else semantic_verdict(item, extraction)
    return Outcome(is_right, extraction, rule)


def extract(item: Item, response: str, mode: str = "semantic") -> tuple[str, str] | None:
    """(extraction, rule) in the form that the official extraction prompt asks for; None where there is no answer.

    `official` commits where the published extraction model did and a reader would not: to the last of a list of
    options, to "no" when a refusal answers a yes-no question, to a short text that the verdict layer then maps.
    """
    text = without_thoughts(response)
    if item.options:
        return _extract_choice(item, text, mode == "official")
    if item.fields.get("answer_type") == "list":
        found = _LIST.findall(text[-5_000:])
        return (found[-1], "list") if found else None
    number = find_number(text, item.question, mode == "official")
    if number is None:
        return None
    value, rule = number
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value), rule


def official_verdict(item: Item, extraction: str) -> bool:
    """Whether the official verdict layer takes `extraction` for the gold answer."""
    gold = item.answer
    if item.options:
        return _official_option(item, extraction) == _gold_option(item)
    kind = item.fields.get("answer_type", "")
    try:
        if kind == "integer":
            return str(int(extraction)) == gold
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
        return _list_values(extraction) == _list_values(item.answer)
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


def _extract_choice(item: Item, text: str, commits: bool) -> tuple[str, str] | None:
    if found := choose(text, item.options, commits=commits):
        return found
    if marked := marked_answers(text):
        return plain(marked[0][0]).strip()[:200], {"boxed": "boxed_text"}.get(marked[0][1], marked[0][1])
    if answer := _yes_or_no(item, text, commits):
        return answer
    short = plain(text).strip()
    # A label that is no option (`(E)` of four) has no nearest option, whatever its edit distance.
    is_mappable = commits and 0 < len(short) <= 40 and not _LABEL.match(short)
    return (short, "short_text") if is_mappable else None


def _yes_or_no(item: Item, text: str, commits: bool) -> tuple[str, str] | None:
    by_text = {option.casefold(): letter for letter, option in item.options.items()}
    if set(by_text) != {"yes", "no"}:
        return None
    if word := leading_yes_or_no(text):
        return by_text[word.casefold()], "yes_no"
    parts = sentences(own_answer(plain(text)))
    if not 1 <= len(parts) <= _STANCE_SENTENCES:
        return None
    if any(is_refusal(part) for part in parts):
        return (by_text["no"], "refusal") if commits else None
    return by_text[stance(parts[0]).casefold()], "stance"


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
