"""Reads the chosen option out of a response: a letter, a set of letters, or the text of an option.

The rules run from the explicit to the implied, and the first that fires decides: a bare letter, a box, a closing phrase
("the answer is (B)"), one letter in parentheses, the text of exactly one option, a yes or no. Nothing is guessed.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from evaluation.answers.text import marked_answers, own_answer, plain, sentences, without_examples, without_refuted

_TAIL = 4_000
_LIKENESS = 0.88
_LIKENESS_LENGTH = 80
_BARE = re.compile(r"[\s\"'“”*]{0,5}[(\[（【]?\s?([A-Z])\s?[)\]）】]?\s{0,3}[.:,;、]?[\s\"'*]{0,5}(?:</s>)?")
_LEADING = re.compile(r"\s{0,3}(?:[(\[（]\s?([A-Z])\s?[)\]）]|([A-Z])\s?(?:[.:)）、]|\n|$)(?!\w))")
_WHO = r"(?:answers?|options?|choices?|letters?|答案|选项|选择|结论)"
_VERB = (
    r"(?:\s{0,3}(?:is|are|was|be|becomes|would be|should be|will be|must be|seems to be|appears to be|=|:|：|是|为|"
    r"应为|应该是|选))"
)
_FILLER = (
    r"(?:\s{0,3}(?:therefore|thus|indeed|likely|most likely|probably|closest to|option|choice|letter|answer|labell?ed|"
    r"given by|the|as|:|：|选项|is|>))"
)
_LETTER = r"[\s\"'“*$]{0,4}[(\[（【{]?\s?([A-Z])(?![A-Za-z'’]|\s?[=+<>]|\s[a-z])"
_LETTER_LOOSE = r"[\s\"'“*$]{0,4}[(\[（【{]\s?([A-Z])\s?[)\]）】}]"
_PHRASES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?i:{_WHO})(?i:[^.\n。]{{0,40}}?{_VERB}){{1,2}}(?i:{_FILLER}){{0,3}}(?:{_LETTER_LOOSE}|{_LETTER})",
        rf"(?i:{_WHO})(?i:{_FILLER}){{0,2}}(?:{_LETTER_LOOSE}|{_LETTER})",
        rf"(?i:choose|selects?|pick|go with|corresponds? to|选择?)(?i:{_FILLER}){{0,3}}(?:{_LETTER_LOOSE}|{_LETTER})",
        rf"(?:{_LETTER_LOOSE}|\b([A-Z])\b)[^.\n。]{{0,80}}?\s(?i:is|as)\s(?i:the|therefore the)?\s?"
        rf"(?i:correct|right|best|final)\s(?i:answer|option|choice)",
    )
)
_PARENTHESISED = re.compile(r"[(（\[]\s?([A-Z])\s?[)）\]]")
_WORDS = re.compile(r"[^\W\d_]+")
_DECIMAL = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+")
_GLUED = re.compile(r"\d\s?([A-Z])")
_LABELLED = re.compile(r"\s{0,3}\(?[A-Z]{1,2}[).:]\s")
_STANDING = re.compile(r"(?<![A-Za-z0-9'’(])([A-Z])(?![A-Za-z0-9'’)])")


def bare_letter(text: str, letters: Sequence[str]) -> str | None:
    """The letter when the text is nothing else: `B`, `(B)`, `B.`."""
    match = _BARE.fullmatch(text[:40]) if len(text) <= 40 else None
    return match.group(1) if match and match.group(1) in letters else None


def leading_letter(text: str, letters: Sequence[str]) -> str | None:
    """The letter that a text opens with as a label: `B. text`, `(B) text`."""
    match = _LEADING.match(text)
    letter = (match.group(1) or match.group(2)) if match else None
    return letter if letter in letters else None


def phrase_letter(text: str, letters: Sequence[str]) -> str | None:
    """The letter of the last closing phrase, such as `the correct answer is (B)`."""
    best: tuple[int, str] | None = None
    for pattern in _PHRASES:
        for match in pattern.finditer(text[-_TAIL:]):
            letter = next(group for group in match.groups() if group)
            if letter in letters and (best is None or match.end() > best[0]):
                best = (match.end(), letter)
    return best[1] if best else None


def option_by_text(text: str, options: Mapping[str, str]) -> str | None:
    """The option whose text is the whole answer, or the only one that occurs in it as whole words."""
    answer = _fold(text)
    folded = {letter: _fold(option) for letter, option in options.items()}
    exact = [letter for letter, option in folded.items() if option and option == answer]
    if len(exact) == 1:
        return exact[0]
    # One letter as an option's text is an article or a label in a sentence; digits are not.
    worded = {letter: option for letter, option in folded.items() if len(option) > 1 or option.isdigit()}
    present = [letter for letter, option in worded.items() if _contains(answer, option)]
    # "quarter" inside "quarter past" is no mention of its own.
    longest = [a for a in present if not any(a != b and _contains(folded[b], folded[a]) for b in present)]
    return longest[0] if len(longest) == 1 else None


def option_by_value(text: str, options: Mapping[str, str]) -> str | None:
    """The option whose number is the last one in the text (`4.40 meters` is the option `4.40m`)."""
    leading = {letter: _DECIMAL.match(option.strip().lstrip("$£€¥ ")) for letter, option in options.items()}
    values = {letter: _decimal(match.group()) for letter, match in leading.items() if match}
    if len(values) < len(options) or len(set(values.values())) < len(values):
        return None
    numbers = _DECIMAL.findall(text)
    found = [letter for letter, value in values.items() if numbers and value == _decimal(numbers[-1])]
    return found[0] if len(found) == 1 else None


def option_by_words(text: str, options: Mapping[str, str]) -> str | None:
    """The only option of several words all of whose words stand in the text, in any order or number."""
    present = {_stem(word) for word in _WORDS.findall(text.casefold())}
    worded = {letter: option.casefold() for letter, option in options.items() if "\\" not in option}
    wanted = {letter: {_stem(word) for word in _WORDS.findall(option)} for letter, option in worded.items()}
    found = [letter for letter, words in wanted.items() if len(words) > 1 and words <= present]
    found = [a for a in found if not any(wanted[a] < wanted[b] for b in found)]
    return found[0] if len(found) == 1 else None


def option_by_likeness(text: str, options: Mapping[str, str]) -> str | None:
    """The only option that a short answer nearly spells (`Capacitor` is the option `Capacitator`)."""
    answer = _fold(text)
    if not 4 <= len(answer) <= _LIKENESS_LENGTH or "\\" in answer or any(sign.isdigit() for sign in answer):
        return None
    folded = {letter: _fold(option) for letter, option in options.items()}
    found = [
        letter
        for letter, option in folded.items()
        if option and len(option) <= _LIKENESS_LENGTH and SequenceMatcher(None, answer, option).ratio() >= _LIKENESS
    ]
    return found[0] if len(found) == 1 else None


def choose(response: str, options: Mapping[str, str], commits: bool = False) -> tuple[str, str] | None:
    """(letter, rule) of the option that `response` settles on; None when it settles on none.

    Args:
        response: the answer part.
        options: letter -> text; the texts may equal the letters.
        commits: read as an extraction model does that must name an option: the last closing phrase counts even where
            the model had gone on to another question, and the last of a mere list of options is taken.
    """
    letters = list(options)
    for inside, rule in marked_answers(response):
        if letter := _inside(plain(inside), options):
            return letter, rule
    text = own_answer(plain(response)[-_TAIL * 3 :])
    if letter := bare_letter(text, letters):
        return letter, "bare_letter"
    if letter := _exact(text, options):
        return letter, "option_text"
    lines = [line for line in text.split("\n") if line.strip()]
    if not commits and len(lines) > 1 and all(_LABELLED.match(line) for line in lines):
        return None  # a list of labelled options and nothing else repeats the choices and settles on none
    text = without_refuted(text)
    whole = without_refuted(without_examples(plain(response)[-_TAIL * 3 :])) if commits else text
    if letter := phrase_letter(whole, letters) or phrase_letter(text, letters):
        return letter, "phrase"
    return _implied(text, options)


def unbraced(text: str) -> str:
    """The text without space around it, and without the braces around the rest."""
    text = text.strip()
    return text[1:-1].strip() if text.startswith("{") and text.endswith("}") else text


def _inside(text: str, options: Mapping[str, str]) -> str | None:
    letters, text = list(options), unbraced(text)
    return (
        bare_letter(text, letters)
        or bare_letter(text.upper(), letters)
        or _exact(text, options)
        or leading_letter(text, letters)
        or phrase_letter(text, letters)
        or option_by_text(text, options)
        or option_by_value(text, options)
    )


def _exact(text: str, options: Mapping[str, str]) -> str | None:
    answer = _fold(text).replace(" ", "")
    found = [letter for letter, option in options.items() if answer and _fold(option).replace(" ", "") == answer]
    return found[0] if found and len({options[letter] for letter in found}) == 1 else None


def _implied(text: str, options: Mapping[str, str]) -> tuple[str, str] | None:
    letters = list(options)
    marked = {letter for letter in _PARENTHESISED.findall(text) if letter in letters}
    if len(marked) == 1:
        return marked.pop(), "only_marked"
    if not marked and (letter := leading_letter(text, letters)):
        return letter, "leading_letter"
    for part in reversed(sentences(text)[-3:]):
        if letter := option_by_text(part, options):
            return letter, "option_text"
        if len(found := {letter for letter in _PARENTHESISED.findall(part) if letter in letters}) == 1:
            return found.pop(), "last_marked"
        if letter := option_by_value(part, options):
            return letter, "option_value"
        if letter := option_by_words(part, options):
            return letter, "option_words"
    if letter := option_by_text(text[:2_000], options):
        return letter, "option_text"
    if letter := option_by_likeness(text, options):
        return letter, "likeness"
    if (glued := _GLUED.fullmatch(text.strip(" ."))) and glued.group(1) in letters:
        return glued.group(1), "only_letter"
    standing = {letter for letter in _STANDING.findall(text) if letter in letters and letter not in "AI"}
    if len(standing) == 1 and len(text) < 400:
        return standing.pop(), "only_letter"
    return None


def _decimal(text: str) -> float:
    return float(text.replace(",", ""))


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def _fold(text: str) -> str:
    text = text.casefold().replace("\\%", "%")
    for degree in ("^{\\circ}", "^\\circ", " degrees"):
        text = text.replace(degree, "°")
    return re.sub(r"\s+", " ", text).strip(" .\"'`*")


def _contains(text: str, option: str) -> bool:
    position = text.find(option)
    while position >= 0:
        before = text[position - 1] if position else " "
        after = text[position + len(option)] if position + len(option) < len(text) else " "
        glued = (before.isalnum() and option[0].isalnum()) or (after.isalnum() and option[-1].isalnum())
        is_decimal = option[0].isdigit() and before in ".-"
        is_decimal |= after in ".," and text[position + len(option) + 1 :][:1].isdigit()
        if not glued and not is_decimal:
            return True
        position = text.find(option, position + 1)
    return False
