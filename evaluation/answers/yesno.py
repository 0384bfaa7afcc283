"""Reads yes or no out of a response."""

import re

_WORD = re.compile(r"[a-z]+")
_AUXILIARY = frozenset(
    [
        "is",
        "are",
        "was",
        "were",
        "do",
        "does",
        "did",
        "has",
        "have",
        "had",
        "can",
        "could",
        "will",
        "would",
        "a",
        "an",
        "the",
        "any",
        "there",
        "it",
        "to",
        "be",
        "in",
        "of",
        "at",
        "on",
    ]
)
_QUESTION = re.compile(r"[^.!?\n]{0,400}\?|\(?\b(?:yes or no|yes/no|no or yes)\b\)?", re.I)
_LEADING = re.compile(
    r"\W{0,6}(yes|no)\b(?!\s(?:and|or|one|other|longer|more|way)\b|\s(?!there|it|this|that|they|the|he|she|i|not)"
    r"(?:[a-z]+\s){1,3}(?:is|are|was|were|can|could|has|have)\b)",
    re.I,
)
_STATED = re.compile(
    r"\b(?:answer|so|thus|therefore|hence|conclusion)\b[^.\n]{0,30}?(?:\bis\b|[:,])[\s\"'*]{0,3}(yes|no)\b(?!\s[a-z])|(?:^|\n)\W{0,5}"
    r"(?=(?:yes|no)\W{0,4}$)(yes|no)",
    re.I,
)
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|neither|cannot|can't|isn't|aren't|doesn't|don't|didn't|wasn't|weren't|won't|incorrect|false)\b"
)


def yes_or_no(text: str) -> str | None:
    """ "Yes" when the word stands in the text and `no` doesn't, "No" the other way round, else None."""
    words = set(_WORD.findall(text.casefold()))
    if ("yes" in words) == ("no" in words):
        return None
    return "Yes" if "yes" in words else "No"


def stated_yes_or_no(text: str) -> str | None:
    """ "Yes" or "No" where the text opens or ends with it, or says that the answer is so; questions don't count."""
    own = _QUESTION.sub("", text).strip()
    if match := _LEADING.match(own):
        return match.group(1).capitalize()
    found = [word for match in _STATED.finditer(own) for word in match.groups() if word]
    return found[-1].capitalize() if found else None


def stance(sentence: str) -> str:
    """ "No" for a sentence with a negation, "Yes" without: what it says to the question that it answers."""
    return "No" if _NEGATION.search(sentence.casefold()) else "Yes"


def repeats_in_order(sentence: str, question: str) -> bool:
    """Whether the words of a question, its verb apart, stand in the sentence in their order."""
    wanted = [word for word in _WORD.findall(question.casefold()) if word not in _AUXILIARY]
    said = iter(_WORD.findall(sentence.casefold()))
    return len(wanted) >= 2 and all(word in said for word in wanted) and not sentence.strip().endswith("?")
