"""Answers to "how many ...?": the number before the noun that was asked for, and what repeats the question."""

import re

from evaluation.answers.numerals import WORDS
from evaluation.answers.text import sentences

_NUMBER = (
    rf"(?<!out of )(?P<value>\d+(?:,\d{{3}})*(?:\.\d+)?|\b(?:{'|'.join(sorted(WORDS, key=len, reverse=True))}|no)\b)"
)
_HOW_MANY = re.compile(
    r"(?:how many|number of)\s(?:of (?:the|these|those)\s)?(?:following\s)?(?P<phrase>[a-z' -]{3,60})", re.I
)
_LONG = re.compile(r"[^\W\d_]{4,}")
_ASKING = frozenset(("what", "which", "many", "much", "when", "where", "does", "have", "will", "would", "across"))
_IS_LEFT, _LEFT = re.compile(r"\b(?:are|is)\s(?:left|remaining)\b", re.I), re.compile(r"\b(?:left|remain)", re.I)
_BLANK = re.compile(r"\(_\)((?:\s[a-z]+){2,4})")
_END = re.compile(
    r"\s(?:are|is|do|does|did|have|has|had|were|was|can|could|will|would|must|in|of|on|that|which|there|with|from|left|to|than|"
    r"lower|higher|more|less|preferred|sold|you|we|he|she|they|the|this|these)\b.*",
    re.I,
)


def counted(sentence: str, question: str) -> str | None:
    """The number that stands before the noun which a question asks to count, the only one of its kind."""
    if (blank := _BLANK.search(_own(question))) and (filled := _filled(sentence, blank.group(1))):
        return filled
    count = _HOW_MANY.search(_own(question))
    if count is None or sentence.endswith("?") or (asks_rest(question) and not _LEFT.search(sentence)):
        return None
    noun = _END.sub("", count.group("phrase")).split()[-1:] or [""]
    if len(noun[0]) < 3:
        return None
    stem = re.escape(noun[0].removesuffix("s"))
    found = re.findall(rf"{_NUMBER}\s(?:[a-z-]+\s){{0,3}}{stem}(?:s|es)?\b", sentence, re.I)
    return str(found[0]) if len(set(found)) == 1 else None


def _filled(sentence: str, words: str) -> str | None:
    """The number before the words that follow the blank of the question."""
    found = re.search(rf"{_NUMBER}\s{re.escape(words.strip())}", sentence, re.I)
    return found.group("value") if found else None


def repeats(sentence: str, question: str) -> bool:
    """Whether the sentence holds most of the question's longer words, so that it is the one that answers it."""
    words = set(_LONG.findall(asked(question).casefold())) - _ASKING
    return len(words) >= 2 and len(words & set(_LONG.findall(sentence.casefold()))) >= 0.7 * len(words)


def asks_rest(question: str) -> bool:
    """Whether what is left after taking some away is asked for."""
    return _IS_LEFT.search(asked(question)) is not None


def asked(question: str) -> str:
    """The last sentence of a question that asks, or all of it where none does."""
    own = _own(question)
    asking = [part for part in sentences(own) if part.endswith("?")]
    return asking[-1] if asking else own


def _own(question: str) -> str:
    """The question without the hint before it and the choices after it."""
    return question.rpartition("Question:")[2].partition("Choices:")[0]
