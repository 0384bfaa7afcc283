r"""Whether two short answers mean the same: as text, as numbers with units, as lists, at last as formulas.

Never eval. Numbers go through evaluation.answers.arithmetic; only what holds a variable is put to math-verify, in
another process that is killed when it takes too long (evaluation.answers.symbolic).
"""

import re
from collections.abc import Mapping

from evaluation.answers.arithmetic import evaluate
from evaluation.answers.numbers import WORDS
from evaluation.answers.symbolic import MAX_FORMULA, is_equivalent
from evaluation.answers.text import plain

_TOLERANCE = 1e-6
_LONGEST = 300
_UNIT = (
    r"(?:square|sq\.?|cubic)?\s?(?:units?|degrees?|deg|°|"
    r"(?:milli|centi|kilo|deci)?(?:meters?|metres?|liters?|litres?|grams?)|mm|cm|dm|km|m|kg|mg|g|ml|l|"
    r"inch(?:es)?|in|feet|foot|ft|yards?|miles?|mph|km/h|m/s|seconds?|sec|s|minutes?|mins?|min|hours?|hrs?|h|days?|weeks?|"
    r"years?|dollars?|cents?|euros?|percent|%|people|ways|times|points?|squares?|cubes?|triangles?|pieces?|sides?)"
    r"(?:\s?\^?\s?\{?[23²³]\}?)?"
)
_AFTER_NUMBER = re.compile(rf"^(?P<value>.*?[\d)}}\]!π])\s*(?:\\[,; ]\s*)*{_UNIT}\.?$", re.I | re.S)
_BEFORE_NUMBER = re.compile(r"^(?:[$€£]|US\$)\s*(?=[\d.])")
_ASSIGNMENT = re.compile(r"^[A-Za-z][A-Za-z0-9_{}\\]{0,12}\s*(?:=|≈|\\approx)\s*")
# A letter outside a command and outside the name of a function.
_VARIABLE = re.compile(
    r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])|(?<![\\A-Za-z])[A-Za-z](?=[A-Za-z](?![A-Za-z]))|(?<=[^\\A-Za-z][A-Za-z])[A-Za-z](?![A-Za-z])"
)
# In this order.
_SPELLINGS = {
    "": ("\\left", "\\right", "\\!", "\\displaystyle"),
    "%": ("\\%",),
    "$": ("\\$",),
    "°": ("^{\\circ}", "^\\circ", "\\circ", "\\degree"),
}
_POINTS = (1.31, 2.17, 3.73)


def same_answer(gold: str, answer: str) -> bool:
    """Whether a reader would accept `answer` for `gold`; False for an empty or very long answer."""
    if not answer.strip() or len(answer) > _LONGEST or len(gold) > _LONGEST:
        return False
    left, right = clean(gold), clean(answer)
    if "=" in right and "=" not in left:
        right = clean(right.rsplit("=", 1)[1])
    if not left or not right:
        return False
    if left.casefold().replace(" ", "") == right.casefold().replace(" ", ""):
        return True
    first, second = value_of(left), value_of(right)
    if first is not None and second is not None:
        return _close(first, second)
    if (parts := _same_list(left, right)) is not None:
        return parts
    if (first is None) != (second is None) or max(len(left), len(right)) > MAX_FORMULA:
        return False
    by_points = agree_at_points(left, right)
    return is_equivalent(left, right) if by_points is None else by_points


def agree_at_points(left: str, right: str) -> bool | None:
    """Whether two formulas have the same variables and the same values at fixed points; None where no value is had."""
    variables = sorted(set(_VARIABLE.findall(left)))
    if not variables or variables != sorted(set(_VARIABLE.findall(right))):
        return False
    for point in _POINTS:
        values = {name: f"({point + 0.37 * position})" for position, name in enumerate(variables)}
        first, second = (_at(text, values) for text in (left, right))
        if first is None or second is None:
            return None
        if not _close(first, second):
            return False
    return True


def clean(text: str) -> str:
    r"""The answer without math delimiters, sizing commands, a leading `x =`, units and a final full stop."""
    text = plain(text.replace("\\$", "")).strip()
    for meant, spellings in _SPELLINGS.items():
        for written in spellings:
            text = text.replace(written, meant)
    text = _ASSIGNMENT.sub("", text.strip().rstrip(".").strip())
    text = _BEFORE_NUMBER.sub("", text)
    if match := _AFTER_NUMBER.match(text):
        text = match.group("value")
    return text.strip()


def value_of(text: str) -> float | None:
    """The number that a cleaned answer stands for: an expression, a number word, or a ratio as a quotient."""
    if text.casefold() in WORDS:
        return float(WORDS[text.casefold()])
    if text.count(":") == 1:
        first, second = (evaluate(part, mixed=True) for part in text.split(":"))
        return first / second if first is not None and second else None
    return evaluate(text, mixed=True)


def _at(text: str, values: Mapping[str, str]) -> float | None:
    return evaluate(_VARIABLE.sub(lambda found: values[found.group()], text))


def _close(left: float, right: float) -> bool:
    return abs(left - right) <= _TOLERANCE * max(1.0, abs(left))


def _same_list(left: str, right: str) -> bool | None:
    """Whether two lists agree entry by entry, in any order inside braces; None when either is no list."""
    first, second = _entries(left), _entries(right)
    if first is None or second is None:
        return None
    if len(first) != len(second):
        return False
    if left[:1] in "([" and right[:1] in "([" and left[:1] + left[-1:] != right[:1] + right[-1:]:
        return False
    if left[:1] not in "([":
        first, second = sorted(first, key=str), sorted(second, key=str)
    pairs = zip(first, second, strict=True)
    return all(a == b if isinstance(a, str) or isinstance(b, str) else _close(a, b) for a, b in pairs)


def _entries(text: str) -> list[float | str] | None:
    inner = text.strip()
    if inner[:2] == "\\{" and inner[-2:] == "\\}":
        inner = inner[2:-2]
    elif inner[:1] in "([{" and inner[-1:] in ")]}":
        inner = inner[1:-1]
    parts = [part.strip() for part in re.split(r",|;|\band\b", inner) if part.strip()]
    if len(parts) < 2:
        return None
    values = [value_of(clean(part)) for part in parts]
    return [part.casefold() if value is None else value for part, value in zip(parts, values, strict=True)]
