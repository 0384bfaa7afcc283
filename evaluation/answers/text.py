"""Cuts a response to the part that holds its answer: after the reasoning block, inside a box, after a closing phrase.

Every function is linear in the length of its input: patterns have bounded repeats and no nested ones.
"""

import re
from collections.abc import Sequence

# xlsx cells end here; a response of exactly this length has lost its tail.
XLSX_CELL_LIMIT = 32_767
# Boxes looked at from the end: with more of them unbalanced, the text is noise.
_BOXES = 8
_HEAD = 2_000
_END = 8_000
_BOX = re.compile(r"\\?(?:boxed|fbox)\s{0,3}\{")
_NEXT_QUESTION = re.compile(r"(?:^|\n)\s{0,5}(?:Question|Hint|问题)\s?[:：]")
_NEXT_TURN = re.compile(r"(?<=\S)\s{0,5}<\|(?:im_start|im_end|endoftext|eot_id|end)\|>")
_ANSWER_LABEL = re.compile(r"\n\s{0,5}(?:Answer|Solution|答案)\s?[:：]")
_EXAMPLE_LETTERS = re.compile(
    r"e\.g\.,?(?:\s[A-H],){1,8}|\b(?:Choices|Options)\s?:|\boption letter, at the end"
    r"|\b(?:Choose|Select|Pick) (?:the |one )(?:\w+\s){0,2}(?:option|answer|choice)(?: letter)?s?[^.:\n]{0,60}:"
)
_COURTESY = re.compile(
    r"(?:I hope (?:this|that|it)|Let me know if|Do you (?:have|want)|Is there anything else|Please let me know"
    r"|Would you like|Sorry,)[^.!?\n]{0,200}[.!?]?"
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=。)|\n+")
_CONCLUSION = re.compile(
    r"\W{0,4}(?:so|thus|therefore|hence|in total|in conclusion|overall|consequently|in summary)\b", re.I
)
_REFUSAL = re.compile(
    r"\b(?:cannot|can't|can not|unable|impossible|not possible|not (?:specif|provid|enough|clear|sufficient)\w*|"
    r"no (?:information|way)|need more|more (?:context|information)|insufficient"
    r"|(?:difficult|hard) to (?:determine|say|tell)|"
    r"none of the (?:\w+\s)?(?:options|choices|answers))\b",
    re.I,
)
_REFUTED = re.compile(
    r"\b(?:incorrect|wrong|not (?:the |a |an )?(?:correct|right|valid|viable|applicable|possible|likely|answer)"
    r"|(?:is|are) not (?:an|one of the) (?:options?|choices?)|ruled? out|eliminated?)\b|不正确|错误",
    re.I,
)
_CODE = re.compile(r"(?<![:：])(?<![:：]\n)(?<![:：]\n\n)```[^`]{0,8000}```")
_TABLE = re.compile(r"(?:^[^|\n]{0,200}\|\s[^\n]{0,400}\n){2,}", re.M)
_LATEX_TEXT = re.compile(
    r"\\(?:text|textnormal|mathrm|mathbf|textbf|mathsf|textit|mbox|operatorname)\s{0,3}\{([^{}]{0,200})\}"
)
_SPACES = re.compile(
    r"</s>|<<[^<>\n]{0,60}>>|<\|[a-z_]{1,20}\|>|~|(?<!\\)\\[,;: ]|\\q?quad\b|\\(?:left|right)\s?\.|\\displaystyle\b"
    r"|[\u00a0\u202f]"
)
_HEDGE = re.compile(r"\*\*|__|`")


def clip(response: str) -> str:
    """The response, or its beginning and end when it is long: an answer stands at one of the two; time is bounded."""
    if len(response) <= _HEAD + _END:
        return response
    return f"{response[:_HEAD]}\n{response[-_END:]}"


def clip_answer(response: str) -> str:
    """The response with its thoughts and its answer part clipped apart, so that no tag is cut off its text."""
    head, tag, tail = response.rpartition("</think>")
    return f"{clip(head)}{tag}{clip(tail)}"


def split_think(response: str) -> tuple[str, str]:
    """(thoughts, answer part): what follows the last `</think>`; an unclosed `<think>` leaves no answer part.

    A response without the tags is all answer part.
    """
    head, tag, tail = response.rpartition("</think>")
    if tag:
        return head.replace("<think>", "", 1).strip(), tail.strip()
    before, tag, after = response.partition("<think>")
    if tag:
        return after.strip(), before.strip()
    return "", response.strip()


def without_thoughts(response: str) -> str:
    """The answer part of a response, or all of it where that is empty."""
    return split_think(response)[1] or response


def last_boxed(text: str) -> str | None:
    r"""The content of the last complete `\boxed{...}`, braces balanced; None without one."""
    for match in reversed(list(_BOX.finditer(text))[-_BOXES:]):
        content = balanced(text, match.end())
        if content is not None:
            return content.strip()
    return None


def plain(text: str) -> str:
    r"""The text without LaTeX text commands and spaces, math delimiters, emphasis and end-of-sequence marks."""
    text = _SPACES.sub(" ", _HEDGE.sub("", text)).replace("\\$", "\0")
    for _ in range(3):
        text = _LATEX_TEXT.sub(r" \1 ", text)
    return text.replace("\\(", " ").replace("\\)", " ").replace("$", "").replace("\0", "\\$")


def own_answer(text: str) -> str:
    """The text before the model went on to ask itself the next question, without courtesies and refuted options.

    A model that was trained on question lists answers and then continues the list; what follows the first
    `Question:` or `Hint:` line is no part of the answer unless nothing precedes it.
    """
    text = without_examples(_NEXT_TURN.split(text, maxsplit=1)[0] or text)
    match = _NEXT_QUESTION.search(text)
    if match and len(text[: match.start()].strip()) <= 1 and (answer := _ANSWER_LABEL.search(text)):
        text = text[answer.end() :]
        match = _NEXT_QUESTION.search(text)
    if match and len(text[: match.start()].strip()) > 1:
        text = text[: match.start()]
    return without_courtesies(text)


def without_courtesies(text: str) -> str:
    """The text without closing offers of help and apologies."""
    return _COURTESY.sub("", text).strip()


def without_examples(text: str) -> str:
    """The text without an echoed prompt's sample letters (`e.g., A, B, C, D`) and headings over its options."""
    return _EXAMPLE_LETTERS.sub("", text)


def without_displays(text: str) -> str:
    """The text without code and tables, unless an answer stands there: after a colon, or with nothing beside."""
    rest = _TABLE.sub("\n", _CODE.sub("\n", f"{text}\n"))
    return rest if re.search(r"\w", rest) else text


def labelled(labels: Sequence[re.Match[str]], text: str, edges: str) -> dict[str, str]:
    """Letter -> what stands between its label (a match whose group 1 is the letter) and the next, `edges` stripped."""
    ends = [label.start() for label in labels[1:]] + [len(text)] * bool(labels)
    return {label.group(1): text[label.end() : end].strip(edges) for label, end in zip(labels, ends, strict=True)}


def sentences(text: str) -> list[str]:
    """The sentences and lines of a text that hold anything."""
    return [part.strip() for part in _SENTENCE.split(text) if part.strip()]


def is_looping(parts: Sequence[str]) -> bool:
    """Whether the text ends in a loop: its last whole sentence stands three times in its end."""
    return len(parts) > 3 and any(parts[-12:].count(part) >= 3 for part in parts[-3:-1])


def concludes(sentence: str) -> bool:
    """Whether the sentence opens with a word of conclusion."""
    return _CONCLUSION.match(sentence) is not None


def is_refusal(sentence: str) -> bool:
    """Whether the sentence says that no answer can be given."""
    return _REFUSAL.search(sentence) is not None


def is_refuted(sentence: str) -> bool:
    """Whether the sentence calls an option wrong."""
    return _REFUTED.search(sentence) is not None


def without_refuted(text: str) -> str:
    """The text without the sentences that call an option wrong, unless nothing would be left."""
    kept = [part for part in sentences(text) if not is_refuted(part)]
    return "\n".join(kept) if kept else text


def balanced(text: str, start: int, limit: int = 4_000) -> str | None:
    """What stands from `start` to the brace that closes the one before it; None where none does."""
    depth = 1
    for position in range(start, min(len(text), start + limit)):
        if text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                return text[start:position]
    return None
