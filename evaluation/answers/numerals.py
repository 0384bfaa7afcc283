"""Numbers in words: `seven`, `twenty-one`, `two thirds`, `five million`."""

from fractions import Fraction

_UNITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORDS = {word: value for value, word in enumerate((*_UNITS, *_TEENS))} | {
    word: 10 * (k + 2) for k, word in enumerate(_TENS)
}
_PARTS = ("half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
SCALES = {word: Fraction(1, k + 2) for k, word in enumerate(_PARTS)} | {
    "halves": Fraction(1, 2),
    "hundred": Fraction(100),
    "thousand": Fraction(1_000),
    "million": Fraction(1_000_000),
    "billion": Fraction(1_000_000_000),
}  # fmt: skip


def word_value(text: str) -> Fraction | None:
    """The value of a number in words, None for any other text."""
    words = text.casefold().replace("-", " ").split()
    if words[:1] == ["a"] and len(words) == 2 and words[1] in ("half", "third", "quarter", "hundred", "thousand"):
        words = ["one", words[1]]
    value, scale = Fraction(0), Fraction(1)
    if len(words) > 1 and (scale := scale_of(words[-1])) != 1:
        words = words[:-1]
    if not words or len(words) > 2 or any(word not in WORDS for word in words):
        return None
    values = [WORDS[word] for word in words]
    if len(values) == 2 and not (values[0] >= 20 and 0 < values[1] < 10):
        return None
    value = Fraction(sum(values))
    return value * scale


def scale_of(word: str) -> Fraction:
    """What a word after a number multiplies it by, 1 for any other word."""
    word = word.casefold()
    return SCALES.get(word) or SCALES.get(word.removesuffix("s")) or Fraction(1)
