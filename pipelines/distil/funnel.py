"""How many are left behind each step and why the others are not: a funnel's numbers, each reject with its reason."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from evaluation.data.markdown import write_csv
from pipelines.distil.records import Fault

FUNNEL, REJECTS = "funnel.csv", "rejects.jsonl"
_EXCERPT = 400
SHOWN = 20  # of the rejects of a reason, in a sample of them


@dataclass(frozen=True)
class Reject:
    """What was left out, at which step, and why; `text` is cut, the whole of it stays where it was."""

    step: str
    reason: str
    index: str
    number: int
    found: str
    text: str


@dataclass(frozen=True)
class Row:
    """A line of the funnel: of what a step was given, how many it dropped for a reason and how many it kept in all."""

    step: str
    kept: int
    dropped: int
    reason: str


class Rejects:
    """Rejects on their way into a file, counted."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, step: str, fault: Fault, index: str, text: str, number: int = 0) -> None:
        """One more that is left out."""
        self.counts[step, fault.reason] += 1
        reject = Reject(step, fault.reason, index, number, fault.found[:_EXCERPT], text[:_EXCERPT])
        self._stream.write(json.dumps(asdict(reject)).encode("ascii") + b"\n")


def funnel(given: int, steps: Iterable[str], counts: Mapping[tuple[str, str], int]) -> list[Row]:
    """The rows of the steps in their order, the largest reason of each first; a step that drops nothing has one row."""
    rows, left = [], given
    for step in steps:
        reasons = sorted(
            ((n, reason) for (name, reason), n in counts.items() if name == step), key=lambda r: (-r[0], r[1])
        )
        left -= sum(n for n, _ in reasons)
        rows += [Row(step, left, n, reason) for n, reason in reasons] or [Row(step, left, 0, "")]
    return rows


def write_funnel(path: Path, rows: Iterable[Row]) -> None:
    """The funnel as a CSV."""
    write_csv(path, [asdict(row) for row in rows])


def some_rejects(path: Path, shown: int = SHOWN) -> list[dict[str, Any]]:
    """The first rejects of every reason of each step, in the order of the file."""
    seen: Counter[tuple[str, str]] = Counter()
    kept = []
    with path.open("rb") as stream:
        for line in stream:
            record = json.loads(line)
            seen[record["step"], record["reason"]] += 1
            if seen[record["step"], record["reason"]] <= shown:
                kept.append(record)
    return kept
