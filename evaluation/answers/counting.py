"""Answers to "how many ...?": the number before the noun that was asked for, and what repeats the question."""

import re

from evaluation.answers.numerals import WORDS

_NUMBER = rf"(?P<value>\d+(?:,\d{{3}})*(?:\.\d+)?|\b(?:{'|'.join(sorted(WORDS, key=len, reverse=True))}|no)\b)"
_HOW_MANY = re.compile(r"how many (?P<nouns>[a-z' -]{3,60})|number of (?P<others>[a-z' -]{3,60})", re.I)
_LONG = re.compile(r"[^\W\d_]{4,}")
_STOP = frozenset(
    "more less fewer than that does have were there will would could should must this these those with".split()
)


def counted(sentence: str, question: str) -> str | None:
    """The number that stands before the noun which a question asks to count, the only one of its kind."""
    asked = _HOW_MANY.search(_own(question))
    if asked is None or sentence.endswith("?"):
        return None
    nouns = [
        word for word in _LONG.findall((asked.group("nouns") or asked.group("others")).casefold()) if word not in _STOP
    ]
    for noun in nouns[:3]:
        stem = re.escape(noun[:-1] if noun.endswith("s") else noun)
        found = re.findall(rf"{_NUMBER}\s(?:[a-z-]+\s){{0,2}}{stem}(?:s|es)?\b", sentence, re.I)
        if len(set(found)) == 1:
            return str(found[0])
    return None


def repeats(sentence: str, question: str) -> bool:
    """Whether the sentence holds most of the question's longer words, so that it is the one that answers it."""
    words = set(_LONG.findall(_own(question).casefold()))
    return len(words) >= 3 and len(words & set(_LONG.findall(sentence.casefold()))) >= 0.7 * len(words)


def _own(question: str) -> str:
    """The question without the hint before it and the choices after it."""
    return question.rpartition("Question:")[2].partition("Choices:")[0]
