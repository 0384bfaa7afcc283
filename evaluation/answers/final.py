"""Reads the closing answer of a free-form response: what it marks, what it states, what its last sentence comes to.

Readings are candidates with the words that they go by. The first that is found decides, in the order of how explicit
it is: a box or a tag, a stated answer ("the final answer is"), a short response as a whole, the end of the last
sentence.
"""

import re
from dataclasses import dataclass

from evaluation.answers.marks import Mark, marks
from evaluation.answers.text import is_looping, own_answer, plain, sentences
from evaluation.answers.typed import Text, normal, quantity_of, typed
from evaluation.answers.units import UNIT

_TAIL = 6_000
_SHORT = 60
_LONGEST = 160
_NUMBER = r"[-−]?[$€£¥]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s?/\s?\d+)?|[-−]?\.\d+"
_LINK = (
    r"(?:\s{1,3}(?:is|are|was|equals?|(?:would|should|will|must|has to) be|comes (?:out )?to(?: be)?)\b"
    r"|\s{0,3}[:：=≈]|\s{0,3}(?:是|为|等于|应为|应该是)|\s{1,2}-{1,2}\s)"
)
_ANSWER = r"(?:\b(?:answers?|ans|solution|result)\b|答案|结果)"
_STATED = re.compile(rf"{_ANSWER}(?:[^.:：=\n。]{{0,80}}?)(?:{_LINK}){{1,2}}", re.I)
_HEADING = re.compile(rf"(?:^|\n)[\W_]{{0,6}}(?:the |my |our )?(?:final )?{_ANSWER}[\s:：*#_.>-]{{0,6}}\n", re.I)
_BESIDE = re.compile(r"\b(?:answer|ans)\b\s{1,3}(?=\$|\\[(\[]|[-+]?\d)", re.I)
_FINAL = re.compile(r"final answer", re.I)
_EMPTY = re.compile(
    r"(?:(?:in)?correct|wrong|right|not|as follows|below|above|unknown|unclear|because|that|clear)\b", re.I
)
_REVERSED = re.compile(
    r"(?:^|[,:]\s|\b(?:so|therefore|thus|hence|that|is)\s)(?P<answer>(?:[^,.\n]|[.,](?=\d)){1,80}?)"
    r"\s(?:is|are|must be|should be)\s(?:the|our|my)\s(?:\w+\s)?(?:answer|solution|result)\b",
    re.I,
)
_HEDGE = re.compile(
    r"(?:[\s:：*_>}]|so|hence|we (?:get|have|obtain|find|conclude|see)(?: that)?|in total there (?:are|is)"
    r"|approximately|about|around|roughly|nearly|almost|simply|just|only"
    r"|exactly|precisely|therefore|thus|then|indeed|equal to"
    r"|equals|given by|called|named|known as"
    r"|found to be|estimated (?:to be|at)|likely|probably|actually|also|still|now|a total of"
    r"|in total|at least|is|are|be|to be|≈|~|=|\\approx|\\sim|约为|大约|约|是|为|等于|共有|共|有)(?![A-Za-z])\s{0,3}",
    re.I,
)
_CUT = re.compile(
    r"\s{1,2}(?:because|since|which|where|when|if|so that|so|as (?:shown|given|the|we|it)|based on|according|after"
    r"|given|in the form|in standard form)\b"
    r"|\s[—–]{1,2}\s|\s-{1,2}\s(?=[A-Za-z]{3})|\s?[（(](?:approx|about|or|rounded|since|because|as|i\.e|option)|,\s(?:so|which|where|because|since|as|"
    r"not|but|making|given)\b|，|<\|",
    re.I,
)
_JSON_END = re.compile(r"[\"']\s?\}.{0,3}$")
_ENDING = re.compile(
    r"(?:,?\s(?:of them|in total|in all|total|altogether|respectively|approximately|or so|left|remaining|overall))+$",
    re.I,
)
_END = re.compile(r"[.!?](?=\s|$|[\"'”)*])|[。！？]")
_DISPLAYS = tuple(
    re.compile(pattern, re.S)
    for pattern in (
        r"\\\[(.{1,300}?)\\\]", r"\$\$((?:\\.|[^$\\]){1,300})\$\$", r"\\\(([^\n]{1,300}?)\\\)",
        r"\$((?:\\.|[^$\\\n]){1,300})\$",
        r"\*\*([^*\n]{1,160})\*\*", r"\\begin\{(?:align|equation|gather)\*?\}(.{1,300}?)\\end\{",
    )
)  # fmt: skip
_THERE = re.compile(
    r"\b(?:there|it)\s(?:are|is|were|was|will be|would be|must be|remains?|has|have)\s(?P<answer>[^\n]{1,160})$", re.I
)
_RELATION = re.compile(r"(?:=|≈|\\approx|[^\W\d]\s?:)\s?(?P<answer>(?:[^=≈:\n]|(?<=\d):(?=\d)){1,100})$")
_COPULA = re.compile(
    r"(?:\b(?:is|are|equals|was|were|be|gives?(?: us)?|gets?|obtain|yields?|have|has|at|of|to|by|find that)\s"
    r"|\b\w+[\'’]s\s"
    r"|等于|共有|应有|是|为|有)"
    r"(?P<answer>[^\n]{1,100})$",
    re.I,
)
_LEADING = re.compile(
    rf"(?:\W{{0,3}}?)(?P<value>(?:{_NUMBER})(?:\s(?:hundred|thousand|million|billion))?(?:\s?(?:{UNIT}))?"
    r"|[A-Za-z]+(?:-[a-z]+)?)(?![\w.])"
)
_FORMULA = re.compile(
    r"(?:\$\$?|\\[(\[])(?P<answer>(?:\\[$]|\\(?![()\[\]])|[^$\\]){1,200}?)(?:(?<!\\)\$\$?|\\[)\]])\W{0,3}"
    r"(?:\s[a-z]{1,12}){0,4}\W{0,3}$",
    re.S,
)
_WORD = re.compile(r"(?<!\\)\b[A-Za-z]{2,}\b")
_OPEN_MATH = re.compile(r"^[^$\n]{0,200}(?:\$[^$\n]{0,200}\$[^$\n]{0,200})?(?:(?<!\$)\$|\\\()\s{0,3}$", re.M)


@dataclass(frozen=True)
class Closing:
    """An answer as it was written, the rule that found it, and the words that the rule went by."""

    text: str
    rule: str
    evidence: str = ""


def final_answer(text: str) -> tuple[str, str] | None:
    """(answer text, rule) of a response; None where no closing answer can be told from the prose."""
    found = closing(text)
    return None if found is None else (found.text, found.rule)


def closing(text: str) -> Closing | None:
    """The closing answer of the answer part of a response."""
    prose = own_answer(text[-_TAIL:])
    if found := marks(text):
        rest = text[found[0].end :]
        later = _stated(rest) if found[0].rule == "boxed" and _FINAL.search(rest) else None
        return later if later and _is_typed(later.text) else _from_mark(found[0])
    return _stated(prose) or _whole(prose) or _from_end(prose)


def _from_mark(mark: Mark) -> Closing:
    return Closing(mark.text, mark.rule, mark.evidence)


def _stated(text: str) -> Closing | None:
    """What follows the last "the answer is", a heading over an answer, or what "is the answer"."""
    starts = [match.end() for pattern in (_STATED, _HEADING, _BESIDE) for match in pattern.finditer(text)]
    for start in sorted(starts, reverse=True)[:4]:
        if (value := value_after(text, start)) and not _EMPTY.match(value):
            value = _ends_in(value)
            return Closing(value, "phrase", text[max(0, text.rfind("\n", 0, start)) : start + 80].strip()[:200])
    if found := list(_REVERSED.finditer(text[-1_000:])):
        value = trimmed(found[-1].group("answer"))
        if _is_typed(value):
            return Closing(value, "phrase", found[-1].group())
    return None


def _ends_in(clause: str) -> str:
    """The value that a clause ends in (`The largest n is 34`), the clause itself where it is one or ends in none."""
    if not isinstance(typed(normal(clause)), Text):
        return clause
    found = _COPULA.search(clause)
    tail = trimmed(found.group("answer")) if found else ""
    return tail if tail and not isinstance(typed(normal(tail)), Text) else clause


def value_after(text: str, start: int) -> str | None:
    """The value that stands at `start`: a display or inline formula, bold text, or the rest of the clause."""
    rest = text[start : start + 500]
    while (hedge := _HEDGE.match(rest)) and hedge.end():
        rest = rest[hedge.end() :]
    rest = rest.lstrip("\"'“")
    for pattern in _DISPLAYS:
        if match := pattern.match(rest):
            clause = trimmed(rest.split("\n")[0])
            if clause and "\n" not in match.group() and _is_typed(clause):
                return clause
            return trimmed(match.group(1).rstrip(". ")) or None
    value = trimmed(rest.split("\n")[0])
    return value if value and len(value) <= _LONGEST else None


def trimmed(clause: str) -> str:
    """A clause up to its end, without hedges before it and remarks after it."""
    text = _JSON_END.sub("", plain(clause).strip())
    while (hedge := _HEDGE.match(text)) and hedge.end():
        text = text[hedge.end() :]
    text = _END.split(text.strip(), maxsplit=1)[0].strip(" :*\"'“”")
    cut = _CUT.search(text, 1)
    return _ENDING.sub("", text[: cut.start()] if cut else text).strip(" ,;:")


def _whole(text: str) -> Closing | None:
    if not text or len(text) > _SHORT or "\n" in text or _prose(text):
        return None
    value = trimmed(text) or text
    if not isinstance(typed(normal(value)), Text):
        return Closing(value, "whole", text)
    if any(pattern.search(value) for pattern in (_THERE, _COPULA)):
        return None  # a short sentence, which ends in its answer
    if (formula := _FORMULA.search(text.rstrip(". "))) and formula.start() and "=" not in text[: formula.start()]:
        return Closing(trimmed(formula.group("answer")), "formula", text)
    return Closing(value, "whole", text)


def _from_end(text: str) -> Closing | None:
    """What the last sentence comes to."""
    parts = sentences(text)
    if not parts or is_looping(parts) or _OPEN_MATH.search(text[-_LONGEST:]):
        return None  # a formula that is left open on its line: nobody can say what it holds
    whole = parts[-1].rstrip(". 。")
    sentence = plain(whole)[-400:]
    if (formula := _FORMULA.search(whole)) and not _is_number(sentence):
        return Closing(trimmed(formula.group("answer")), "formula", sentence[-200:])
    for pattern, rule in ((_THERE, "there"), (_RELATION, "relation"), (_COPULA, "copula")):
        if match := pattern.search(sentence):
            clause = match.group("answer")
            is_quantity = quantity_of(normal(trimmed(clause))) is not None
            if rule == "relation" and not is_quantity and _COPULA.search(clause):
                continue  # `AB = 8, so the diameter is 12`
            while (
                rule == "copula" and quantity_of(normal(trimmed(clause))) is None and (inner := _COPULA.search(clause))
            ):
                clause = inner.group("answer")
            if rule == "relation" and (whole := _equation(sentence, match.start())):
                return Closing(f"{whole} = {trimmed(clause)}", rule, sentence[-200:])
            if value := _clause(clause, rule):
                return Closing(value, rule, sentence[-200:])
    if len(sentence) <= _SHORT and not _prose(sentence):
        return Closing(trimmed(sentence) or sentence, "last_line", sentence)
    return None


def _equation(sentence: str, place: int) -> str:
    """The left side of the equation whose sign stands at `place`, where it is more than a name: `x^2 + y^2`."""
    before = sentence[:place]
    if not sentence.startswith("=", place) or "=" in before:
        return ""
    left = _WORD.split(before)[-1].strip(" :,")
    return left if re.search(r"[A-Za-z]", left) and re.search(r"[-+^]", left.lstrip("-")) else ""


def _clause(clause: str, rule: str) -> str | None:
    text = trimmed(clause)
    if _is_typed(text) and not _wordy(text):
        return text
    if leading := _LEADING.match(text):
        value = leading.group("value")
        if quantity_of(normal(value)):
            return value
    return text if rule != "there" and len(text) <= 100 and text else None


def _is_number(sentence: str) -> bool:
    """Whether the sentence ends in a relation, which says more than its last formula alone."""
    return _THERE.search(sentence) is not None


def _is_typed(text: str) -> bool:
    return bool(text) and (not isinstance(typed(normal(text)), Text) or not _prose(text))


def _wordy(text: str) -> bool:
    return len(re.findall(r"[A-Za-z]{2,}", text)) > 3


def _prose(text: str) -> bool:
    return len(re.findall(r"(?<!\\)\b[A-Za-z]{2,}", text)) > 4
