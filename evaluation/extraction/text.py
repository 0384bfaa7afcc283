"""Cuts a response to the part that holds its answer: after the reasoning block, inside a box, after a closing phrase.

Every function is linear in the length of its input: patterns have bounded repeats and no nested ones.
"""

import re

# xlsx cells end here; a response of exactly this length has lost its tail.
XLSX_CELL_LIMIT = 32_767
# Boxes looked at from the end: with more of them unbalanced, the text is noise.
_BOXES = 8
_BOX = re.compile(r"\\?(?:boxed|fbox)\s{0,3}\{")
_ANSWER_TAG = re.compile(r"<answer>(.{0,2000}?)</answer>", re.S | re.I)
_HEDGE = re.compile(r"\*\*|__|`")


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


def last_boxed(text: str) -> str | None:
    r"""The content of the last complete `\boxed{...}`, braces balanced; None without one."""
    for match in reversed(list(_BOX.finditer(text))[-_BOXES:]):
        content = _balanced(text, match.end())
        if content is not None:
            return content.strip()
    return None


def last_answer_tag(text: str) -> str | None:
    """The content of the last `<answer>...</answer>`; None without one."""
    found = _ANSWER_TAG.findall(text[-20_000:])
    return found[-1].strip() if found else None


def is_cut_by_xlsx(response: str) -> bool:
    r"""Whether the response filled an xlsx cell to its last character, so that its end is lost."""
    return len(response) == XLSX_CELL_LIMIT


def strip_markup(text: str) -> str:
    """The text without Markdown emphasis, which splits words that belong together."""
    return _HEDGE.sub("", text)


def _balanced(text: str, start: int, limit: int = 4_000) -> str | None:
    depth = 1
    for position in range(start, min(len(text), start + limit)):
        if text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                return text[start:position]
    return None
