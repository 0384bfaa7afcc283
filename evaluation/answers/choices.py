"""The choices of a question where a response repeats them, and the sentence that chooses among them."""

import re
from collections.abc import Mapping

from evaluation.answers import letters as found_by
from evaluation.answers.text import concludes, sentences

_LABEL = re.compile(r"[\s*>#-]{0,5}(?:\(?[A-Z]\s?[).:]|\d{1,2}[.)])\s{0,3}")
LISTED = re.compile(r"\s{0,3}\(?[A-Z]{1,2}[).:]\s")
_COUNTED_LETTER = re.compile(r"\s{0,3}\d{1,2}[.)]\s?\(?[A-Z]\)?[.:]?\s*$")
NEGATED = re.compile(
    r"\b(?:not|n't|neither|nor|cannot|except|unlikely|instead of|rather than|may|might|could)\b|\?", re.I
)


def without_choices(own: str, options: Mapping[str, str]) -> str:
    """The text without the lines that repeat all choices, whatever their labels."""
    lines, texts = own.split("\n"), {found_by.fold(option): letter for letter, option in options.items() if option}
    places: dict[str, int] = {}
    for place, line in enumerate(lines):
        label = _LABEL.match(line)
        if label and (letter := texts.get(found_by.fold(line[label.end() :]))):
            places.setdefault(letter, place)
    return "\n".join(
        line for place, line in enumerate(lines) if place not in places.values() or len(places) < len(options)
    )


def is_list(own: str, options: Mapping[str, str]) -> bool:
    """Whether the text does nothing but list options, on lines of their own or in one."""
    lines = [line for line in own.split("\n") if line.strip()]
    if len(lines) > 1 and any(all(kind.match(line) for line in lines) for kind in (LISTED, _COUNTED_LETTER)):
        return True
    names = list(options)
    marked, last = found_by.marked_letters(own, names), (sentences(own) or [""])[-1]
    if is_concluded(last, names) or (
        len(found_by.marked_letters(last, names)) == 1 and found_by.stated_letter(last, names)
    ):
        return False  # the choices repeated, and one chosen after them
    return len(marked) == len(options) > 1 and len(own) <= 20 * len(options) + 2 * sum(map(len, options.values()))


def is_concluded(sentence: str, names: list[str]) -> bool:
    """Whether the sentence draws a conclusion and marks one letter: `Therefore, the next figure is (D), a hexagon.`"""
    is_one = len(found_by.marked_letters(sentence, names)) == 1
    return is_one and concludes(sentence) and not NEGATED.search(sentence)
