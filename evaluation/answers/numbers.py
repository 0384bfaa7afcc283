"""Reads the number that a response settles on: boxed, after a closing phrase, or said in its last sentences."""

import re

from evaluation.answers.arithmetic import evaluate
from evaluation.answers.text import is_refusal, marked_answers, own_answer, plain, sentences, without_courtesies

_TAIL = 6_000
_UNITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORDS = {word: value for value, word in enumerate((*_UNITS, *_TEENS))} | {
    word: 10 * (k + 2) for k, word in enumerate(_TENS)
}
_WORDS = "|".join(sorted([*WORDS, "no", "none", "a hundred", "one hundred"], key=len, reverse=True))
NUMBER = r"[-−]?\$?(?<!\d)(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:\s?/\s?\d+(?:\.\d+)?)?|[-−]?(?<!\d)\.\d+"
_FRACTION = r"-?\\[dt]?frac\s?\{[^{}]{1,20}\}\s?\{[^{}]{1,20}\}"
_VALUE = rf"(?P<value>{_FRACTION}|{NUMBER}|\b(?:{_WORDS})\b)"
_ABOUT = (
    r"(?:\s{0,3}(?:approximately|about|around|roughly|only|just|exactly|a total of|actually|still|also|at least|likely"
    r"|=|:|\$|\\approx))"
)
_THERE = r"\bthere (?:are|is|were|was|will be|would be|remains?|must be)(?: now)?"
_PHRASES = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        rf"(?:answer|答案)(?:[^.\n。]{{0,60}}?(?:\bis\b|:|=|是|为|：))?{_ABOUT}{{0,3}}\s{{0,3}}[(\[*]{{0,3}}\s?{_VALUE}",
        rf"{_THERE}{_ABOUT}{{0,3}}\s{{0,3}}[*]{{0,2}}{_VALUE}",
    )
)
_COPULA = re.compile(
    rf"(?:\b(?:is|was|are|were|be|equals?|to|of|has|have|=|≈|:)|=|≈|:){_ABOUT}{{0,3}}\s{{0,3}}[*(]{{0,3}}\s?{_VALUE}",
    re.I,
)
_ANY = re.compile(_VALUE, re.I)
_BOLD = re.compile(r"\*\*([^*\n]{1,40})\*\*")
_ASKS_YEAR = re.compile(r"\b(?:which|what|in what|in which)\s(?:\w+\s)?years?\b", re.I)
_YEAR = re.compile(r"(?<![\d.,])(?:1[0-9]|20)\d\d(?![\d%]|[.,]\d)")
_OUT_OF = re.compile(rf"(?P<value>{NUMBER}|\b(?:{_WORDS})\b) out of", re.I)


def parse_number(text: str) -> float | None:
    """The value of a number as a response writes it: digits, separators, a fraction, an expression, a word."""
    text = text.strip().strip("$").strip()
    if text.casefold() in WORDS:
        return float(WORDS[text.casefold()])
    if text.casefold() in ("no", "none"):
        return 0.0
    if text.casefold().endswith(" hundred"):
        return 100.0
    return evaluate(text.replace("$", "").replace("\\%", "%").rstrip("% "), mixed=True)


def find_number(response: str, question: str = "", commits: bool = False) -> tuple[float, str] | None:
    """(value, rule) of the number that the answer part of a response settles on; None when it holds none.

    Args:
        response: the answer part.
        question: tells a year that is asked for from other numbers in the same sentence.
        commits: read as an extraction model does that must name a number, from the whole text to its end.
    """
    for inside, rule in marked_answers(response):
        if (value := _inside(inside)) is not None:
            return value, rule
    bold = _BOLD.findall(response[-_TAIL:])
    text = plain(response)[-_TAIL:]
    text = without_courtesies(text) if commits else own_answer(text)
    if len(text) <= 60 and (value := parse_number(text.rstrip("."))) is not None:
        return value, "whole"
    parts = [part for part in sentences(text) if _ANY.search(part) and not is_refusal(part)]
    if _ASKS_YEAR.search(question):
        years = [year for part in parts for year in _YEAR.findall(part)]
        return (float(years[-1]), "year") if years else None
    for part in reversed(parts):
        if (value := _last(_PHRASES[0], part)) is not None:
            return value, "phrase"
    if bold and (value := _inside(bold[-1])) is not None:
        return value, "bold"
    for part in reversed(parts[-3:]):
        for pattern in (_OUT_OF, _PHRASES[1], _COPULA, _ANY):
            if (value := _last(pattern, part)) is not None:
                return value, "last_sentence"
    return None


def _inside(text: str) -> float | None:
    text = plain(text)
    value = parse_number(text)
    if value is not None:
        return value
    found = list(_ANY.finditer(text))
    return parse_number(found[-1].group("value")) if found else None


def _last(pattern: re.Pattern[str], text: str) -> float | None:
    for match in reversed(list(pattern.finditer(text))):
        value = parse_number(match.group("value"))
        if value is not None:
            return value
    return None
