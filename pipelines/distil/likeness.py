"""Whether a question is in a benchmark, or in the set already: by its words and by its pictures.

A picture of a benchmark is enough: the same figure under another question is its figure all the same. Words are enough
where there are so many that two questions would not share them by chance.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.data.tsv import Item
from pipelines.distil.config import FilterConfig
from pipelines.distil.pictures import Marks, PictureIndex, crop_marks, marks_of
from pipelines.distil.records import Fault, Question
from pipelines.distil.wording import Wording, WordingIndex, overlap, wording_of


@dataclass(frozen=True)
class Look:
    """What of a question is compared with others."""

    wording: Wording
    pictures: Sequence[Marks]


def look_of(question: Question, folder: Path, config: FilterConfig) -> Look:
    """The question's words, and the marks of its pictures below `folder`."""
    marks = [marks_of((folder / name).read_bytes()) for name in question.images]
    return Look(wording_of(question.question, config.alike.permutations), marks)


def look_of_item(item: Item, config: FilterConfig) -> Look:
    """The same of a benchmark's item, its pictures with their crops."""
    marks = [crop_marks(picture, config.near.crops) for picture in item.images]
    return Look(wording_of(item.question, config.alike.permutations), marks)


class Benchmarks:
    """The questions and pictures that a set must not have."""

    def __init__(self, config: FilterConfig, items: Iterable[tuple[str, Look]]) -> None:
        self._words, self._pictures, self.count = WordingIndex(config.alike), PictureIndex(config.near), 0
        for name, look in items:
            self.count += 1
            if self._words.is_telling(look.wording):
                self._words.add(name, look.wording)
            for marks in look.pictures:
                self._pictures.add(name, marks)

    def fault(self, look: Look) -> Fault | None:
        """The item that the question is, and by what; the surest kind first."""
        if self._words.is_telling(look.wording) and (found := self._words.find(look.wording)):
            name, how = found
            return Fault(f"question: {how}", f"is {name}")
        named = (name for marks in look.pictures for name in self._pictures.find(marks))
        name = next(named, "")
        return Fault("picture", f"is that of {name}") if name else None


class Kept:
    """What a set has already: a duplicate has the same words and numbers, or nearly, and all pictures near."""

    def __init__(self, config: FilterConfig) -> None:
        self._alike, self._pictures = config.alike, PictureIndex(config.near)
        self._looks: dict[str, Look] = {}
        self._bare: dict[str, str] = {}  # plain words of questions without pictures -> name

    def fault(self, look: Look) -> Fault | None:
        """What is there already that the question repeats."""
        if not look.pictures:
            name = self._bare.get(look.wording.plain, "")
            return Fault("same question", f"is {name}") if name else None
        shared = [set(self._pictures.find(marks)) for marks in look.pictures]
        for name in sorted(set.intersection(*shared)):
            other = self._looks[name]
            if len(other.pictures) == len(look.pictures) and self._is_alike(look.wording, other.wording):
                return Fault("same question and picture", f"is {name}")
        return None

    def add(self, name: str, look: Look) -> None:
        """From now on the set has it."""
        if not look.pictures:
            self._bare.setdefault(look.wording.plain, name)
            return
        self._looks[name] = look
        for marks in look.pictures:
            self._pictures.add(name, marks)

    def _is_alike(self, first: Wording, second: Wording) -> bool:
        return first.plain == second.plain or (
            first.numbers == second.numbers and overlap(first, second) >= self._alike.overlap
        )
