r"""Values of short numeric expressions, plain or LaTeX, without eval and without a computer algebra system.

Grammar: numbers with thousands separators, + - * / ^, \frac, \sqrt[n], \pi, parentheses, factorial, percent,
degrees, and the common functions. Anything else, a variable for one, has no value. Time is linear in the input, which
is refused above MAX_LENGTH characters; powers and factorials are bounded.
"""

import math
from collections.abc import Callable
from fractions import Fraction

from evaluation.answers.tokens import SYNONYMS, NoValueError, Number, Token, tokens_of

MAX_LENGTH = 300
_PREFIX_LENGTH = 2_000
_MAX_DEPTH = 40
_MAX_EXPONENT = 2_000
_MAX_BITS = 8_192
_MAX_FACTORIAL = 60

_NAMES = ("sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "exp")
_FUNCTIONS: dict[str, Callable[[float], float]] = {name: getattr(math, name) for name in _NAMES} | {
    "arcsin": math.asin,
    "arccos": math.acos,
    "arctan": math.atan,
    "ln": math.log,
    "sec": lambda x: 1 / math.cos(x),
    "csc": lambda x: 1 / math.sin(x),
    "cot": lambda x: 1 / math.tan(x),
}


def evaluate(text: str, mixed: bool = False) -> float | None:
    r"""The value of a numeric expression, None when it has none.

    Args:
        text: at most MAX_LENGTH characters, such as `\frac{3}{4}`, `2\sqrt{3}`, `1,234.5`, `(1+2)^2`.
        mixed: read `1\frac{1}{2}` as one and a half; otherwise it is a product, as LaTeX parsers read it.
    """
    if len(text) > MAX_LENGTH:
        return None
    for written, meant in SYNONYMS.items():
        text = text.replace(written, meant)
    return _value(text.rstrip(". "), mixed, is_prefix=False)


def exact(text: str) -> Number | None:
    r"""As `evaluate` with mixed numbers, but rational values come as Fractions: `1/3`, `0.1`, `2\frac{1}{2}`."""
    if len(text) > MAX_LENGTH:
        return None
    for written, meant in SYNONYMS.items():
        text = text.replace(written, meant)
    try:
        tokens = [
            Token("number", token.text, Fraction(token.text.replace(",", ""))) if token.kind == "number" else token
            for token in tokens_of(text.rstrip(". "), False)
        ]
        parser = _Parser(tokens, mixed=True)
        value = parser.expression(0)
    except (NoValueError, ValueError, OverflowError, ZeroDivisionError):
        return None
    if parser.peek() is not None:
        return None
    return value if isinstance(value, int | Fraction) or math.isfinite(value) else None


def evaluate_prefix(text: str) -> float | None:
    r"""The value of the longest LaTeX expression that `text` begins with, as a LaTeX-to-sympy parser reads it.

    Such a parser stops at the first token that can't continue (`\frac{1}{2}}. So the answer` is one half), reads `:` as
    division, and makes a symbol of every letter and of `\circ`: those have no value.
    """
    return _value(text[:_PREFIX_LENGTH].replace("$", "").replace("\\displaystyle", ""), mixed=False, is_prefix=True)


def _value(text: str, mixed: bool, is_prefix: bool) -> float | None:
    try:
        parser = _Parser(tokens_of(text, is_prefix), mixed)
        value = parser.expression(0)
        if not is_prefix and parser.peek() is not None:
            return None
        value = float(value)
    except (NoValueError, ValueError, OverflowError, ZeroDivisionError):
        return None
    return value if math.isfinite(value) else None


def _bits(value: Number) -> int:
    return 0 if isinstance(value, float) else max(value.numerator.bit_length(), value.denominator.bit_length())


class _Parser:
    """Recursive descent over the tokens: sum, product (also implied), sign, power, postfix, atom."""

    def __init__(self, tokens: list[Token], mixed: bool) -> None:
        self.tokens = tokens
        self.position = 0
        self.mixed = mixed

    def peek(self) -> Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def take(self) -> Token:
        token = self.peek()
        if token is None:
            raise NoValueError
        self.position += 1
        return token

    def accept(self, text: str) -> bool:
        token = self.peek()
        if token is not None and token.kind == "operator" and token.text == text:
            self.position += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise NoValueError

    def expression(self, depth: int) -> Number:
        if depth > _MAX_DEPTH:
            raise NoValueError
        value = self.product(depth)
        while True:
            if self.accept("+"):
                value += self.product(depth)
            elif self.accept("-"):
                value -= self.product(depth)
            else:
                return value

    def product(self, depth: int) -> Number:
        value = self.signed(depth)
        while True:
            if self.accept("*"):
                value *= self.signed(depth)
            elif self.accept("/"):
                value /= self.signed(depth)
            elif self.starts_factor():
                value = self.implied(value, depth)
            else:
                return value

    def implied(self, value: Number, depth: int) -> Number:
        token, previous = self.peek(), self.tokens[self.position - 1]
        is_fraction = token is not None and token.kind == "command" and token.text in ("frac", "dfrac", "tfrac")
        is_mixed = self.mixed and is_fraction and previous.kind == "number" and value == int(value)
        factor = self.power(depth)
        if is_mixed:
            return value + factor if value >= 0 else value - factor
        return value * factor

    def starts_factor(self) -> bool:
        token = self.peek()
        if token is None:
            return False
        if token.kind == "number":
            # Two numbers side by side are a list or a slip, never a product.
            return self.tokens[self.position - 1].kind != "number"
        return token.kind in ("command", "symbol") or (token.kind == "operator" and token.text in "({[")

    def signed(self, depth: int) -> Number:
        sign = 1
        while True:
            if self.accept("-"):
                sign = -sign
            elif not self.accept("+"):
                return sign * self.power(depth)

    def power(self, depth: int) -> Number:
        if depth > _MAX_DEPTH:
            raise NoValueError
        base = self.postfix(depth)
        if not self.accept("^"):
            return base
        exponent = self.signed(depth + 1)
        size = exponent if exponent >= 0 else -exponent
        if size > _MAX_EXPONENT or _bits(base) * size > _MAX_BITS:
            raise NoValueError
        value: Number | complex = base**exponent
        if isinstance(value, complex):
            raise NoValueError
        return value

    def postfix(self, depth: int) -> Number:
        value = self.atom(depth)
        while True:
            if self.accept("!"):
                if value != int(value) or not 0 <= value <= _MAX_FACTORIAL:
                    raise NoValueError
                value = math.factorial(int(value))
            elif self.accept("%"):
                value /= 100
            else:
                return value

    def atom(self, depth: int) -> Number:
        token = self.take()
        if token.kind == "number":
            return token.value
        if token.kind == "command":
            return self.command(token.text, depth)
        closing = {"(": ")", "[": "]", "{": "}", "|": "|"}.get(token.text)
        if closing is None or token.kind != "operator":
            raise NoValueError
        value = self.expression(depth + 1)
        self.expect(closing)
        return -value if token.text == "|" and value < 0 else value

    def command(self, name: str, depth: int) -> Number:
        if name in ("frac", "dfrac", "tfrac", "cfrac"):
            return self.argument(depth) / self.argument(depth)
        if name == "pi":
            return math.pi
        if name == "sqrt" and self.accept("["):
            degree = float(self.expression(depth + 1))
            self.expect("]")
            value = self.argument(depth)
            if value < 0:
                raise NoValueError
            return float(value) ** (1 / degree)
        if name == "log":
            base = self.argument(depth) if self.accept("_") else 10.0
            return math.log(float(self.argument(depth))) / math.log(float(base))
        if name in _FUNCTIONS and self.accept("^"):
            exponent = float(self.argument(depth))
            if not 0 < exponent <= _MAX_FACTORIAL:
                raise NoValueError  # sin^{-1} is an inverse, no power
            return float(_FUNCTIONS[name](float(self.argument(depth)))) ** exponent
        if name in _FUNCTIONS:
            return _FUNCTIONS[name](float(self.argument(depth)))
        raise NoValueError

    def argument(self, depth: int) -> Number:
        r"""A braced group, or the next atom; a bare number gives its first digit (`\frac12` is one half)."""
        token = self.peek()
        if token is not None and token.kind == "number" and len(token.text) > 1 and token.text.isdigit():
            previous = self.tokens[self.position - 1]
            if previous.kind == "command" and previous.text.endswith("frac"):
                self.tokens[self.position : self.position + 1] = [
                    Token("number", digits, type(token.value)(int(digits)))
                    for digits in (token.text[0], token.text[1:])
                ]
        if depth > _MAX_DEPTH:
            raise NoValueError
        return self.atom(depth + 1)
