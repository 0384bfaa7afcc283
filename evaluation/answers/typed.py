r"""What kind of thing a short answer is: a quantity with a unit, a time of day, a sequence, an assignment, or a text.

`normal` takes the writing away first (math delimiters, sizing commands, `\text{}`, thin spaces, `~`, fullwidth signs);
`typed` then reads the kind. Values are exact: integers, decimals, fractions and mixed numbers are Fractions, and what
has no rational value (roots, pi) is a float that is marked so.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from evaluation.answers.arithmetic import exact
from evaluation.answers.numerals import scale_of, word_value
from evaluation.answers.units import BLANK, CURRENCY, UNIT, Unit, unit_of

_SPELLINGS = (
    ("\\left.", ""), ("\\right.", ""), ("\\left", ""), ("\\right", ""), ("\\!", ""), ("\\displaystyle", ""),
    ("\\limits", ""), ("{,}", ","), ("{, }", ","), ("!=", "\\neq "), ("\\quad", " "), ("\\qquad", " "), ("~", " "),
    ("\u00a0", " "), ("\u202f", " "), ("\u200b", ""), ("^{\\circ}", "°"), ("^\\circ", "°"), ("^{°}", "°"),
    ("\\circ", "°"), ("\\degree", "°"), ("\\%", "%"), ("，", ","), ("：", ":"), ("（", "("), ("）", ")"), ("；", ";"),
    ("−", "-"), ("–", "-"), ("％", "%"), ("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), ("\\cfrac", "\\frac"),
    ("\\infin", "\\inf"), ("∞", "\\infty"), ("+\\infty", "\\infty"), ("\\\\left", ""), ("\\\\right", ""),
    ("\\lt", "<"), ("\\gt", ">"), ("\\leq", "≤"), ("\\geq", "≥"), ("\\le", "≤"), ("\\ge", "≥"), ("<=", "≤"),
    (">=", "≥"), ("\\approx", "≈"), ("\\mathrm{e}", "e"), ("\\mathbf", ""), ("\\euro", "€"), ("\\pounds", "£"),
    ("\\cdot", "*"),
)  # fmt: skip
_TEXT = re.compile(r"\\(?:text|textnormal|mathrm|textbf|mathsf|textit|mbox|operatorname|rm)\s{0,3}\{([^{}]{0,200})\}")
_THIN = re.compile(r",\s?\\!\s?|(?<!\\)\\[,;: ]")
_DOLLARS = re.compile(r"\$\$?([^$]{0,300})\$\$?")
_BOX = re.compile(r"\\?(?:boxed|fbox)\s{0,3}\{(.*)\}", re.S)
_CLOCK = re.compile(r"(\d{1,2}):([0-5]\d)(?::([0-5]\d))?\s{0,2}(?:([ap])\.?\s?m\.?)?(?:\s?o'clock)?", re.I)
_HOUR = re.compile(r"(\d{1,2})\s{0,2}(?:([ap])\.?\s?m\.?|o'clock)", re.I)
_LHS = (
    r"(?:[A-Za-z](?:_?\{?\w{1,3}\}?)?'?|[A-Z]{2,4}|[a-zA-Z]\w{0,12}|\\[a-z]{2,9}(?:\s?[A-Z]{1,3})?|[a-zA-Z](?:_\{?\w\}?)?\(\w\)"
    r"|\|[A-Za-z]{1,3}\||∠\s?[A-Z]{1,3}|\\frac\{[A-Z]{1,3}\}\{[A-Z]{1,3}\}|[A-Z]\w?:[A-Z]\w?|\([a-z](?:,\s?[a-z]){1,3}\)"
    r"|[A-Z]_\{?\w{1,6}\}?:[A-Z](?:_\{?\w{1,6}\}?)?)"
)
_ASSIGNMENT = re.compile(rf"\s{{0,3}}(?P<name>{_LHS})\s{{0,3}}(?:=|≈|:=|\\in\b|∈)\s{{0,3}}(?P<value>[^\s].*)", re.S)
_MIXED = re.compile(r"(-?)(\d+)\s+(?:and\s+)?(\d+)\s?/\s?(\d+)")
_GROUPED = re.compile(r"-?\d{1,3}(?: \d{3})+(?:\.\d+)?")
_ZERO_COMMA = re.compile(r"-?0,\d+")
_SYMBOL = re.compile(r"(?<!\\)\b[A-Za-z]|[<>≤≥∈]")
_COMMA = re.compile(r"-?\d+,\d+")
_RATIO = re.compile(r"([^:]{1,40}):([^:]{1,40})")
_MONEY = re.compile(rf"(?P<sign>-?)\s?(?P<unit>{CURRENCY})\s?(?P<value>[\d.].*)", re.S)
_REPEATED_UNIT = re.compile(rf"(?<=[a-z²³])\s?\((?:{UNIT}|cc)\)$")  # `cubic centimeters (cm³)`
_SUFFIXED = re.compile(rf"(?P<value>.*?(?:[\d)}}\]!π½¼¾]\.?|\\pi))\s*-?\s?(?P<unit>{UNIT}|{CURRENCY})", re.S)
_LABELLED = re.compile(r"(?P<value>-?[\d.,/]*\d)(?:\s+|°\s?)(?P<label>[A-Za-z]+(?:[ -][A-Za-z]+){0,4})")
_NAMED = re.compile(r"(?P<value>[a-z]+(?:-[a-z]+)?)\s+(?P<label>[A-Za-z]+(?:[ -][A-Za-z]+){0,4})", re.I)
_NO_LABEL = frozenset(("or", "and", "to", "than", "not", "plus", "minus", "over", "if", "is", "are", "divided", "out"))
_PIECE = re.compile(rf"(\d+(?:\.\d+)?)\s?({UNIT})\s?(?:,|and)?\s?")
_OPEN, _CLOSE = "([{", ")]}"
_SEPARATOR = re.compile(r"\s{0,3}(?:[,;、]|\band\b|\bor\b|和|或)\s{0,3}(?:(?:and|or)\b\s{0,3})?")
_ENTRIES = 24


@dataclass(frozen=True)
class Quantity:
    """A number with the unit or the label that follows it; `is_exact` False for a float."""

    value: Fraction | float
    unit: Unit | None = None
    label: str = ""
    decimals: int | None = None


@dataclass(frozen=True)
class Clock:
    """A time of day in seconds; `half` is "a", "p" or unknown. `3:16` may be a ratio as well."""

    seconds: int
    half: str = ""
    ratio: Fraction | float | None = None


@dataclass(frozen=True)
class Sequence:
    """Several answers: `ends` are the brackets, "" for a bare list."""

    ends: str
    parts: tuple["Typed", ...]


@dataclass(frozen=True)
class Assignment:
    """A name and what it equals, as it is written and read."""

    name: str
    value: "Typed"
    text: str


@dataclass(frozen=True)
class Text:
    """Anything else: words, or an expression that only a computer algebra system can read."""

    text: str


Typed = Quantity | Clock | Sequence | Assignment | Text


def normal(text: str) -> str:
    """The answer without its writing."""
    text = text.replace("\\$", "\0").strip()
    if text.count("$") > 1:
        text = _DOLLARS.sub(r" \1 ", text)
    for written in ("\\(", "\\)", "\\[", "\\]", "**", "__", "`"):
        text = text.replace(written, " ")
    for _ in range(3):
        text = _TEXT.sub(r" \1 ", text)
    text = _THIN.sub(lambda match: "," if match.group().startswith(",") else " ", text)
    for written, meant in _SPELLINGS:
        text = text.replace(written, meant)
    text = text.replace("\0", "$").strip().strip('"“”').rstrip(".。").strip()
    if match := _BOX.fullmatch(text):
        return normal(match.group(1))
    if text.startswith("{") and text.endswith("}") and "," not in text and _is_wrapped(text):
        text = text[1:-1].strip()
    return re.sub(r"\s+", " ", text)


def typed(text: str, depth: int = 0) -> Typed:
    """The kind and value of a `normal` text."""
    if depth > 4 or not text:
        return Text(text)
    if clock := _clock(text):
        return clock
    if quantity := quantity_of(text):
        return quantity
    if text.count("=") > 1 and sum("=" in part for part in split(text)) > 1:
        return _sequence(text, depth) or Text(text)
    if match := _ASSIGNMENT.fullmatch(text):
        side = _last_side(match.group("value"))
        return Assignment(re.sub(r"[\s{}]", "", match.group("name")), typed(side, depth + 1), side)
    if "=" in text and not _SYMBOL.search(text):
        return typed(_last_side(text), depth + 1)
    return _sequence(text, depth) or Text(text)


def quantity_of(text: str) -> Quantity | None:
    """The number that the text is, with what follows it; None for any other text."""
    text = text.strip()
    if money := _MONEY.fullmatch(text):
        inner = quantity_of(money.group("sign") + money.group("value"))
        if inner and inner.unit is None:
            return replace(inner, unit=unit_of(money.group("unit")))
    if text.endswith("%") and (value := number_of(text[:-1])) is not None:
        return Quantity(value, unit_of("%"), decimals=_decimals(text[:-1]))
    if (value := number_of(text)) is not None:
        return Quantity(value, decimals=_decimals(text))
    text = _REPEATED_UNIT.sub("", text)
    if suffixed := _SUFFIXED.fullmatch(text):
        value, unit = number_of(suffixed.group("value")), unit_of(suffixed.group("unit"))
        if value is not None and unit is not None:
            return Quantity(value, unit, decimals=_decimals(suffixed.group("value")))
    if (total := _composite(text)) is not None:
        return total
    for pattern in (_LABELLED, _NAMED):
        if labelled := pattern.fullmatch(text):
            value, label = number_of(labelled.group("value")), labelled.group("label").lower()
            if value is None or _NO_LABEL & set(re.split(r"[ -]", label)):
                continue
            first, _, rest = label.partition(" ")
            if (scale := scale_of(first)) != 1:
                value, label = value * scale, rest
            unit = unit_of(label)
            return Quantity(value, unit, "" if unit or label in BLANK else label, _decimals(labelled.group("value")))
    return None


def number_of(text: str) -> Fraction | float | None:
    """The value of digits, fractions, mixed numbers, words, ratios and expressions without variables."""
    text = text.strip()
    if mixed := _MIXED.fullmatch(text):
        sign, whole, top, bottom = mixed.groups()
        return None if int(bottom) == 0 else (-1 if sign else 1) * (int(whole) + Fraction(int(top), int(bottom)))
    if _GROUPED.fullmatch(text):
        text = text.replace(" ", "")
    if _ZERO_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    if (word := word_value(text)) is not None:
        return word
    if ":" in text:
        return _ratio(text)
    value = exact(text)
    return Fraction(value) if isinstance(value, int) else value


def decimal_comma(text: str) -> Fraction | None:
    """The value of `2,74` read with a comma for the point."""
    return Fraction(text.replace(",", ".")) if _COMMA.fullmatch(text) else None


def split(text: str) -> list[str]:
    """The parts between separators that stand in no bracket."""
    parts, depth, start, position = [], 0, 0, 0
    while position < len(text):
        if text[position] in _OPEN:
            depth += 1
        elif text[position] in _CLOSE:
            depth -= 1
        elif depth == 0 and (match := _SEPARATOR.match(text, position)):
            parts.append(text[start:position])
            start = position = match.end()
            continue
        position += 1
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


def _ratio(text: str) -> Fraction | float | None:
    match = _RATIO.fullmatch(text)
    if match is None:
        return None
    first, second = (number_of(part) for part in match.groups())
    return first / second if first is not None and second else None


def _last_side(text: str) -> str:
    """What a chain of equalities comes to: its last side before an approximation."""
    chain = text.split("≈", 1)[0]
    for place in range(len(chain) - 1, -1, -1):
        if chain[place] == "=" and chain.count("{", place) == chain.count("}", place):
            return chain[place + 1 :].strip() or text
    return chain.strip() or text


def _clock(text: str) -> Clock | None:
    if match := _CLOCK.fullmatch(text):
        hour, minute, second, half = match.groups()
        seconds = 3600 * int(hour) + 60 * int(minute) + int(second or 0)
    elif match := _HOUR.fullmatch(text):
        (hour, half), seconds = match.groups(), 3600 * int(match.group(1))
    else:
        return None
    half = (half or "").lower()
    if half:
        seconds = seconds % 43_200 + (43_200 if half == "p" else 0)
    return Clock(seconds, half, None if half else _ratio(text))


def _composite(text: str) -> Quantity | None:
    """The sum of `3 hours 20 minutes` and the like."""
    pieces = _PIECE.findall(text)
    if not 2 <= len(pieces) <= 3 or _PIECE.sub("", text).strip():
        return None
    units = [unit_of(name) for _, name in pieces]
    if any(
        unit is None or (unit.dimension, unit.power) != (units[0].dimension, units[0].power)
        for unit in units
        if units[0]
    ):
        return None
    total = sum(Fraction(value) * unit.factor for (value, _), unit in zip(pieces, units, strict=True) if unit)
    return Quantity(total / units[0].factor, units[0]) if units[0] else None


def _sequence(text: str, depth: int) -> Sequence | None:
    inner, ends = text, ""
    if text[:2] == "\\{" and text[-2:] == "\\}":
        inner, ends = text[2:-2], "{}"
    elif text[:1] in _OPEN and text[-1:] in _CLOSE and _is_wrapped(text):
        inner, ends = text[1:-1], text[0] + text[-1]
    parts = split(inner)
    if not 2 <= len(parts) <= _ENTRIES:
        return None
    return Sequence(ends, tuple(typed(part, depth + 1) for part in parts))


def _is_wrapped(text: str) -> bool:
    """Whether the first bracket is closed by the last character."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character in _OPEN) - (character in _CLOSE)
        if depth == 0:
            return position == len(text) - 1
    return False


def _decimals(text: str) -> int | None:
    """Digits after the point of a plain decimal, None for anything else."""
    plain = text.strip().replace(",", "")
    return len(plain.partition(".")[2]) if re.fullmatch(r"-?\d*\.\d+", plain) else None
