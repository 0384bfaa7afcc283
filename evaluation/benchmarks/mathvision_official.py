r"""The published rule of MATH-V, re-stated: how an answer is cut out of a response, normalised and compared.

Source: mathllm/MATH-V, evaluation/evaluate.py and utils.py (arXiv 2402.14804). Its defects are kept on purpose: letters
are read only in a few fixed positions, "8 cm" is the text "8cm", "(D) 2 and 3" becomes "d2and3". Differs from the
original: values come from evaluation.answers.arithmetic, never from eval, so that text which only a computer algebra
system can read has no value; an answer of more than 300 characters is compared as text alone.
"""

import re

from evaluation.answers.arithmetic import evaluate_prefix

_LETTERS = "ABCDE"
_PHRASES = ("the final answer is", "the answer is", "the correct answer is", "the answer should be")
_BOX = "oxed{"
# In this order: later entries rely on earlier ones (spaces go first).
_CLEANING = (
    (" ", ""),
    ("\\,", ""),
    ("∞", "\\infty"),
    ("+\\infty", "\\infty"),
    ("\\\\", "\\"),
    ("\n", ""),
    ("\\text", ""),
    ("\\mbox", ""),
    ("bmatrix", "pmatrix"),
    ("\\left", ""),
    ("\\right", ""),
    ("^{\\circ}", ""),
    ("^\\circ", ""),
    ("{m}^3", ""),
    ("m^3", ""),
    ("{units}", ""),
    ("units", ""),
    ("{km}", ""),
    ("km", ""),
    ("\\!", ""),
    ("tfrac", "frac"),
    ("dfrac", "frac"),
    ("\\$", ""),
    ("$", ""),
    ("\\%", ""),
    ("{.", "{0."),
)
_SLASH = re.compile(r"(-?\d{1,20})/(-?\d{1,20})")
_SQRT = re.compile(r"\\sqrt([^{])")


def extract(response: str) -> str:
    """The normalised answer text that the published rule reads; empty only for a response without content."""
    text = _closing_number(_fixed_letter(response.strip()))
    if _BOX not in text:
        text = _after_phrases(text)
    elif text.count(_BOX) > 1:
        text = "\\b" + _BOX + text.rsplit(_BOX, 1)[1]
    answer = _normalise(_boxed(text.lower().replace("{}", "")))
    for letter in _LETTERS.lower():
        answer = answer.replace(f"({letter})", letter)
    for letter in _LETTERS.lower():
        answer = answer.replace(f"{{{letter}}}", letter)
    return answer.rstrip(".").lstrip(":").strip()


def is_equal(gold: str, answer: str) -> bool:
    """Whether two answers are the same text, or the same value once rounded to two decimals."""
    gold, answer = gold.lower(), answer.lower()
    if not gold.replace(" ", "") or not answer.replace(" ", ""):
        return False
    if gold.strip() == answer.strip():
        return True
    left, right = _tuple_values(gold), _tuple_values(answer)
    if left is not None and right is not None:
        return gold[0] == answer[0] and left == right
    return _same_value(gold, answer)


def _same_value(gold: str, answer: str) -> bool:
    left = evaluate_prefix(gold)
    if left is None:
        return False
    right = evaluate_prefix(answer)
    return right is not None and round(left, 2) == round(right, 2)


def _fixed_letter(text: str) -> str:
    for letter in _LETTERS:
        endings = (f" {letter}.", f" ({letter}).")
        beginnings = (f"{letter}\n", f"({letter})\n", f"({letter}) {letter}\n")
        if text.endswith(endings) or text.startswith(beginnings):
            text = letter
    return text


def _closing_number(text: str) -> str:
    tail = text.rsplit("is ", 1)[-1].rstrip(".")
    try:
        float(tail)
    except ValueError:
        return text
    return tail


def _after_phrases(text: str) -> str:
    for phrase in _PHRASES:
        for spelling in (phrase, phrase.replace("the", "The")):
            _, found, after = text.rpartition(spelling)
            text = after.strip()
            if found:
                text = text.split("\n")[0].split(". ")[0]
    return text


def _boxed(text: str) -> str:
    _, found, inside = text.rpartition(_BOX)
    end = inside.rfind("}")
    answer = inside[:end] if found and end >= 0 else text
    closing, opening = answer.find("}"), answer.find("{")
    if closing >= 0 and (opening < 0 or closing < opening):
        answer = answer[:closing]
    return answer


def _normalise(answer: str) -> str:
    answer = answer.rsplit("=", 1)[-1].rsplit("\\approx", 1)[-1]
    for written, meant in _CLEANING:
        answer = answer.replace(written, meant)
    if answer.startswith("."):
        answer = "0" + answer
    answer = _SQRT.sub(r"\\sqrt{\1}", answer)
    if answer == "0.5":
        return "\\frac{1}{2}"
    fraction = _SLASH.fullmatch(answer)
    return f"\\frac{{{fraction.group(1)}}}{{{fraction.group(2)}}}" if fraction else answer


def _tuple_values(text: str) -> list[float] | None:
    if len(text) > 300 or (text[0], text[-1]) not in (("(", ")"), ("[", "]")) or "," not in text:
        return None
    values = [evaluate_prefix(part) for part in text[1:-1].split(",")]
    return None if None in values else [round(value, 2) for value in values if value is not None]
