r"""Cuts short numeric expressions, plain or LaTeX, into tokens for evaluation.answers.arithmetic."""

import re
from dataclasses import dataclass
from fractions import Fraction

_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?|\.\d+")
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_WORD = re.compile(r"sqrt|asin|acos|atan|sin|cos|tan|log|ln|exp|pi")
SYNONYMS = {
    "×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "−": "-", "–": "-", "²": "^{2}", "³": "^{3}",
    "√": "\\sqrt", "π": "\\pi ", "½": "\\frac{1}{2}", "¼": "\\frac{1}{4}", "¾": "\\frac{3}{4}", "°": "", "**": "^",
    "\\left": "", "\\right": "", "\\!": "", "\\,": "", "\\;": "", "\\ ": " ", "\\%": "%", "\\{": "(", "\\}": ")",
    "^{\\circ}": "", "^\\circ": "", "\\circ": "", "\\degree": "", "$": "",
}  # fmt: skip
_OPERATORS = {"\\times": "*", "\\cdot": "*", "\\ast": "*", "\\div": "/"}

Number = int | float | Fraction


class NoValueError(Exception):
    """The text is no numeric expression."""


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    value: "Number" = 0


def tokens_of(text: str, is_prefix: bool) -> list[Token]:
    tokens: list[Token] = []
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
        raise NoValueError
    return tokens


def _prefix_token(character: str) -> Token | None:
    if character == ":":
        return Token("operator", "/")
    if character == ".":
        return Token("stop", character)
    if character.isascii() and (character.isdigit() or character in "+-*/^()[]{}!|_\\"):
        return None
    return Token("symbol", character)


def _next_token(text: str, position: int) -> tuple[Token, int]:
    if match := _NUMBER.match(text, position):
        digits = match.group().replace(",", "")
        return Token("number", match.group(), int(digits) if digits.isdecimal() else float(digits)), match.end()
    if match := _COMMAND.match(text, position):
        name = match.group()
        if name in _OPERATORS:
            return Token("operator", _OPERATORS[name]), match.end()
        return Token("command", name[1:]), match.end()
    if match := _WORD.match(text, position):
        return Token("command", match.group()), match.end()
    if text[position] in "+-*/^()[]{}!%|_":
        return Token("operator", text[position]), position + 1
    raise NoValueError
