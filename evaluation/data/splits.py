"""Which items of a published benchmark are for choosing and which for reporting: by question, never by item alone.

Versions of one problem, items of one group and items with nearly the same picture are one question and lie on one
side. The side is a hash of the question's name, so that it takes no list to know it; the list of a published table is
kept all the same (`Lock`: ids, no texts), and from then on the list is the split, whatever reads the pictures.
"""

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drift.errors import DataError
from drift.files import write_whole
from evaluation.data.tsv import Item, Table

RULE = "questions-1"  # raised when another rule would put an item on the other side
VALIDATION_SHARE = 0.2
Side = Literal["validation", "test"]
Questions = tuple[tuple[str, ...], ...]
SIDES: tuple[Side, ...] = ("validation", "test")


class SplitError(DataError):
    """What was chosen on and what is reported on share an item, or a split is not that of its table."""


@dataclass(frozen=True)
class Split:
    """A table's questions by side, each as the indices of its items, in the table's order."""

    validation: Questions
    test: Questions

    def items(self, side: Side) -> set[str]:
        """The indices of a side's items."""
        return {index for question in getattr(self, side) for index in question}

    def check(self, table: str) -> None:
        """Refuses a split without two sides.

        Raises:
            SplitError: a side is empty, or an item lies on both.
        """
        validation, test = self.items("validation"), self.items("test")
        if not validation or not test:
            raise SplitError(
                f"{table}: {len(validation)} items to choose on and {len(test)} to report on; expected some on "
                "either side. A table this small has no split: say suite.split=all, and choose on another suite"
            )
        if both := sorted(validation & test):
            raise SplitError(f"{table}: test repeats {len(both)} items of validation, first {both[:3]}")


@dataclass(frozen=True)
class Lock:
    """A split on file: `<folder>/<table>.json`, with the hash of its ids."""

    path: Path

    def read(self, items: Collection[str], must_fit: bool) -> Split | None:
        """The split of a table of these items, which may be fewer than were parted; None where there is no file.

        Args:
            must_fit: refuse items that are on neither side, rather than take the file for another table's.
        Raises:
            SplitError: the file was changed, is of another rule, or of another table.
        """
        if not self.path.exists():
            return None
        record = json.loads(self.path.read_text())
        sides = [tuple(tuple(question.split()) for question in record[side].split(",")) for side in SIDES]
        found = Split(*sides)
        if (record["rule"], record["sha256"]) != (RULE, _digest(found)):
            raise SplitError(
                f"{self.path}: rule {record['rule']!r} and hash {record['sha256'][:12]} are not {RULE!r} and "
                f"{_digest(found)[:12]}, those of its ids; restore the file, or remove it to make the split anew"
            )
        unknown = set(items) - found.items("validation") - found.items("test")
        if unknown and not must_fit:
            return None
        if unknown:
            raise SplitError(
                f"{self.path}: {len(unknown)} items are on neither side, first {sorted(unknown)[:3]}; is it the split "
                "of another table?"
            )
        return Split(*(_among(side, items) for side in sides))

    def write(self, split: Split) -> None:
        """Keeps the split."""
        sides = {str(side): ", ".join(" ".join(question) for question in getattr(split, side)) for side in SIDES}
        record = {"rule": RULE, "sha256": _digest(split)} | sides
        write_whole(self.path, json.dumps(record, indent=1) + "\n")


def split_of(items: Sequence[Item], table: Table) -> Split:
    """The split by the rule; of the questions of a table so small that a side got none, the nearest one is there.

    Args:
        items: of the whole table, with their pictures.
    Raises:
        SplitError: an index holds a space or a comma, which part indices in a lock.
    """
    if odd := next((item.index for item in items if len(item.index.replace(",", " ").split()) != 1), None):
        raise SplitError(
            f"{table.name}: index {odd!r} holds a space or a comma; expected none in a table that is split"
        )
    names = {item.index: _problem(item) or item.group or item.index for item in items}
    questions = questions_of(items)
    drawn = [_draw(names[question[0]]) for question in questions]
    limit = VALIDATION_SHARE
    if len(questions) > 1:
        limit = min(max(limit, math.nextafter(min(drawn), 1.0)), max(drawn))
    sides = [
        [q for q, draw in zip(questions, drawn, strict=True) if (draw < limit) == first] for first in (True, False)
    ]
    return Split(*(tuple(side) for side in sides))


def _draw(question: str) -> float:
    """In [0, 1), by the hash of a question's name; a fifth of all questions is for choosing."""
    return int.from_bytes(hashlib.sha256(f"{RULE}\0{question}".encode()).digest()[:8], "big") / 2**64


def questions_of(items: Sequence[Item]) -> list[tuple[str, ...]]:
    """The items' indices by question, in the order of the table."""
    from evaluation.data.pictures import near_duplicates

    parents = list(range(len(items)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = place = parents[parents[place]]
        return place

    def join(first: int, second: int) -> None:
        low, high = sorted((root(first), root(second)))
        parents[high] = low

    seen: dict[str, int] = {}
    for place, item in enumerate(items):
        for key in filter(None, (_problem(item) and f"problem {_problem(item)}", item.group and f"group {item.group}")):
            join(place, seen.setdefault(key, place))
    owners = [place for place, item in enumerate(items) for _ in item.images]
    for first, second in near_duplicates([picture for item in items for picture in item.images]):
        join(owners[first], owners[second])
    found: dict[int, list[str]] = {}
    for place, item in enumerate(items):
        found.setdefault(root(place), []).append(item.index)
    return [tuple(question) for question in found.values()]


def contents(items: Iterable[Item]) -> set[str]:
    """What items are, wherever they stand and whatever their index: hashes of question and pictures."""
    marks = set()
    for item in items:
        digest = hashlib.sha256(item.question.encode())
        for picture in item.images:
            digest.update(hashlib.sha256(picture).digest())
        marks.add(digest.hexdigest()[:32])
    return marks


def refuse_seen(seen: Collection[str], reported: Collection[str], chosen: str, where: str) -> None:
    """Refuses to report on what a choice was made on.

    Args:
        seen, reported: `contents` of either.
        chosen: what was chosen, for the message.
    Raises:
        SplitError: they share an item.
    """
    if both := set(seen) & set(reported):
        raise SplitError(
            f"{len(both)} of {len(set(reported))} items that {where} reports on were seen by the choice of {chosen}: "
            "the test split holds what the validation split holds. Report on suite.split=test of split tables"
        )


def _problem(item: Item) -> str:
    """MathVerse's number of the problem that an item is a version of; empty elsewhere."""
    return item.fields.get("problem_index", "").strip()


def _among(questions: Questions, items: Collection[str]) -> Questions:
    kept = (tuple(index for index in question if index in items) for question in questions)
    return tuple(question for question in kept if question)


def _digest(split: Split) -> str:
    sides: Mapping[str, Questions] = {side: getattr(split, side) for side in SIDES}
    return hashlib.sha256(json.dumps(sides).encode()).hexdigest()
