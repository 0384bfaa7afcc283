r"""Values of short numeric expressions, plain or LaTeX, without eval and without a computer algebra system.

Grammar: numbers with thousands separators, + - * / ^, \frac, \sqrt[n], \pi, parentheses, factorial, percent,
degrees, and the common functions. Anything else, a variable for one, has no value. Time is linear in the input, which
is refused above MAX_LENGTH characters; powers and factorials are bounded.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

MAX_LENGTH = 300
_PREFIX_LENGTH = 2_000
_MAX_DEPTH = 40
_MAX_EXPONENT = 2_000
_MAX_BITS = 8_192
_MAX_FACTORIAL = 60

_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?|\.\d+")
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_WORD = re.compile(r"sqrt|asin|acos|atan|sin|cos|tan|log|ln|exp|pi")
_SYNONYMS = {
    "×": "*",
    "·": "*",
    "⋅": "*",
    "∗": "*",
    "÷": "/",
    "−": "-",
    "–": "-",
    "²": "^{2}",
    "³": "^{3}",
    "√": "\\sqrt",
    "π": "\\pi ",
    "½": "\\frac{1}{2}",
    "¼": "\\frac{1}{4}",
    "¾": "\\frac{3}{4}",
    "°": "",
    "**": "^",
    "\\left": "",
    "\\right": "",
    "\\!": "",
    "\\,": "",
    "\\;": "",
    "\\ ": " ",
    "\\%": "%",
    "\\{": "(",
    "\\}": ")",
    "^{\\circ}": "",
    "^\\circ": "",
    "\\circ": "",
    "\\degree": "",
    "$": "",
}
_OPERATORS = {"\\times": "*", "\\cdot": "*", "\\ast": "*", "\\div": "/"}
_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sqrt": math.sqrt,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "arcsin": math.asin,
    "arccos": math.acos,
    "arctan": math.atan,
    "ln": math.log,
    "exp": math.exp,
}


Number = int | float


class _NoValue(Exception):
    """The text is no numeric expression."""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    value: "Number" = 0


def evaluate(text: str, mixed: bool = False) -> float | None:
    r"""The value of a numeric expression, None when it has none.

    Args:
        text: at most MAX_LENGTH characters, such as `\frac{3}{4}`, `2\sqrt{3}`, `1,234.5`, `(1+2)^2`.
        mixed: read `1\frac{1}{2}` as one and a half; otherwise it is a product, as LaTeX parsers read it.
    """
    if len(text) > MAX_LENGTH:
        return None
    for written, meant in _SYNONYMS.items():
        text = text.replace(written, meant)
    return _value(text.rstrip(". "), mixed, is_prefix=False)


def evaluate_prefix(text: str) -> float | None:
    r"""The value of the longest LaTeX expression that `text` begins with, as a LaTeX-to-sympy parser reads it.

    Such a parser stops at the first token that can't continue (`\frac{1}{2}}. So the answer` is one half), reads `:` as
    division, and makes a symbol of every letter and of `\circ`: those have no value.
    """
    if len(text) > _PREFIX_LENGTH:
        text = text[:_PREFIX_LENGTH]
    return _value(text.replace("$", "").replace("\\displaystyle", ""), mixed=False, is_prefix=True)


def _value(text: str, mixed: bool, is_prefix: bool) -> float | None:
    try:
        parser = _Parser(_tokens(text, is_prefix), mixed)
        value = parser.expression(0)
        if not is_prefix:
            parser.finish()
        value = float(value)
    except (_NoValue, ValueError, OverflowError, ZeroDivisionError):
        return None
    return value if math.isfinite(value) else None


def _tokens(text: str, is_prefix: bool) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        if is_prefix and (token := _prefix_token(text[position])) is not None:
            position += 1
        else:
            token, position = _next_token(text, position)
        tokens.append(token)
    if not tokens:
        raise _NoValue
    return tokens


def _prefix_token(character: str) -> _Token | None:
    if character == ":":
        return _Token("operator", "/")
    if character == ".":
        return _Token("stop", character)
    if character.isascii() and (character.isdigit() or character in "+-*/^()[]{}!|_\\"):
        return None
    return _Token("symbol", character)


def _number(text: str) -> Number:
    digits = text.replace(",", "")
    return int(digits) if digits.isdecimal() else float(digits)


def _next_token(text: str, position: int) -> tuple[_Token, int]:
    if match := _NUMBER.match(text, position):
        return _Token("number", match.group(), _number(match.group())), match.end()
    if match := _COMMAND.match(text, position):
        name = match.group()
        if name in _OPERATORS:
            return _Token("operator", _OPERATORS[name]), match.end()
        return _Token("command", name[1:]), match.end()
    if match := _WORD.match(text, position):
        return _Token("command", match.group()), match.end()
    if text[position] in "+-*/^()[]{}!%|_":
        return _Token("operator", text[position]), position + 1
    raise _NoValue


class _Parser:
    """Recursive descent over the tokens: sum, product (also implied), sign, power, postfix, atom."""

    def __init__(self, tokens: list[_Token], mixed: bool) -> None:
        self.tokens = tokens
        self.position = 0
        self.mixed = mixed

    def finish(self) -> None:
        if self.position != len(self.tokens):
            raise _NoValue

    def peek(self) -> _Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def take(self) -> _Token:
        token = self.peek()
        if token is None:
            raise _NoValue
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
            raise _NoValue

    def expression(self, depth: int) -> Number:
        if depth > _MAX_DEPTH:
            raise _NoValue
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
            raise _NoValue
        base = self.postfix(depth)
        if not self.accept("^"):
            return base
        exponent = self.signed(depth + 1)
        if abs(exponent) > _MAX_EXPONENT or (isinstance(base, int) and base.bit_length() * abs(exponent) > _MAX_BITS):
            raise _NoValue
        value = base**exponent
        if isinstance(value, complex):
            raise _NoValue
        return value

    def postfix(self, depth: int) -> Number:
        value = self.atom(depth)
        while True:
            if self.accept("!"):
                if value != int(value) or not 0 <= value <= _MAX_FACTORIAL:
                    raise _NoValue
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
            raise _NoValue
        value = self.expression(depth + 1)
        self.expect(closing)
        return abs(value) if token.text == "|" else value

    def command(self, name: str, depth: int) -> Number:
        if name in ("frac", "dfrac", "tfrac", "cfrac"):
            return self.argument(depth) / self.argument(depth)
        if name == "pi":
            return math.pi
        if name == "sqrt" and self.accept("["):
            degree = self.expression(depth + 1)
            self.expect("]")
            return self.root(self.argument(depth), degree)
        if name == "log":
            base = self.argument(depth) if self.accept("_") else 10.0
            return math.log(self.argument(depth)) / math.log(base)
        if name in _FUNCTIONS:
            return _FUNCTIONS[name](self.argument(depth))
        raise _NoValue

    @staticmethod
    def root(value: Number, degree: Number) -> Number:
        if value < 0:
            raise _NoValue
        return float(value) ** (1 / degree)

    def argument(self, depth: int) -> Number:
        r"""A braced group, or the next atom; a bare number gives its first digit (`\frac12` is one half)."""
        token = self.peek()
        if token is not None and token.kind == "number" and len(token.text) > 1 and token.text.isdigit():
            previous = self.tokens[self.position - 1]
            if previous.kind == "command" and previous.text.endswith("frac"):
                self.tokens[self.position : self.position + 1] = [
                    _Token("number", digits, int(digits)) for digits in (token.text[0], token.text[1:])
                ]
        if depth > _MAX_DEPTH:
            raise _NoValue
        return self.atom(depth + 1)
