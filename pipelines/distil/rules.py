r"""What an answer must be like: a rule each, a function of a sample and its knobs that says why the sample fails.

A filter's config names those that apply, in their order. Each looks at one answer; what compares questions with each
other and with benchmarks is in pipelines.distil.likeness. To add one: a name in pipelines.distil.config, a function.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from evaluation.answers.equality import same_answer
from evaluation.answers.reading import read_option
from evaluation.answers.text import balanced, is_looping, sentences, split_think
from pipelines.distil.config import FilterConfig
from pipelines.distil.records import Fault, Question

_BOX = re.compile(r"\\boxed\s{0,3}\{")
_MARKUP = re.compile(r"<image>|<\|\w+\|>|<(?:fake_token_around_image|end_of_utterance)>|</?s>")
_LETTER = re.compile(r"[^\W\d_]")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_RUN = re.compile(r"(\S{1,8}?)\1{40}")
# Letters of the scripts' own blocks; Greek belongs to formulas in any language.
_GREEK = "\u0370-\u03ff\u1f00-\u1fff"
_SCRIPTS = {
    "latin": re.compile(rf"[A-Za-z\u00aa-\u024f\u1e00-\u1eff\u2c60-\u2c7f\ua720-\ua7ff\uff21-\uff5a{_GREEK}]"),
    "han": re.compile(rf"[\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff{_GREEK}]"),
    "cyrillic": re.compile(rf"[\u0400-\u052f{_GREEK}]"),
}


@dataclass(frozen=True)
class Sample:
    """One answer to a question: the `number`-th that was drawn."""

    question: Question
    number: int
    response: str
    finish_reason: str


def first_fault(sample: Sample, config: FilterConfig) -> tuple[str, Fault] | None:
    """The first of the config's rules that a sample fails, and why."""
    for name in config.of_answers:
        if (fault := RULES[name](sample, config)) is not None:
            return name, fault
    return None


def is_teachable(response: str) -> bool:
    """Whether a model can be trained on it: there are words, and no markup that a tokenizer takes for its own."""
    return bool(response.strip()) and not _MARKUP.search(response)


def whole(sample: Sample, config: FilterConfig) -> Fault | None:
    """There is an answer without a chat's markup in it, and its generator ended it."""
    if not sample.response.strip():
        return Fault("empty")
    if found := _MARKUP.search(sample.response):
        return Fault("markup", found.group())
    return Fault("cut", sample.response[-80:]) if sample.finish_reason == "length" else None


def well_formed(sample: Sample, config: FilterConfig) -> Fault | None:
    r"""`<think>...</think> ... \boxed{...}` (section 4.1): each mark once, in this order, with something in it."""
    text = sample.response
    for mark in ("<think>", "</think>"):
        if (count := text.count(mark)) != 1:
            return Fault(f"{'several' if count else 'no'} {mark}", f"{count} of {mark}")
    boxes = list(_BOX.finditer(text))
    if len(boxes) != 1:
        return Fault(f"{'several' if boxes else 'no'} \\boxed", f"{len(boxes)} boxes")
    opened, closed, box = text.index("<think>"), text.index("</think>"), boxes[0]
    if text[:opened].strip() or not opened < closed < box.start():
        return Fault("order", "expected <think>, </think>, \\boxed, and nothing in front")
    if not text[opened + len("<think>") : closed].strip():
        return Fault("no thoughts")
    inside = balanced(text, box.end())
    return None if inside and inside.strip() else Fault("broken \\boxed", text[box.start() :][:80])


def of_length(sample: Sample, config: FilterConfig) -> Fault | None:
    """The thoughts are neither too short to be a rationale nor too long to be learnt from."""
    length = len(split_think(sample.response)[0] or sample.response)
    if length < config.length.least:
        return Fault("short", f"{length} characters")
    return Fault("long", f"{length} characters") if length > config.length.most else None


def in_script(sample: Sample, config: FilterConfig) -> Fault | None:
    """Hardly a letter is of another script than the set's."""
    knobs, letters = config.language, _LETTER.findall(sample.response)
    own = sum(_SCRIPTS[knobs.script].match(letter) is not None for letter in letters)
    if own >= knobs.least * len(letters):
        return None
    return Fault("other script", f"{own} of {len(letters)} letters are {knobs.script}")


def without_loops(sample: Sample, config: FilterConfig) -> Fault | None:
    """The answer does not go round: no string again and again, no closing sentence thrice, few runs of words twice."""
    knobs, text = config.repetition, sample.response
    if found := _RUN.search(text):
        return Fault("loop", f"{found.group(1)!r} again and again")
    if is_looping(parts := sentences(text)):
        return Fault("loop", parts[-1][:80])
    words = _TOKEN.findall(text)
    count = len(words) - knobs.run + 1
    if count < knobs.least:
        return None
    repeated = 1.0 - len({tuple(words[at : at + knobs.run]) for at in range(count)}) / count
    return Fault("loop", f"{repeated:.0%} of its runs stand in it before") if repeated > knobs.most else None


def correct(sample: Sample, config: FilterConfig) -> Fault | None:
    r"""The boxed answer means the gold one: as typed values, or as the option that it names; never as equal text."""
    answer = _boxed(split_think(sample.response)[1])
    if answer is None:
        return Fault("no answer")
    options, gold = sample.question.options, sample.question.answer.strip()
    if not gold:
        return Fault("no gold answer")
    letter = gold if gold in options else _letter_of(gold, options)
    if letter:
        is_right = read_option(answer, options).letter == letter
    else:
        is_right = same_answer(gold, answer, symbolic=config.correct.symbolic)
    return None if is_right else Fault("wrong", f"{answer[:60]!r}, the answer is {gold[:60]!r}")


def _boxed(text: str) -> str | None:
    found = list(_BOX.finditer(text))
    return balanced(text, found[-1].end()) if found else None


def _letter_of(gold: str, options: Mapping[str, str]) -> str | None:
    """The only option whose text is the gold answer."""
    found = [letter for letter, text in options.items() if same_answer(gold, text, symbolic=False)]
    return found[0] if len(found) == 1 else None


RULES: Mapping[str, Callable[[Sample, FilterConfig], Fault | None]] = {
    "whole": whole,
    "format": well_formed,
    "length": of_length,
    "language": in_script,
    "repetition": without_loops,
    "correct": correct,
}
