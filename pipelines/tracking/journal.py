"""The file between a scheduler and its sidecar: a JSON object a line, appended by one and followed by the other.

A file and no pipe, since a reader that hangs must not hang the writer.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipelines.schema import Wandb


@dataclass(frozen=True)
class Begin:
    """The first line: what is recorded, from which store, into which folder."""

    tracker: Wandb
    folder: Path
    store: Path
    results: Path
    profile: str
    uploads: bool


@dataclass(frozen=True)
class Started:
    """A training began: `made` is the part of its manifest that is known by then, `partial` where it writes."""

    group: str
    made: Mapping[str, Any]
    partial: Path


@dataclass(frozen=True)
class Finished:
    """An artifact is in the store; one that was only `tried` is a score that a value is chosen by."""

    group: str
    path: Path
    tried: bool


@dataclass(frozen=True)
class End:
    """The plan has ended: what still runs has failed."""


_KINDS = {kind.__name__: kind for kind in (Begin, Started, Finished, End)}
_PATHS = ("folder", "store", "results", "partial", "path")
Message = Begin | Started | Finished | End


def append(path: Path, message: Message) -> None:
    """Adds a line."""
    line = {"kind": type(message).__name__, **asdict(message)}
    with path.open("a") as file:
        file.write(json.dumps(line, default=str) + "\n")


def _message(line: bytes) -> Message:
    found = json.loads(line)
    kind = _KINDS[found.pop("kind")]
    found |= {name: Path(found[name]) for name in _PATHS if name in found}
    if kind is Begin:
        found["tracker"] = Wandb(**found["tracker"])
    message: Message = kind(**found)
    return message


@dataclass
class Lines:
    """Follows a file of lines that another process writes: each whole line once, from the top where it was replaced."""

    path: Path
    _place: int = 0
    _inode: int = field(default=0)

    def new(self) -> list[bytes]:
        """The lines since the last time; none where there is no file."""
        try:
            with self.path.open("rb") as file:
                stat = self.path.stat()
                if stat.st_ino != self._inode or stat.st_size < self._place:
                    self._place, self._inode = 0, stat.st_ino
                file.seek(self._place)
                read = file.read()
        except FileNotFoundError:
            return []
        whole = read[: read.rfind(b"\n") + 1]
        self._place += len(whole)
        return whole.splitlines()


def follow(lines: Lines) -> Iterator[Message]:
    """The messages since the last time."""
    yield from (_message(line) for line in lines.new())
