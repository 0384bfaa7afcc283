"""LogicVista: the set of letters that a response selects must equal the gold set.

The published protocol has a language model extract the letters of every response and then compares sets
(Yijia-Xiao/LogicVista, eval/). `is_match` is that comparison. The rule path from raw text is our extension: the TSV has
no option columns, so the options are read out of the question.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from evaluation.answers.choices import without_choices
from evaluation.answers.reading import read_option
from evaluation.answers.text import (
    is_refusal,
    labelled,
    last_boxed,
    own_answer,
    plain,
    sentences,
    without_refuted,
    without_thoughts,
)
from evaluation.benchmarks.base import published
from evaluation.data.converters import Conversion, read_json, write_converted
from evaluation.data.tsv import Item
from evaluation.judging.prompts import LETTER_EXAMPLES, Protocol, asking, example, read_letters, same_letters
from evaluation.judging.protocols import LOGICVISTA, SEMANTIC, VLMEVALKIT_ALWAYS
from evaluation.judging.verdicts import UNMATCHED, Outcome

_OPTION_LABELS = (re.compile(r"\(\s?([A-Z])\s?\)"), re.compile(r"(?<![A-Za-z(])([A-Z])[.):](?=\s)"))
_NO_INFORMATION = re.compile(
    r"insufficient|can(?:no|')t (?:say|tell|be determined)|impossible to tell|not enough", re.I
)
_RANGE = re.compile(r"\b([A-Z])\s?(?:-|–|to|through)\s?([A-Z])\b")
_SERIES = re.compile(r"\b([A-Z])(?:,\s{0,2}([A-Z]))+(?:,?\s{0,2}(?:and|or)\s([A-Z]))?\b")
_LETTERS_ONLY = re.compile(r"[\s(\[]*[A-Z](?:(?:\s*[,;&/]\s*|\s+|\s*,?\s*(?:and|or)\s+)[A-Z])*[\s)\].]*")
_SEVERAL = re.compile(
    r"(?i:answers?|options?|choices?|proposals?|figures?|shapes?|diagrams?|boxes|select(?:ed)?)[^.\n]{0,40}?[\s(*]"
    r"([A-Z](?:\)?,\s?\(?[A-Z])*\)?,?\s(?:and|&)\s\(?[A-Z])\b"
)
_LETTER = re.compile(r"(?<![A-Za-z])[A-Z](?![A-Za-z])")
# A letter that names an option: neither the article nor the pronoun.
_NAMED = re.compile(r"(?<![A-Za-z])[B-HJ-Z](?![A-Za-z])|\([A-Z]\)")
_LOWER = re.compile(r"\W{0,3}([a-z])\.(?:\s|$)")
_REFUSAL = 300
_DEFAULT = "ABCDEF"


def score_logicvista(item: Item, response: str, mode: str) -> Outcome:
    """The verdict of our letter rules; the published protocol asks a judge instead."""
    text = without_thoughts(response)
    options = dict(item.options) or question_options(item.question)
    found = extract(text, item.question, options)
    is_right = found.extraction is not None and not found.unmatched and is_match(found.extraction, item.answer)
    return replace(found, correct=is_right)


def is_match(extraction: str, gold: str) -> bool:
    """Whether two lists of labels such as `B, D` hold the same set."""
    return _labels(extraction) == _labels(gold)


def question_options(question: str) -> dict[str, str]:
    """Letter -> text of the options that a question spells out or names; A to F when it names none."""
    for pattern in _OPTION_LABELS:
        spelled = labelled(list(pattern.finditer(question)), question, " ,.;\n")
        if len(spelled) > 1 and list(spelled) == [chr(65 + k) for k in range(len(spelled))]:
            return spelled
    for match in _RANGE.finditer(question):
        first, last = ord(match.group(1)), ord(match.group(2))
        if first < last:
            return dict.fromkeys(map(chr, range(first, last + 1)), "")
    if series := _SERIES.search(question):
        return dict.fromkeys(_LETTER.findall(series.group()), "")
    return dict.fromkeys(_DEFAULT, "")


def extract(text: str, question: str, options: Mapping[str, str], *, commits: bool = False) -> Outcome:
    """The labels that the text settles on, joined by ", " and not yet compared."""
    text = without_echo(text, question)
    inside = last_boxed(text)
    answer = own_answer(plain(inside if inside is not None else text)).strip()
    if not answer:
        return UNMATCHED
    if labels := _only_labels(answer, options):
        return Outcome(False, *labels, evidence=answer)
    for part in reversed(sentences(without_refuted(answer))[-3:]):
        if match := list(_SEVERAL.finditer(part)):
            found = sorted(set(_LETTER.findall(match[-1].group(1))))
            if set(found) <= set(options):
                return Outcome(False, ", ".join(found), "several", part)
            break
    reading = read_option(text, options, question, commits=commits)
    if (
        reading.letter is None
        and (commits or not _NAMED.search(answer))
        and (labels := _by_refusal(without_choices(answer, options), options))
    ):
        return Outcome(False, *labels)
    return Outcome(False, reading.said, reading.rule, reading.evidence, reading.conflict, reading.letter is None)


def without_echo(text: str, question: str) -> str:
    """The text without a repetition of the question before the answer, whatever its case and spacing.

    What follows the last `answer:` is the answer of a model that echoes its prompt.
    """
    squeezed = _squeeze(text[: 4 * len(question) + 200])
    if len(question) > 20 and _squeeze(question)[:40] in squeezed[: len(_squeeze(question)) + 80]:
        tail = re.split(r"answer\s?:", text, flags=re.I)[-1]
        is_only_echo = _squeeze(text) in _squeeze(question)
        return tail if tail != text else ("" if is_only_echo else text)
    return text


def _only_labels(answer: str, options: Mapping[str, str]) -> tuple[str, str] | None:
    short = answer.strip(" .\u200b\n")
    if len(short) == 1 and short.upper() in options:
        return short.upper(), "bare_letter"
    if short.isdecimal() and len(short) == 1 and short not in options.values():
        return short, "bare_number"
    if answer == answer.lower() and (lower := _LOWER.match(short)) and lower.group(1).upper() in options:
        return lower.group(1).upper(), "bare_letter"
    if len(answer) <= 80:
        if (span := _RANGE.fullmatch(short.strip("()[]"))) and span.group(1) < span.group(2):
            codes = range(ord(span.group(1)), ord(span.group(2)) + 1)
            return ", ".join(chr(code) for code in codes), "range"
        if _LETTERS_ONLY.fullmatch(answer):
            return ", ".join(sorted(set(_LETTER.findall(answer)))), "letters"
    return None


def _by_refusal(answer: str, options: Mapping[str, str]) -> tuple[str, str] | None:
    """The option that says so, where the answer, or the end of a longer one, says that it can't be told."""
    letters = [letter for letter, option in options.items() if _NO_INFORMATION.search(option)]
    parts = sentences(answer)
    if len(letters) == 1 and any(is_refusal(part) for part in (parts if len(answer) <= _REFUSAL else parts[-1:])):
        return letters[0], "refusal"
    return None


def _labels(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", text.casefold()))


def _squeeze(text: str) -> str:
    return re.sub(r"\W+", "", text.casefold())


def _convert(source: Path, out: Path) -> Conversion:
    """`dataset.json` and `images/` of Yijia-Xiao/LogicVista: index = the item's key, skill = its list.

    An item without a question and an answer, v1_382 of 448, is left out: the published table has 447.
    """
    rows = [
        {
            "index": key,
            "image": source / "images" / record["imagename"],
            "question": record["question"],
            "answer": record["answer"],
            "skill": str(record["skill"]),
        }
        for key, record in read_json(source / "dataset.json").items()
        if record["question"].strip() and record["answer"].strip()
    ]
    return write_converted(source, rows, out)


_ASK = asking(
    "The answer is one or several option letters. Reply with all chosen letters and nothing else, `AC` for two of "
    "them. If no letter is named, work out from the options which ones the response means; reply Z if none.",
    *LETTER_EXAMPLES,
    example("Which shapes are rotations of the first?", "Shapes A and D match after turning; B is mirrored.", "AD"),
    example("Which box comes next? Select from A to D.", "Following the pattern, the next one is C.", "C"),
)
BENCHMARKS = (
    published(
        "LogicVista",
        "41c5d33adf33765c399e0e6ae588c061",
        rows=447,
        facets=("skill",),
        rule=score_logicvista,
        protocol=Protocol(_ASK, read_letters, same_letters),
        protocols={"official": LOGICVISTA, "vlmevalkit": VLMEVALKIT_ALWAYS, "semantic": SEMANTIC},
        converter=_convert,
    ),
)
