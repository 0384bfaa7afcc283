"""The one reader of multiple-choice answers: which option a response settles on, by which words, or that it can't tell.

Rules run from the explicit to the implied, and the first that fires decides: a mark, a letter alone, a label, a stated
letter, a letter alone on the last line, a stated value that means one option, the only letter in parentheses, the only
option that is mentioned. What rules get right in less than 95% of their verdicts (benchmarks/bench_reader.py) is left
unmatched, for a judge; `commits` reads on, as a published extraction does that must name an option.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from evaluation.answers import letters as found_by
from evaluation.answers.choices import LISTED, NEGATED, is_concluded, is_list, without_choices
from evaluation.answers.counting import repeats
from evaluation.answers.equality import same_answer
from evaluation.answers.final import Closing, closing
from evaluation.answers.guesses import guesses
from evaluation.answers.marks import Mark, is_contradicting, marks
from evaluation.answers.text import (
    concludes,
    is_looping,
    is_refusal,
    is_refuted,
    own_answer,
    plain,
    sentences,
    without_examples,
    without_refuted,
)
from evaluation.answers.typed import Quantity, normal, typed
from evaluation.answers.yesno import stated_yes_or_no

_LONGEST = 200
_TAIL = 12_000
_CONTRAST = re.compile(r",? (?:but|while|whereas|although|however)\b|;")
_COUNTED = re.compile(r"\s{0,3}\d{1,2}[.)]\s")


@dataclass(frozen=True)
class Reading:
    """What a response was taken to say.

    Attributes:
        letter: the option chosen, None for none of them.
        said: the answer as it stands in the response, None for nothing.
        rule: what read it.
        evidence: the words it went by.
        conflict: two marks, or a label and the text after it, name different options.
        unmatched: no rule that is good enough can tell.
    """

    letter: str | None
    said: str | None
    rule: str
    evidence: str = ""
    conflict: bool = False
    unmatched: bool = False


NOTHING = Reading(None, None, "unmatched", unmatched=True)


def read_option(text: str, options: Mapping[str, str], question: str = "", *, commits: bool = False) -> Reading:
    """The option that the answer part `text` of a response settles on.

    Args:
        text: the answer part.
        options: letter -> text; the texts may be empty, or equal the letters.
        question: tells the sentence that answers it.
        commits: read as an extraction model does that must name an option, by weaker rules and to the end of the text.
    """
    if found := marks(text):
        return _from_marks(text, found, options)
    own = own_answer(plain(text)[-_TAIL:])
    rest = without_choices(own, options)
    if not commits and len(options) > 1 and not re.search(r"\w", rest):
        return NOTHING  # the choices repeated, and none of them chosen
    own = rest if re.search(r"\w", rest) else own
    for reading in _explicit(own, options):
        return reading
    is_yes_no = {option.strip().casefold() for option in options.values()} == {"yes", "no"}
    if not commits and is_list(own, options):
        return NOTHING  # the choices repeated, and none of them chosen
    said = without_refuted(own)
    whole = without_refuted(without_examples(plain(text)[-_TAIL:])) if commits else said
    for reading in _stated(whole if commits else said, own, options):
        return reading if commits else replace(reading, conflict=_is_taken_back(reading, own, options))
    for reading in _yes_or_no(own, options):
        return reading
    for reading in _restated(own, options, question):
        return reading
    for reading in _only_marked(said, options):
        return reading
    value = (
        None
        if sum(_COUNTED.match(line) is not None for line in own.split("\n")) > 1
        else closing(without_choices(text, options))
    )
    if value and (letter := _by_value(value.text, options)):
        return Reading(letter, letter, f"{value.rule}_value", value.evidence)
    if value and value.rule == "phrase" and (labelled := found_by.label(value.text, list(options))):
        return Reading(labelled[0], labelled[0], "phrase", value.evidence)
    if not (is_yes_no or _is_value_beside(value, options)):
        for reading in _only_mentioned(said, options):
            return reading
    if commits:
        return (
            NOTHING
            if is_yes_no
            else next((Reading(k, k, rule, words[:_LONGEST]) for k, rule, words in guesses(said, options)), NOTHING)
        )
    return _none_of_them(value, options)


def by_meaning(answer: str, options: Mapping[str, str], *, symbolic: bool = True) -> str | None:
    """The only option that means the same as `answer`."""
    found = [letter for letter, option in options.items() if same_answer(option, answer, symbolic=symbolic)]
    return found[0] if len(found) == 1 else None


def _from_marks(text: str, found: list[Mark], options: Mapping[str, str]) -> Reading:
    mark = found[0]
    inside = found_by.unbraced(plain(mark.text))
    reading = Reading(None, mark.text[:_LONGEST], mark.rule, mark.evidence[:_LONGEST])
    letter, follows = _lettered(inside, options)
    after = plain(text[mark.end :]) if mark.rule == "boxed" else ""
    if letter:
        value = _by_value(follows, options, symbolic=False) if follows else _value_after(after, options)
        others = [_lettered(found_by.unbraced(plain(other.text)), options)[0] for other in found[1:]]
        is_split = (value or letter) != letter or any(other not in (None, letter) for other in others)
        return replace(reading, letter=letter, said=letter, conflict=is_split)
    letter = _by_value(inside, options)
    if letter is None and not any("\\" in option for option in options.values()):
        letter = found_by.option_by_text(inside, options)
    names = list(options)
    stated = found_by.stated_letter(after, names) or found_by.stated_letter(plain(text[: mark.start]), names)
    if letter or stated:
        chosen = letter or (stated[0] if stated else None)
        is_split = bool(stated and stated[0] != letter)
        return replace(reading, letter=chosen, said=chosen, conflict=is_split)
    is_value = isinstance(typed(normal(mark.text)), Quantity)
    return replace(reading, unmatched=not is_value, conflict=is_contradicting(found))


def _lettered(text: str, options: Mapping[str, str]) -> tuple[str | None, str]:
    """(letter, what follows it) of a short marked text."""
    names = list(options)
    for spelled in (text, text.upper()):
        if letter := found_by.bare_letter(spelled, names):
            return letter, ""
    if found_by.option_exact(text, options):
        return None, ""
    if labelled := found_by.label(text, names):
        return labelled
    stated = found_by.stated_letter(text, names) or found_by.named_letter(text, names)
    return (stated[0], "") if stated else (None, "")


def _value_after(text: str, options: Mapping[str, str]) -> str | None:
    """The option that a statement after the mark means by its value."""
    value = closing(text) if text.strip() else None
    return _by_value(value.text, options, symbolic=False) if value and value.rule == "phrase" else None


def _explicit(own: str, options: Mapping[str, str]) -> Iterator[Reading]:
    """A letter alone, an option's text alone, or one label with its text."""
    names = list(options)
    if letter := found_by.bare_letter(own, names):
        yield Reading(letter, letter, "bare_letter", own.strip())
    head, opened, _ = own.partition(f"({names[0]})")
    if opened and is_list(own, options) and (letter := found_by.bare_letter(head.strip(), names)):
        yield Reading(letter, letter, "first_letter", head.strip())  # a letter, and then the choices repeated
    if letter := found_by.option_exact(own, options):
        yield Reading(letter, letter, "option_exact", own[:_LONGEST])
    if "\n" not in own.strip() and not is_refuted(own) and (labelled := found_by.label(own, names)):
        letter, follows = labelled
        if said := found_by.stated_letter(follows, names):
            yield Reading(said[0], said[0], "phrase", said[1][:_LONGEST])
        others = set(found_by.marked_letters(follows, names)) - {letter}
        own_text = options[letter].strip()
        if own_text and found_by.fold(follows).startswith(found_by.fold(own_text)):
            others = set()
        if not others and len(follows) <= max(80, 2 * len(own_text)):
            value = _by_value(follows, options, symbolic=False)
            chosen = _for_answer(own, letter, value or _leading_word(follows, options))
            yield Reading(chosen, chosen, "label", own[:_LONGEST], conflict=(value or letter) != letter)


def _stated(said: str, own: str, options: Mapping[str, str]) -> Iterator[Reading]:
    names = list(options)
    if stated := found_by.stated_letter(said, names) or found_by.stated_letter(own, names):
        yield Reading(stated[0], stated[0], "phrase", stated[1][:_LONGEST])
    lines = [line for line in own.split("\n") if line.strip()]
    if first := _opening(lines, options):
        yield first
    if lines and (letter := found_by.bare_letter(lines[-1].strip(), names)):
        yield Reading(letter, letter, "last_letter", lines[-1].strip())
    parts = sentences(own)
    for part in (*parts[-1:], *parts[:1]):
        if (letter := found_by.concluded_letter(part, names)) and not NEGATED.search(part):
            yield Reading(letter, letter, "concluded", part[:_LONGEST])
    last = parts[-1] if parts else ""
    inside = found_by.marked_letters(last, names)
    if is_concluded(last, names):
        yield Reading(inside[0], inside[0], "concluded", last[:_LONGEST])
    is_listing = sum(LISTED.match(line) is not None for line in lines) > 1
    if lines and (labelled := found_by.label(lines[-1], names)) and not is_listing:
        letter, follows = labelled
        if options[letter] and found_by.fold(follows.strip("().")) == found_by.fold(options[letter]).rstrip("."):
            yield Reading(letter, letter, "last_label", lines[-1][:_LONGEST])
    marked = found_by.marked_letters(said, names)
    if (named := found_by.named_letter(said, names)) and set(marked) <= {named[0]}:
        yield Reading(named[0], named[0], "named", named[1][:_LONGEST])


def _opening(lines: list[str], options: Mapping[str, str]) -> Reading | None:
    """The letter that a text opens with, on a line of its own or as the only label of all its lines."""
    names = list(options)
    if not lines:
        return None
    if (letter := found_by.bare_letter(lines[0].strip(), names)) and not found_by.bare_letter(lines[-1].strip(), names):
        return Reading(letter, letter, "first_letter", lines[0].strip())
    labels = [labelled for line in lines if (labelled := found_by.label(line, names))]
    if (
        len(labels) == 1
        and (opening := found_by.label(lines[0], names))
        and LISTED.match(lines[0])
        and not is_refuted(lines[0])
    ):
        others = set(found_by.marked_letters(opening[1], names)) - {opening[0]}
        if not others:
            chosen = _for_answer(lines[0], opening[0], _leading_word(opening[1], options))
            return Reading(chosen, chosen, "first_label", lines[0][:_LONGEST])
    return None


def _leading_word(text: str, options: Mapping[str, str]) -> str | None:
    """The option Yes or No whose word the text opens with."""
    by_text = {option.strip().casefold(): letter for letter, option in options.items()}
    word = re.match(r"\W{0,3}(yes|no)\b", text, re.I) if set(by_text) == {"yes", "no"} else None
    return by_text[word.group(1).casefold()] if word else None


def _for_answer(text: str, letter: str, meant: str | None) -> str:
    """The letter, or the option that is meant where an `A:` before it stands for the word answer."""
    return meant if meant and letter == "A" and re.match(r"\W{0,3}A\s?[:–-]", text) else letter


def _is_taken_back(reading: Reading, own: str, options: Mapping[str, str]) -> bool:
    """Whether the last sentence names one option, another than the one that was stated before."""
    parts = sentences(own)
    last = found_by.marked_letters(parts[-1], list(options)) if parts else []
    is_negated = NEGATED.search(parts[-1]) if parts and not concludes(parts[-1]) else None
    return len(parts) > 1 and len(last) == 1 and last[0] != reading.letter and not is_negated


def _restated(own: str, options: Mapping[str, str], question: str) -> Iterator[Reading]:
    """The only option that the sentence names which repeats the question, beside what the question names itself.

    Of a comparison it is the option before `than`.
    """
    parts = sentences(own)[:2]
    for part in parts:
        if not question or not repeats(part, question) or NEGATED.search(part):
            continue
        asked = question.partition("Choices:")[0]
        first, than, _ = part.partition(" than ")
        known = () if than else found_by.options_mentioned(asked, options)
        named = [k for k in found_by.options_mentioned(first, options) if k not in known]
        if len(named) == 1:
            yield Reading(named[0], named[0], "restated", part[:_LONGEST])


def _yes_or_no(own: str, options: Mapping[str, str]) -> Iterator[Reading]:
    """The option Yes or No that the text opens with or states."""
    by_text = {option.strip().casefold().rstrip("."): letter for letter, option in options.items()}
    if set(by_text) == {"yes", "no"} and (word := stated_yes_or_no(own)):
        yield Reading(by_text[word.casefold()], by_text[word.casefold()], "yes_no", word)


def _by_value(text: str, options: Mapping[str, str], *, symbolic: bool = True) -> str | None:
    """The only option that the text spells or means."""
    if not text.strip() or not any(options.values()):
        return None
    exact = found_by.option_exact(plain(text), options)
    return exact or by_meaning(text, options, symbolic=symbolic) or found_by.option_by_likeness(text, options)


def _only_marked(said: str, options: Mapping[str, str]) -> Iterator[Reading]:
    """The only letter in parentheses."""
    marked = found_by.marked_letters(said, list(options))
    if len(marked) == 1 and not is_refuted(said):
        yield Reading(marked[0], marked[0], "only_marked", f"({marked[0]})")


def _only_mentioned(said: str, options: Mapping[str, str]) -> Iterator[Reading]:
    """The only option that is mentioned, in a text that refuses nothing, runs in no loop, and names no letter."""
    parts = sentences(said)
    if not parts or is_looping(parts) or found_by.marked_letters(said, list(options)):
        return
    everywhere = found_by.options_mentioned(said[:2_000], options)
    if len(everywhere) == 1 and not any(is_refusal(part) for part in parts):
        clauses = [clause for part in parts for clause in _CONTRAST.split(part)]
        place = next((part for part in reversed(clauses) if found_by.options_mentioned(part, options)), parts[-1])
        if not NEGATED.search(found_by.fold(place).replace(found_by.fold(options[everywhere[0]]), " ")):
            yield Reading(everywhere[0], everywhere[0], "only_option", place[:_LONGEST])


def _none_of_them(value: Closing | None, options: Mapping[str, str]) -> Reading:
    """A stated number that is no option is an answer, and wrong; anything else is open."""
    if value is None:
        return NOTHING
    is_value = value.rule in ("phrase", "whole") and _is_value_beside(value, options)
    return Reading(None, value.text[:_LONGEST], "no_option", value.evidence, unmatched=not is_value)


def _is_value_beside(value: Closing | None, options: Mapping[str, str]) -> bool:
    """Whether a number was come to and all options are numbers."""
    texts = [value.text, *options.values()] if value else [""]
    return all(isinstance(typed(normal(text)), Quantity) for text in texts)
