"""The toolkit's `can_infer`, restated: which option a text names, by VLMEvalKit's letter and text rules at one commit.

The commit is evaluation.judging.protocols.TOOLKIT_COMMIT (vlmeval/utils/matching_util.py). Its oddities are kept: a
letter must stand among the last four words, or follow `answer is` in any case, so that "the answer is between" names B;
a refusal is NONE_OF_THEM; an option's text counts wherever it stands in a short answer.
"""

import re
from collections.abc import Mapping

NONE_OF_THEM = "Z"
_API_FAILURE = "Failed to obtain answer via API"
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_SEPARATORS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_LAST_WORDS = 4
_STATED = re.compile(r"answer\s+is\s+\**([ABCD])", re.I)


def infer_option(answer: str, options: Mapping[str, str]) -> str | None:
    """The letter that the toolkit infers, NONE_OF_THEM for a refusal, None where it would ask a model."""
    return _by_letter(answer, options) or _by_text(answer, options)


def _by_letter(answer: str, options: Mapping[str, str]) -> str | None:
    if _API_FAILURE in answer:
        return None
    if any(refusal in answer for refusal in _REFUSALS):
        return NONE_OF_THEM
    words = answer.translate(_SEPARATORS).split()
    present = [letter for letter in options if letter in words]
    if len(present) == 1 and words.index(present[0]) >= len(words) - _LAST_WORDS:
        return present[0]
    if not present and NONE_OF_THEM in words:
        return NONE_OF_THEM
    stated = _STATED.search(answer)
    return stated.group(1).upper() if stated and stated.group(1).upper() in options else None


def _by_text(answer: str, options: Mapping[str, str]) -> str | None:
    folded = answer.lower()
    if len(folded) > 2 * sum(map(len, options.values())):
        return None
    found = [letter for letter, text in options.items() if text.lower() in folded]
    return found[0] if len(found) == 1 else None
