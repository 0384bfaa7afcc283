"""Reads the number that a response settles on: boxed, after a closing phrase, or said in its last sentences."""

import re
from dataclasses import dataclass

from evaluation.answers.arithmetic import evaluate
from evaluation.answers.counting import asks_rest, counted, repeats
from evaluation.answers.marks import marks
from evaluation.answers.numerals import WORDS
from evaluation.answers.text import (
    concludes,
    is_looping,
    is_refusal,
    own_answer,
    plain,
    sentences,
    without_courtesies,
    without_displays,
)
from evaluation.answers.typed import Quantity, normal, typed

_TAIL = 6_000
_WORDS = "|".join(sorted([*WORDS, "no", "none", "a hundred", "one hundred"], key=len, reverse=True))
NUMBER = r"[-−]?\$?(?<!\d)(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:\s?/\s?\d+(?:\.\d+)?)?|[-−]?(?<!\d)\.\d+"
_FRACTION = r"-?\\[dt]?frac\s?\{[^{}]{1,20}\}\s?\{[^{}]{1,20}\}"
_VALUE = rf"(?P<value>{_FRACTION}|{NUMBER}|\b(?:{_WORDS})\b)"
_ABOUT = (
    r"(?:\s{0,3}(?:approximately|about|around|roughly|only|just|exactly|a total of|actually|still|also|at least|likely"
    r"|=|:|\$|\\approx))"
)
_THERE = r"\bthere (?:are|is|were|was|will be|would be|remains?|must be)(?: now)?"
_ANSWER = re.compile(
    rf"(?:answer|答案)(?:[^.\n。]{{0,60}}?(?:\bis\b|:|=|是|为|：))?{_ABOUT}{{0,3}}\s{{0,3}}[(\[*]{{0,3}}\s?{_VALUE}",
    re.I,
)
_THERE_ARE = re.compile(rf"{_THERE}{_ABOUT}{{0,3}}\s{{0,3}}[*]{{0,2}}{_VALUE}", re.I)
_COUNT = rf"(?:\d+|\b(?:{_WORDS})\b)"
_TWO_COUNTS = re.compile(rf"{_THERE}\s{_COUNT}[^.,]{{1,60}}\sand\s{_COUNT}\s[a-z]", re.I)
_EVIDENCE = 200
_COPULA = re.compile(
    rf"(?:\b(?:is|was|are|were|be|equals?|to|of|has|have|needs?|costs?|gets?|spends?|pays?|contain(?:s|ing)|holds?|weighs?|=|≈|:)|=|≈|:){_ABOUT}{{0,3}}\s{{0,3}}[*(]{{0,3}}\s?{_VALUE}",
    re.I,
)
_IS = re.compile(
    rf"(?:\b(?:is|was|are|were|equals?)\b|=){_ABOUT}{{0,3}}\s{{0,3}}[*(]{{0,3}}\s?(?P<value>{_FRACTION}|{NUMBER})(?!:\d)",
    re.I,
)
_ANY = re.compile(_VALUE, re.I)
_RATIO = re.compile(r"(?<![\d:.])(\d+(?:\.\d+)?)\s?:\s?(\d+(?:\.\d+)?)(?![\d:])")
_BOLD = re.compile(r"\*\*([^*\n]{1,40})\*\*")
_ASKS_YEAR = re.compile(r"\b(?:which|what|in what|in which)\s(?:\w+\s)?years?\b", re.I)
_YEAR = re.compile(r"(?<![\d.,])(?:1[0-9]|20)\d\d(?![\d%]|[.,]\d)")
_ASKS_SHARE = re.compile(r"\b(?:fraction|proportion|ratio|probability)\b", re.I)
_SHARE = re.compile(rf"({NUMBER}|\b(?:{_WORDS})\b) out of ({NUMBER}|\b(?:{_WORDS})\b)", re.I)
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


@dataclass(frozen=True)
class Found:
    """A number, the rule that found it, and the words it went by."""

    value: float
    rule: str
    evidence: str = ""


def find_number(response: str, question: str = "", commits: bool = False) -> Found | None:
    """The number that the answer part of a response settles on; None when it holds none.

    Args:
        response: the answer part.
        question: tells the sentence that answers it, and a year that is asked for, from others.
        commits: read as an extraction model does that must name a number, from the whole text to its end.
    """
    for mark in marks(response):
        if (value := _inside(mark.text)) is not None:
            return Found(value, mark.rule, mark.evidence[:_EVIDENCE])
    text = plain(without_displays(response))[-_TAIL:]
    text = without_courtesies(text) if commits else own_answer(text)
    if len(text) <= 60 and (value := parse_number(text.rstrip("."))) is not None:
        return Found(value, "whole", text)
    parts = [part for part in sentences(text) if _ANY.search(part) and not is_refusal(part)]
    if stated := _stated(response, parts, question):
        return stated
    if not commits and is_looping(parts):
        return None
    if parts and _TWO_COUNTS.search(parts[-1]):
        return None  # of two things, and nobody says which or whether both
    for part in reversed(parts[-3:]):
        if (value := _share(part, question)) is not None:
            return Found(value, "out_of", part[:_EVIDENCE])
        for pattern, rule in ((_THERE_ARE, "there"), (_COPULA, "copula")):
            if (value := _last(pattern, part)) is not None:
                return Found(value, rule, part[:_EVIDENCE])
    for part in reversed(parts[-3:]):
        if (value := _last(_ANY, part)) is not None:
            return Found(value, "last_number", part[:_EVIDENCE])
    return None


def _stated(response: str, parts: list[str], question: str) -> Found | None:
    """A year that was asked for, the stated answer, the sentence that repeats the question, bold text."""
    asks_year = bool(_ASKS_YEAR.search(question))
    pattern = _YEAR if asks_year else None
    for part in reversed(parts):
        if (value := _last(_ANSWER, part)) is not None and (not asks_year or _is_year(value)):
            return Found(value, "phrase", part[:_EVIDENCE])
    first = () if len(parts) > 1 and concludes(parts[-1]) else parts[:1]
    for part in (*parts[-1:], *first, *(parts if asks_rest(question) else ())):
        if not asks_year and (count := counted(part, question)) and (value := parse_number(count)) is not None:
            return Found(value, "counted", part[:_EVIDENCE])
    ratios = [ratio for part in parts for ratio in _RATIO.findall(part)] if "ratio" in question.casefold() else []
    if ratios and (value := parse_number("/".join(ratios[-1]))) is not None:
        return Found(value, "ratio", ":".join(ratios[-1]))
    for part in first:
        if repeats(part, question) and (value := _first(part, question, pattern)) is not None:
            return Found(value, "restated", part[:_EVIDENCE])
    bold = _BOLD.findall(response[-_TAIL:])
    if bold and (value := _inside(bold[-1])) is not None and (not asks_year or _is_year(value)):
        return Found(value, "bold", bold[-1])
    if asks_year and (years := [year for part in parts for year in _YEAR.findall(part)]):
        return Found(float(years[-1]), "year", years[-1])
    return None


def _is_year(value: float) -> bool:
    return value == int(value) and _YEAR.fullmatch(str(int(value))) is not None


def _first(sentence: str, question: str, year: re.Pattern[str] | None) -> float | None:
    """The only year of a sentence, or the number after its verb."""
    if year is not None:
        years = set(year.findall(sentence))
        return float(years.pop()) if len(years) == 1 else None
    found = _THERE_ARE.search(sentence) or _IS.search(sentence)
    own = [number for number in _ANY.findall(sentence) if number not in question]
    is_plain = not (_OUT_OF.search(sentence) or sentence.startswith(("To ", "If "))) and len(own) <= 1
    return parse_number(found.group("value")) if found and is_plain else None


def _inside(text: str) -> float | None:
    kind = typed(normal(text))
    if isinstance(kind, Quantity):
        return float(kind.value)
    text = plain(text)
    value = parse_number(text)
    if value is not None:
        return value
    found = list(_ANY.finditer(text))
    return parse_number(found[-1].group("value")) if found else None


def _share(text: str, question: str) -> float | None:
    """The value of `three out of four`, of which the first number is the answer unless a fraction is asked for."""
    found = _SHARE.search(text) if _ASKS_SHARE.search(question) else None
    top, bottom = (parse_number(group) for group in found.groups()) if found else (None, None)
    return top / bottom if top is not None and bottom else _last(_OUT_OF, text)


def _last(pattern: re.Pattern[str], text: str) -> float | None:
    for match in reversed(list(pattern.finditer(text))):
        value = parse_number(match.group("value"))
        if value is not None:
            return value
    return None
