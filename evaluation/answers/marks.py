r"""What a response marks as its answer: `\boxed{}`, `<answer>`, `[[...]]` and `#### ...`, with where it stands.

Boxes that stand side by side ("\boxed{1} and \boxed{2}") are one answer with several parts.
"""

import re
from dataclasses import dataclass

from evaluation.answers.text import balanced

_BOXES = 8
_BOX = re.compile(r"\\{0,2}(?:boxed|fbox)\s{0,3}\{")
_TAG = re.compile(
    r"<answer>(.{0,2000}?)</answer>|\[\[([^\[\]\n]{1,100})\]\]|(?:^|\n)\s{0,3}#### ([^\n]{1,200})", re.S | re.I
)
_TAGS = 20_000
_JOINED = re.compile(r"[\s$,;.&{}()\[\]\\]|quad|text|and|or|和|[A-Za-z]{1,8}(?:_\{?\d\}?)?\s?=")
_LONGEST_JOINT = 40


@dataclass(frozen=True)
class Mark:
    """A marked answer: its text, the rule, the whole mark as written, and where it begins and ends."""

    text: str
    rule: str
    evidence: str
    start: int
    end: int


def marks(text: str) -> list[Mark]:
    """The last box (with its neighbours), then the last tag; what is empty marks nothing."""
    found = [_boxes(text), _tags(text)]
    return [mark for mark in found if mark is not None and mark.text]


def is_contradicting(found: list[Mark]) -> bool:
    """Whether two marks say different things."""
    return len({re.sub(r"\W", "", mark.text).casefold() for mark in found}) > 1


def _boxes(text: str) -> Mark | None:
    boxes: list[Mark] = []
    for match in list(_BOX.finditer(text))[-_BOXES:]:
        inside = balanced(text, match.end())
        if inside is not None:
            end = match.end() + len(inside) + 1
            boxes.append(Mark(inside.strip(), "boxed", text[match.start() : end], match.start(), end))
    if not boxes:
        return None
    last = boxes.pop()
    while boxes and boxes[-1].text != last.text and _is_joint(text[boxes[-1].end : last.start]):
        before = boxes.pop()
        joined = f"{before.text}, {last.text}"
        last = Mark(joined, "boxed", text[before.start : last.end], before.start, last.end)
    return last


def _is_joint(between: str) -> bool:
    """Whether what stands between two boxes joins them: delimiters, `and`, a comma, a word or two."""
    if len(between) > _LONGEST_JOINT or re.search(r"\.\s+[A-Z]|\n\n", between):
        return False
    rest = _JOINED.sub("", between)
    return len(rest) <= 12 and (not rest or re.search(r"\band\b|,|和", between) is not None)


def _tags(text: str) -> Mark | None:
    tail = max(0, len(text) - _TAGS)
    found = list(_TAG.finditer(text, tail))
    if not found:
        return None
    inside = next(group for group in found[-1].groups() if group is not None)
    return Mark(inside.strip(), "answer_tag", found[-1].group().strip(), found[-1].start(), found[-1].end())
