"""Reads yes or no out of a response."""

import re

_WORD = re.compile(r"[a-z]+")
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|neither|cannot|can't|isn't|aren't|doesn't|don't|didn't|wasn't|weren't|won't|incorrect|false)\b"
)


def yes_or_no(text: str) -> str | None:
    """ "Yes" when the word stands in the text and `no` doesn't, "No" the other way round, else None."""
    words = set(_WORD.findall(text.casefold()))
    if ("yes" in words) == ("no" in words):
        return None
    return "Yes" if "yes" in words else "No"


def leading_yes_or_no(text: str) -> str | None:
    """ "Yes" or "No" when the text opens with it."""
    match = re.match(r"\W{0,5}(yes|no)\b", text, re.I)
    return match.group(1).capitalize() if match else None


def stance(sentence: str) -> str:
    """ "No" for a sentence with a negation, "Yes" without: what it says to the question that it answers."""
    return "No" if _NEGATION.search(sentence.casefold()) else "Yes"
