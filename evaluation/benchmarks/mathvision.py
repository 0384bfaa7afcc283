r"""MATH-V: the published rule re-stated, and what a careful reader would say.

The published rule (mathllm/MATH-V, evaluation/evaluate.py and utils.py; arXiv 2402.14804) cuts an answer out of a
response, normalises and compares it. Its defects are kept on purpose: letters are read only in a few fixed positions,
"8 cm" is the text "8cm", "(D) 2 and 3" becomes "d2and3". Differs from the original: values come from
evaluation.answers.arithmetic, never from eval, so that text which only a computer algebra system can read has no value;
an answer of more than 300 characters is compared as text alone.
`semantic` reads the answer part: a chosen option for a question with options, else the closing answer, and compares
options by letter or value and free answers by value.
"""

import re
from functools import partial
from pathlib import Path

from drift.files import read_jsonl
from evaluation.answers.arithmetic import evaluate, evaluate_prefix
from evaluation.answers.equality import same_answer
from evaluation.answers.text import without_thoughts
from evaluation.benchmarks.base import Benchmark, published
from evaluation.data.converters import Conversion, write_converted
from evaluation.data.tsv import Item
from evaluation.judging.prompts import value_protocol
from evaluation.judging.protocols import MATH_V, SEMANTIC, VLMEVALKIT
from evaluation.judging.rules import LONGEST, infer_choice, read_choice, read_free
from evaluation.judging.verdicts import UNMATCHED, Outcome

_LETTERS = "ABCDE"
_PHRASES = ("the final answer is", "the answer is", "the correct answer is", "the answer should be")
_BOX = "oxed{"
# In this order: later entries rely on earlier ones (spaces go first).
_CLEANING = (
    (" ", ""), ("\\,", ""), ("∞", "\\infty"), ("+\\infty", "\\infty"), ("\\\\", "\\"), ("\n", ""),
    ("\\text", ""), ("\\mbox", ""), ("bmatrix", "pmatrix"), ("\\left", ""), ("\\right", ""),
    ("^{\\circ}", ""), ("^\\circ", ""), ("{m}^3", ""), ("m^3", ""), ("{units}", ""), ("units", ""),
    ("{km}", ""), ("km", ""), ("\\!", ""), ("tfrac", "frac"), ("dfrac", "frac"),
    ("\\$", ""), ("$", ""), ("\\%", ""), ("{.", "{0."),
)  # fmt: skip
_SLASH = re.compile(r"(-?\d{1,20})/(-?\d{1,20})")
_SQRT = re.compile(r"\\sqrt([^{])")


def score_mathvision(item: Item, response: str, mode: str) -> Outcome:
    """The verdict of `mode` on one response."""
    if mode == "official":
        answer = extract_published(response)
        if not answer:
            return UNMATCHED
        golds = (item.answer, item.options.get(item.answer, ""))
        return Outcome(any(is_published_equal(gold, answer) for gold in golds), answer[:LONGEST], "published")
    if mode == "vlmevalkit":
        if item.options:
            return infer_choice(response, item.options, item.answer)
        return Outcome(True, response, "equal", response) if is_toolkit_equal(item.answer, response) else UNMATCHED
    text = without_thoughts(response)
    if item.options:
        return read_choice(text, item.options, item.answer, item.question)
    return read_free(text, partial(same_answer, item.answer), item.question)


def extract_published(response: str) -> str:
    """The normalised answer text that the published rule reads; empty only for a response without content."""
    text = _closing_number(_fixed_letter(response.strip()))
    if _BOX not in text:
        text = _after_phrases(text)
    elif text.count(_BOX) > 1:
        text = "\\b" + _BOX + text.rsplit(_BOX, 1)[1]
    answer = _normalise(_boxed(text.lower().replace("{}", "")))
    for form in ("({})", "{{{}}}"):
        for letter in _LETTERS.lower():
            answer = answer.replace(form.format(letter), letter)
    return answer.rstrip(".").lstrip(":").strip()


def is_published_equal(gold: str, answer: str) -> bool:
    """Whether two answers are the same text, or the same value once rounded to two decimals."""
    gold, answer = gold.lower(), answer.lower()
    if not gold.replace(" ", "") or not answer.replace(" ", ""):
        return False
    if gold.strip() == answer.strip():
        return True
    left, right = _tuple_values(gold), _tuple_values(answer)
    if left is not None and right is not None:
        return gold[0] == answer[0] and left == right
    first, second = evaluate_prefix(gold), evaluate_prefix(answer)
    return first is not None and second is not None and round(first, 2) == round(second, 2)


def is_toolkit_equal(gold: str, answer: str) -> bool:
    """Whether VLMEvalKit takes the whole of `answer` for `gold`: as text, or as values within 1e-6."""
    gold, answer = gold.casefold().strip(), answer.casefold().strip()
    if gold == answer:
        return True
    if len(answer) > LONGEST:
        return False
    pairs = ((read(gold), read(answer)) for read in (evaluate, evaluate_prefix))
    return any(a is not None and b is not None and abs(a - b) < 1e-6 for a, b in pairs)


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


def _convert(source: Path, out: Path, questions: str) -> Conversion:
    """`questions` and `images/` of mathllm/MATH-V."""
    rows = [
        {
            "index": record["id"],
            "image": source / record["image"],
            "question": record["question"],
            "choices": str(record["options"]),
            "answer": record["answer"],
            "category": record["subject"],
            "level": str(record["level"]),
        }
        for record in read_jsonl(source / questions, "the repository's data file")
    ]
    return write_converted(source, rows, out)


def _mathvision(name: str, md5: str, rows: int, questions: str) -> Benchmark:
    return published(
        name,
        md5,
        rows=rows,
        facets=("category", "level"),
        rule=score_mathvision,
        protocol=value_protocol(score_mathvision),
        protocols={"official": MATH_V, "vlmevalkit": VLMEVALKIT, "semantic": SEMANTIC},
        unclipped=("official",),
        converter=partial(_convert, questions=questions),
    )


BENCHMARKS = (
    _mathvision("MathVision", "93f6de14f7916e598aa1b7165589831e", 3040, "test.jsonl"),
    _mathvision("MathVision_MINI", "060fe4fa5d868987ce179307bd5f8a33", 304, "testmini.jsonl"),
)
