"""A sharegpt JSON with images to checked conversations: what the training data says, before any tokenizer.

The format is that of LLaMA-Factory and DRIFT-TL-Distill-4K: a list of {"messages": [{"role", "content"}], "images": []}
with `<image>` where each image stands; "conversations", "from" and "value" are read too. It is read by json, not by
`datasets`: errors can name the item, and a run starts 1 to 2 s sooner.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from drift.errors import DataError

IMAGE_MARK = "<image>"
_HALF = re.compile("[\ud800-\udfff]")  # of a pair of UTF-16, which JSON can say alone
ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}


@dataclass(frozen=True)
class Turn:
    """One message: role is user, assistant or system; content holds an `<image>` per image."""

    role: str
    content: str


@dataclass(frozen=True)
class Conversation:
    """One item of the file; `name` is what errors call it."""

    name: str
    turns: tuple[Turn, ...]
    images: tuple[Path, ...]


def read_conversations(path: Path) -> list[Conversation]:
    """Every item of a sharegpt JSON, checked: roles, an answer at the end, as many images as marks, files that exist.

    Raises:
        DataError: the file or the first bad item, by its number from 0.
    """
    try:
        items = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"can't read the training data {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # of JSON and of Unicode
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(items, list):
        raise DataError(f"{path} holds a {type(items).__name__}, not a list of conversations")
    if not items:
        raise DataError(f"{path} holds no examples")
    return [_conversation(item, f"{Path(path).name} item {n}", Path(path).parent) for n, item in enumerate(items)]


def _conversation(item: object, name: str, folder: Path) -> Conversation:
    if not isinstance(item, dict):
        raise DataError(f"{name} is a {type(item).__name__}, not an object with messages and images")
    raw = item["messages"] if "messages" in item else item.get("conversations")
    if not isinstance(raw, list) or not raw:
        raise DataError(f"{name} has no messages; expected a list under 'messages' or 'conversations'")
    turns = tuple(_turn(message, f"{name} message {n}") for n, message in enumerate(raw))
    if turns[-1].role != "assistant":
        raise DataError(f"{name} has no answer: its last message is the {turns[-1].role}'s")
    images = item.get("images") or []
    marks = sum(turn.content.count(IMAGE_MARK) for turn in turns if turn.role != "assistant")
    if not isinstance(images, list) or marks != len(images):
        raise DataError(f"{name} has {marks} {IMAGE_MARK} marks before its answers but images {images!r}")
    paths = tuple(folder / str(image) for image in images)
    for path in paths:
        if not path.is_relative_to(folder) or ".." in path.parts[len(folder.parts) :]:
            raise DataError(f"{name}: image {path} lies outside {folder}, the folder of the JSON file")
        if not _is_there(path):
            raise DataError(f"{name}: no image at {path}; image paths are relative to the folder of the JSON file")
    return Conversation(name, turns, paths)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no disk can hold
        return False


def _turn(message: object, name: str) -> Turn:
    if not isinstance(message, dict):
        raise DataError(f"{name} is a {type(message).__name__}, not an object with role and content")
    role = message["role"] if "role" in message else message.get("from")
    content = message["content"] if "content" in message else message.get("value")
    if not isinstance(role, str) or role not in ROLES:
        raise DataError(f"{name} has role {role!r}; known: {', '.join(ROLES)}")
    if not isinstance(content, str) or (ROLES[role] == "assistant" and not content.strip()):
        raise DataError(f"{name} ({role}) has no text: {content!r}")
    if _HALF.search(content):
        raise DataError(f"{name} ({role}) holds half a character, which no tokenizer reads: {content[:80]!r}")
    return Turn(ROLES[role], content)
