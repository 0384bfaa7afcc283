r"""Whether two short answers mean the same: reflexive, symmetric, and without tolerance.

Both are typed (evaluation.answers.typed) and compared by kind: quantities by value and dimension, lists entry by
entry, and what only a computer algebra system can read by math-verify, in another process that is killed when it takes
too long (evaluation.answers.symbolic). Never eval. A missing unit makes no difference, a contradicting one does. The
one rounding that is accepted is that of a value without an end, written out to six decimals or more.
"""

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction

from evaluation.answers.arithmetic import evaluate
from evaluation.answers.symbolic import MAX_FORMULA, is_equivalent
from evaluation.answers.typed import Assignment, Clock, Quantity, Sequence, Text, Typed, decimal_comma, normal, typed

_LONGEST = 300
_FLOAT = 1e-9  # of values that are computed: roots, pi
_WRITTEN_OUT = 6
# A letter outside a command and outside the name of a function.
_VARIABLE = re.compile(
    r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])|(?<![\\A-Za-z])[A-Za-z](?=[A-Za-z](?![A-Za-z]))|(?<=[^\\A-Za-z][A-Za-z])[A-Za-z](?![A-Za-z])"
    r"|[α-ω]"
)
_RELATION = re.compile(r"[<>≤≥=∈∪±]|\\(?:in|cup|pm|neq|begin)\b|\\{")
_SUM = re.compile(r"\\(?:sum|prod)\b")
_MEMBER, _ORDER = re.compile(r"∈|\\in\b"), re.compile(r"[<>≤≥]")
_LETTERS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "theta": "θ", "lambda": "λ", "mu": "μ", "phi": "φ",
    "varphi": "φ", "omega": "ω", "rho": "ρ", "sigma": "σ", "tau": "τ",
}  # fmt: skip
_GREEK = re.compile(rf"\\({'|'.join(_LETTERS)})(?![A-Za-z])")
_POINTS = (1.31, 2.17, 3.73, -1.43, -2.59)
_BETWEEN_DIGITS = re.compile(r"(?<=[\d/.])\s+(?=\d)")


def same_answer(gold: str, answer: str, *, symbolic: bool = True) -> bool:
    """Whether a reader would accept `answer` for `gold`; False for an empty answer, and for long ones that differ.

    Args:
        gold, answer: which is which makes no difference.
        symbolic: put what only a computer algebra system can read to math-verify; False spares its time.
    """
    if not answer.strip() or not gold.strip():
        return False
    left, right = sorted((normal(gold), normal(answer)))
    if folded(left) == folded(right):
        return True
    if len(left) > _LONGEST or len(right) > _LONGEST or not left or not right:
        return False
    first, second = typed(left), typed(right)
    same = _same(first, second)
    if same is None and (by_comma := _by_decimal_comma(left, right)) is not None:
        return by_comma
    if same is not None or not symbolic:
        return bool(same)
    if isinstance(first, Assignment) and isinstance(second, Assignment) and first.name == second.name:
        left, right = first.text, second.text
    elif isinstance(first, Assignment) != isinstance(second, Assignment) and ("=" in left) != ("=" in right):
        sides = ((first, left), (second, right))
        left, right = (side.text if isinstance(side, Assignment) else text for side, text in sides)
    return _by_formula(left, right)


def folded(text: str) -> str:
    """The text without case and spaces; a space between digits stays, as in `2 1/2`."""
    return _BETWEEN_DIGITS.sub("\0", text.casefold()).replace(" ", "")


def agree_at_points(left: str, right: str) -> bool | None:
    """Whether two formulas have the same variables and the same values at fixed points; None where no value is had."""
    left, right = (_GREEK.sub(lambda found: _LETTERS[found.group(1)], text) for text in (left, right))
    variables = sorted(set(_VARIABLE.findall(left)))
    is_set = any(_ORDER.search(a) and b[:1] in "([" for a, b in ((left, right), (right, left)))
    if variables != sorted(set(_VARIABLE.findall(right))) and not is_set:
        return False
    if not variables or _RELATION.search(left + right):
        return None
    compared = 0
    for point in _POINTS:
        values = {name: f"({point + 0.37 * position})" for position, name in enumerate(variables)}
        first, second = (_at(text, values) for text in (left, right))
        if first is None and second is None and point < 0:
            continue  # neither is defined here
        if first is None or second is None:
            return None
        if not _close(first, second):
            return False
        compared += 1
    return True if compared else None


def same_equation(left: str, right: str) -> bool | None:
    """Whether two equations have the same variables, and differences of their sides that are in proportion everywhere.

    None for what is no equation of formulas, or has no value at the fixed points.
    """
    left, right = (_GREEK.sub(lambda found: _LETTERS[found.group(1)], text) for text in (left, right))
    sides = [text.split("=") for text in (left, right)]
    variables = sorted(set(_VARIABLE.findall(left)))
    if not variables or any(len(pair) != 2 for pair in sides) or _RELATION.search((left + right).replace("=", "")):
        return None
    if variables != sorted(set(_VARIABLE.findall(right))):
        return None
    ratios = []
    for point in _POINTS[:3]:
        values = {name: f"({point + 0.37 * position})" for position, name in enumerate(variables)}
        (a, b), (c, d) = ([_at(side, values) for side in pair] for pair in sides)
        if a is None or b is None or c is None or d is None or abs(c - d) < _FLOAT or abs(a - b) < _FLOAT:
            return None
        ratios.append((a - b) / (c - d))
    return all(_close(ratio, ratios[0]) for ratio in ratios)


def _same(left: Typed, right: Typed) -> bool | None:
    """Whether two typed answers are the same; None where their kinds don't tell."""
    if isinstance(left, Assignment) or isinstance(right, Assignment):
        return _same_assigned(left, right)
    if isinstance(left, Quantity) and isinstance(right, Quantity):
        return same_quantity(left, right)
    if isinstance(left, Clock) and isinstance(right, Clock):
        is_one_open = (not left.half) != (not right.half)
        return left.seconds == right.seconds or (is_one_open and (left.seconds - right.seconds) % 43_200 == 0)
    for clock, other in ((left, right), (right, left)):
        if isinstance(clock, Clock) and isinstance(other, Quantity):
            return clock.ratio is not None and same_quantity(Quantity(clock.ratio), other)
    if isinstance(left, Sequence) and isinstance(right, Sequence):
        return _same_sequence(left, right)
    if isinstance(left, Text) and isinstance(right, Text) and folded(left.text) == folded(right.text):
        return True
    return None


def same_quantity(left: Quantity, right: Quantity) -> bool:
    """Equal values after conversion, in one dimension; a percentage may also stand for its share of one."""
    units = [unit for unit in (left.unit, right.unit) if unit is not None]
    if len(units) == 2:
        if (units[0].dimension, units[0].power) != (units[1].dimension, units[1].power):
            return False
        return _same_value(left, right, units[0].factor, units[1].factor)
    if left.label and right.label and not set(_stems(left.label)) & set(_stems(right.label)):
        return False
    if _same_value(left, right):
        return True
    if units and units[0].dimension == "percent":
        shares = [Fraction(1, 100) if each.unit else Fraction(1) for each in (left, right)]
        return _same_value(left, right, *shares)
    return False


def _same_value(left: Quantity, right: Quantity, first: Fraction = Fraction(1), second: Fraction = Fraction(1)) -> bool:
    a, b = (
        each.value * factor if isinstance(each.value, Fraction) else each.value * float(factor)
        for each, factor in ((left, first), (right, second))
    )
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b or _is_written_out(left, b, a) or _is_written_out(right, a, b)
    return _close(float(a), float(b)) or _is_written_out(left, b, a) or _is_written_out(right, a, b)


def _is_written_out(written: Quantity, value: Fraction | float, as_written: Fraction | float) -> bool:
    """Whether a decimal of six places or more is `value` rounded or cut at its last place."""
    if written.decimals is None or written.decimals < _WRITTEN_OUT:
        return False
    return abs(float(value) - float(as_written)) < 10.0**-written.decimals


def _same_assigned(left: Typed, right: Typed) -> bool | None:
    names = [each.name for each in (left, right) if isinstance(each, Assignment)]
    if len(names) == 2 and names[0] != names[1]:
        return None  # x = 3y and 3y = x are the same; only algebra tells
    first, second = (each.value if isinstance(each, Assignment) else each for each in (left, right))
    return _same(first, second)


def _same_sequence(left: Sequence, right: Sequence) -> bool | None:
    """Entry by entry: in order where either is a tuple or an interval, in any order otherwise."""
    left, right = _distinct(left), _distinct(right)
    if len(left.parts) != len(right.parts):
        return None if left.ends != right.ends else False
    brackets = {"()", "[]", "(]", "[)"}
    if left.ends in brackets and right.ends in brackets and left.ends != right.ends:
        return False
    if left.ends in brackets or right.ends in brackets:
        return _all(_same(a, b) for a, b in zip(left.parts, right.parts, strict=True))
    rest, is_open = list(right.parts), False
    for part in left.parts:
        verdicts = [_same(part, other) for other in rest]
        if True in verdicts:
            rest.pop(verdicts.index(True))
        elif None in verdicts:
            is_open = True
        else:
            return False
    return None if is_open else True


def _distinct(sequence: Sequence) -> Sequence:
    """A list of tuples (solutions, points) without those that stand in it twice."""
    if sequence.ends or not all(isinstance(part, Sequence) for part in sequence.parts):
        return sequence
    return Sequence("", tuple(dict.fromkeys(sequence.parts)))


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    found = list(verdicts)
    if False in found:
        return False
    return None if None in found else True


def _by_decimal_comma(left: str, right: str) -> bool | None:
    """Whether `2,74` is 2.74, where one side is written so and the other is one number."""
    values = [decimal_comma(text) for text in (left, right)]
    if (values[0] is None) == (values[1] is None):
        return None
    other = typed(right if values[1] is None else left)
    return other.value in values if isinstance(other, Quantity) and other.unit is None else None


def _by_formula(left: str, right: str) -> bool:
    if _SUM.search(left + right):
        return False  # math-verify takes sums over different ranges for one another
    if max(len(left), len(right)) > MAX_FORMULA or ("=" in left) != ("=" in right):
        return False
    if any(_MEMBER.search(a) and _ORDER.search(b) for a, b in ((left, right), (right, left))):
        return False
    by_points = same_equation(left, right) if "=" in left else agree_at_points(left, right)
    return is_equivalent(left, right) if by_points is None else by_points


def _at(text: str, values: Mapping[str, str]) -> float | None:
    return evaluate(_VARIABLE.sub(lambda found: values[found.group()], text))


def _close(left: float, right: float) -> bool:
    return abs(left - right) <= _FLOAT * max(1.0, abs(left), abs(right))


def _stems(label: str) -> list[str]:
    return [word[:-1] if len(word) > 3 and word.endswith("s") else word for word in label.split()]
