"""Answers to "how many ...?": the number before the noun that was asked for, and what repeats the question."""

import re

from evaluation.answers.numerals import WORDS

_NUMBER = rf"(?P<value>\d+(?:,\d{{3}})*(?:\.\d+)?|\b(?:{'|'.join(sorted(WORDS, key=len, reverse=True))}|no)\b)"
_HOW_MANY = re.compile(r"(?:how many|number of)\s(?P<phrase>[a-z' -]{3,60})", re.I)
_LONG = re.compile(r"[^\W\d_]{4,}")
_END = re.compile(
    r"\s(?:are|is|do|does|did|have|has|had|were|was|can|could|will|would|must|in|of|on|that|which|there|with|from|left|to|than|"
    r"lower|higher|more|less|preferred|sold|you|we|he|she|they|the|this|these)\b.*",
    re.I,
)


def counted(sentence: str, question: str) -> str | None:
    """The number that stands before the noun which a question asks to count, the only one of its kind."""
    asked = _HOW_MANY.search(_own(question))
    if asked is None or sentence.endswith("?"):
        return None
    noun = _END.sub("", asked.group("phrase")).split()[-1:] or [""]
    if len(noun[0]) < 3:
        return None
    stem = re.escape(noun[0].removesuffix("s"))
    found = re.findall(rf"{_NUMBER}\s(?:[a-z-]+\s){{0,3}}{stem}(?:s|es)?\b", sentence, re.I)
    return str(found[0]) if len(set(found)) == 1 else None


def repeats(sentence: str, question: str) -> bool:
    """Whether the sentence holds most of the question's longer words, so that it is the one that answers it."""
    words = set(_LONG.findall(_own(question).casefold()))
    return len(words) >= 3 and len(words & set(_LONG.findall(sentence.casefold()))) >= 0.7 * len(words)


def _own(question: str) -> str:
    """The question without the hint before it and the choices after it."""
    return question.rpartition("Question:")[2].partition("Choices:")[0]
