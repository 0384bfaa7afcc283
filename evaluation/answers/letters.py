"""Option letters and option texts in a response, by how explicit they are. No benchmark is named here."""

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

_TAIL = 4_000
_LIKENESS = 0.88
_LIKENESS_LENGTH = 80
# \x93 and \x94 are quotes of a text that was read in the wrong encoding.
_BARE = re.compile(
    r"[\s\"'“”‘’\x93*>#_-]{0,6}[(\[（【]?\s?([A-Z])\s?[)\]）】]?\s{0,3}[.:,;、。!]?[\s\"'“”’\x94*_]{0,5}"
)
_LABEL = re.compile(
    r"[\s\"'“*>-]{0,5}(?:[(\[（【]\s?([A-Z])\s?[)\]）】]|([A-Z])(?=\s?[.:)）、,(=–—-]|\s?\n))[\s.:)）、,=–—*-]{0,5}"
)
_WHO = r"(?:(?<!other\s)(?:answers?|ans|options?|choices?|letters?|solution|答案|选项|选择|结论))"
_VERB = (
    r"(?:\s{0,3}(?:is|are|was|be|becomes|would be|should be|will be|must be|has to be|seems to be|appears to be|=|:|：|"
    r"是|为|应为|应该是|选|[-–—]{1,2}|→|⇒|=>))"
)
_FILLER = (
    r"(?:[\s\"'*(]{0,3}(?:therefore|thus|indeed|likely|most likely|probably|clearly|closest to|option|choice|letter|"
    r"answer|labell?ed|given by|the|as|:|：|选项|is|>|：))"
)
_NO_LIST = r"(?![)\]）】}\"'*]{0,2}\s{0,3}(?:[,/&、]|and\b|or\b|和|或)\s{0,3}(?:and |or )?[(\[（]?[A-Z]\b(?!['’]))"
_LETTER = rf"[\s\"'“*$_]{{0,6}}[(\[（【{{]?\s?([A-Z])(?![A-Za-z'’_]|\s?[=+<>≠]|\s[a-z]|-\w){_NO_LIST}"
_LOOSE = rf"[\s\"'“*$_]{{0,6}}[(\[（【{{]\s?([A-Z])\s?[)\]）】}}]{_NO_LIST}"
_RIGHT = r"angled?|triangle|side|hand|half|end|circular|prism|isosceles|trapez\w*|of|or|part|column"  # no verdict
_STATED = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?i:{_WHO})(?i:[^.\n。]{{0,40}}?{_VERB}){{1,2}}(?i:{_FILLER}){{0,3}}(?:{_LOOSE}|{_LETTER})",
        rf"(?i:\banswer|\bans|答案)(?i:{_FILLER}){{0,2}}(?:{_LOOSE}|{_LETTER})",
        rf"(?i:choose|chose|selects?|selected|pick(?:ed)?|go(?:ing)? with|corresponds? to|matches|故?选择?)"
        rf"(?i:{_FILLER}){{0,3}}(?:{_LOOSE}|{_LETTER})",
        rf"(?:{_LOOSE}|\b([A-Z])\b)[^.\n。]{{0,80}}?\s(?i:is|as|seems|looks)\s(?i:the |therefore the |my |our )?\s?"
        rf"(?i:correct|right(?!\s?-?(?:{_RIGHT})|-)|best|final|answer|choice)\b",
        rf"\b(?i:is|be)\s(?i:option|choice)\s{{1,2}}(?:{_LOOSE}|{_LETTER})",
        rf"(?:\b([A-Z])|{_LOOSE})\s?(?:是|为)?正确",
        rf"(?:所以|因此|故|因而)[^。\n]{{0,30}}?(?:是|为|选)\s?(?:选项)?(?:{_LOOSE}|([A-Z])(?=\s?[（(。.，,]|\s?$|\s?\n))",
    )
)  # fmt: skip
_NAMED = re.compile(rf"(?i:{_WHO})(?i:{_FILLER}){{0,2}}(?:{_LOOSE}|{_LETTER})")
_CONCLUDED = re.compile(
    r"(?i:(?:^|\b)(?:so|thus|therefore|hence|it'?s|it is|that'?s|this is|must be|i (?:say|think|believe|guess)|因此"
    r"|所以|故|选)|∴|→|⇒|=>)[\s,:：*(]{0,4}(?i:it'?s |it is |it must be |option |choice |选项)?"
    r"[\s*(\[$\"]{0,3}([A-Z])[)\]*$\"]{0,3}\s?[.!。]?\s*$"
)
_PARENTHESISED = re.compile(r"[(（\[]\s?([A-Z])\s?[)）\]]")
_WORDS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_DECIMAL = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+")
_NUMBERED = re.compile(r"\d{1,2}[.)]?\s?\(?([A-Z])\)?\.?")  # `3B`, `1. B`
_IS_LETTER = re.compile(
    r"\b(?:is|be)\s{1,2}(?:the )?(?:[a-z]{2,12} )?[(\[\"]?([A-Z])[)\]\"]?"
    r"(?:[.!]?\s*$|,\s(?:an?|the|which|as|since|because)\s)"
)
_ENDING = re.compile(r"(?<=\w{3})(?:es|ed|ing|s|e)$")
_SUBJECT = frozenset(("it", "they", "will", "would", "also", "the", "a", "an"))
_BEFORE_UNIT = re.compile(r"(?<=\d)\s(?=(?:[ckm]?m[²³]?|k?g|ml|l|%|°)(?!\w))")
_STANDING = re.compile(r"(?<![A-Za-z0-9'’(])([A-Z])(?![A-Za-z0-9'’)])")


def bare_letter(text: str, letters: Sequence[str]) -> str | None:
    """The letter when the text is nothing else: `B`, `(B)`, `B.`."""
    match = (_BARE.fullmatch(text) or _NUMBERED.fullmatch(text.strip())) if len(text) <= 40 else None
    return match.group(1) if match and match.group(1) in letters else None


def label(text: str, letters: Sequence[str]) -> tuple[str, str] | None:
    """(letter, what follows) of a text that opens with a label: `B. text`, `(B) text`, `B: text`."""
    match = _LABEL.match(text)
    letter = (match.group(1) or match.group(2)) if match else None
    return (letter, text[match.end() :].strip()) if match and letter and letter in letters else None


def stated_letter(text: str, letters: Sequence[str]) -> tuple[str, str] | None:
    """(letter, words) of the last statement of an answer, such as `the correct answer is (B)`."""
    return _last(_STATED, text[-_TAIL:], letters)


def named_letter(text: str, letters: Sequence[str]) -> tuple[str, str] | None:
    """(letter, words) of the only option that is mentioned by its letter, such as `option (B)`."""
    named = {next(group for group in match.groups() if group) for match in _NAMED.finditer(text[-_TAIL:])}
    return _last((_NAMED,), text[-_TAIL:], letters) if len(named) == 1 else None


def concluded_letter(sentence: str, letters: Sequence[str]) -> str | None:
    """The letter that a closing sentence ends with after a word of conclusion: `Therefore, C.`"""
    match = _CONCLUDED.search(sentence[-200:]) or _IS_LETTER.search(sentence[-200:])
    return match.group(1) if match and match.group(1) in letters else None


def marked_letters(text: str, letters: Sequence[str]) -> list[str]:
    """The distinct letters in parentheses, in order."""
    return list(dict.fromkeys(letter for letter in _PARENTHESISED.findall(text) if letter in letters))


def standing_letter(text: str, letters: Sequence[str]) -> str | None:
    """The only letter that stands alone in a short text, `A` and `I` apart."""
    standing = {letter for letter in _STANDING.findall(text) if letter in letters and letter not in "AI"}
    return standing.pop() if len(standing) == 1 and len(text) < 400 else None


def option_exact(text: str, options: Mapping[str, str]) -> str | None:
    """The option whose text is the whole answer."""
    for key in (_squeezed, _singular):
        answer = key(text)
        found = [letter for letter, option in options.items() if answer and key(option) == answer]
        if found:
            return found[0] if len({options[letter] for letter in found}) == 1 else None
    return None


def options_mentioned(text: str, options: Mapping[str, str]) -> list[str]:
    """The options whose texts occur as whole words, those inside a longer one and those after a `not` apart."""
    answer = fold(text)
    folded = {letter: fold(option) for letter, option in options.items()}
    # One letter as an option's text is an article or a label in a sentence; digits are not.
    worded = {letter: option for letter, option in folded.items() if len(option) > 1 or option.isdigit()}
    present = []
    for letter, option in sorted(worded.items(), key=lambda item: -len(item[1])):
        if _contains(answer, option):
            present.append(letter)
            answer = answer.replace(option, "\n")  # "quarter" inside "quarter past" is no mention of its own
    return [letter for letter in options if letter in present]


def options_inflected(text: str, options: Mapping[str, str]) -> list[str]:
    """The options of one word, its subject apart, of which the text has some form (`flipped` of `it flips`)."""
    present = {_root(word) for word in _WORDS.findall(fold(text))}
    worded = {k: [w for w in _WORDS.findall(fold(option)) if w not in _SUBJECT] for k, option in options.items()}
    return [letter for letter, words in worded.items() if len(words) == 1 and _root(words[0]) in present]


def option_by_text(text: str, options: Mapping[str, str]) -> str | None:
    """The option whose text is the whole answer, or the only one that occurs in it as whole words."""
    if letter := option_exact(text, options):
        return letter
    found = options_mentioned(text, options)
    return found[0] if len(found) == 1 else None


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
    answer = fold(text).removeprefix("a ").removeprefix("an ").removeprefix("the ")
    if not 4 <= len(answer) <= _LIKENESS_LENGTH or "\\" in answer or any(sign.isdigit() for sign in answer):
        return None
    folded = {letter: fold(option) for letter, option in options.items()}
    found = [
        letter
        for letter, option in folded.items()
        if option and len(option) <= _LIKENESS_LENGTH and SequenceMatcher(None, answer, option).ratio() >= _LIKENESS
    ]
    return found[0] if len(found) == 1 else None


def unbraced(text: str) -> str:
    """The text without space around it, and without the braces around the rest."""
    text = text.strip()
    return text[1:-1].strip() if text.startswith("{") and text.endswith("}") else text


def fold(text: str) -> str:
    """The text without case, spelled degrees, dollar signs, quotes and spaces beyond one."""
    text = text.casefold().replace("\\%", "%").replace("$", "")
    for degree in ("^{\\circ}", "^\\circ", " degrees"):
        text = text.replace(degree, "°")
    text = _BEFORE_UNIT.sub("", text)
    return re.sub(r"\s+", " ", text).strip(" .\"'`*")


def _last(patterns: Sequence[re.Pattern[str]], text: str, letters: Sequence[str]) -> tuple[str, str] | None:
    best: tuple[int, str, str] | None = None
    for pattern in patterns:
        for match in pattern.finditer(text):
            letter = next(group for group in match.groups() if group)
            if letter in letters and (best is None or match.end() > best[0]):
                best = (match.end(), letter, match.group().strip())
    return best[1:] if best else None


def _decimal(text: str) -> float:
    return float(text.replace(",", ""))


def _squeezed(text: str) -> str:
    return fold(text).replace(" ", "")


def _singular(text: str) -> str:
    words = fold(text).split()
    words = [word for word in words if word not in ("the", "a", "an")] or words
    return "".join(_stem(word) for word in words) if all(word.isalpha() for word in words) else ""


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def _root(word: str) -> str:
    """What the forms of a word have in common: `flip` of flips, flipped and flipping."""
    root = _ENDING.sub("", word)
    return root[:-1] if len(root) > 3 and root[-1] == root[-2] else root


def _contains(text: str, option: str) -> bool:
    position = text.find(option)
    while position >= 0:
        before = text[position - 1] if position else " "
        after = text[position + len(option)] if position + len(option) < len(text) else " "
        glued = (before.isalnum() and option[0].isalnum()) or (after.isalnum() and option[-1].isalnum())
        is_decimal = option[0].isdigit() and before in ".-"
        is_decimal |= after in ".," and text[position + len(option) + 1 :][:1].isdigit()
        if not glued and not is_decimal and not text[:position].endswith(("not ", "n't ")):
            return True
        position = text.find(option, position + 1)
    return False
