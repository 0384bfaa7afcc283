"""A file of responses scored as it is read: memory holds a few batches of items, whatever the file's length."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from drift.errors import DataError
from drift.processes import side_by_side
from evaluation.data.checks import GoldCheck
from evaluation.data.predictions import Waiting
from evaluation.data.tsv import Item, iter_items
from evaluation.judging.breakdown import Breakdown, Table
from evaluation.judging.judge import Judge
from evaluation.judging.scoring import ask_judge, score_by_rules
from evaluation.judging.summary import Score, Tally
from evaluation.judging.verdicts import Verdict

if TYPE_CHECKING:
    from evaluation.benchmarks import Benchmark

Find = Callable[[str], "Benchmark"]
"""A benchmark by its name: `evaluation.benchmarks.get_benchmark`, as other processes import it."""

_BATCH = 256


@dataclass(frozen=True)
class Asked:
    """Items with their responses by index; `verdicts` is what the rules say of them."""

    items: Sequence[Item]
    responses: Mapping[str, str]
    verdicts: list[Verdict] = field(default_factory=list)


@dataclass(frozen=True)
class Streamed:
    """What a file adds up to.

    Attributes:
        extra: responses that belong to no item.
        without_gold: indices of the items that have no gold answer, which nothing can get right.
    """

    score: Score
    breakdown: Table
    extra: int
    without_gold: Sequence[str]


def score_file(
    name: str,
    find: Find,
    data: Path,
    waiting: Waiting,
    write: Callable[[Sequence[Verdict]], None],
    *,
    mode: str,
    judge: Judge | None = None,
    processes: int = 1,
    allow_missing: bool = False,
) -> Streamed:
    """Scores the items of the table `data`, in its order, by the responses that wait for them.

    Args:
        name, find: the benchmark, and who knows it by that name.
        write: takes the verdicts, a batch at a time.
        processes: that apply the rules; a judge is asked by this one.
        allow_missing: an item without a response is wrong, and no error.
    Raises:
        DataError: as `iter_items`; items without a response; predictions made for other gold answers.
    """
    benchmark = find(name)
    tally, parts, pairs = Tally(benchmark), Breakdown(benchmark.facets), _Pairs(data, waiting, allow_missing)
    scored = side_by_side(partial(_decide, find, name, mode), pairs.batches(iter_items(data, benchmark)), processes)
    with tqdm(total=benchmark.rows or waiting.count, unit="item", desc=benchmark.name, disable=None) as bar:
        for asked in scored:
            verdicts = asked.verdicts
            if judge is not None:
                verdicts = ask_judge(benchmark, asked.items, asked.responses, verdicts, judge)
            tally.add(asked.items, verdicts)
            parts.add(asked.items, verdicts)
            write(verdicts)
            bar.update(len(verdicts))
    pairs.finish()
    return Streamed(tally.score(), parts.table(), waiting.count - waiting.matched, pairs.golds.absent)


class _Pairs:
    """Joins items with the responses that wait for them, and counts those without one."""

    def __init__(self, data: Path, waiting: Waiting, allow_missing: bool) -> None:
        self._data, self._waiting, self._allows = data, waiting, allow_missing
        self._missing, self._first_missing, self._first = 0, list[str](), list[str]()
        self.golds = GoldCheck()

    def batches(self, items: Iterable[Item]) -> Iterator[Asked]:
        """What is to be scored: nothing more once an item that must not be without a response is."""
        rest = iter(items)
        while batch := list(islice(rest, _BATCH)):
            found = self._waiting.take([item.index for item in batch])
            for item in batch:
                self.golds.see(item, found[item.index].gold if item.index in found else "")
            absent = [item.index for item in batch if item.index not in found]
            self._missing += len(absent)
            self._first_missing += absent[: 3 - len(self._first_missing)]
            self._first = self._first or [item.index for item in batch[:3]]
            if self._allows or not self._missing:
                yield Asked(batch, {index: prediction.response for index, prediction in found.items()})

    def finish(self) -> None:
        """Refuses what the joining has shown to be wrong."""
        waiting = self._waiting
        if not waiting.matched:
            raise DataError(
                f"{waiting.path}: none of its {waiting.count} responses belongs to the data; first items "
                f"{self._first}, first predictions {waiting.first(3)}. Are they of the same benchmark?"
            )
        if self._missing and not self._allows:
            raise DataError(
                f"{waiting.path}: no response for {self._missing} of {self._missing + waiting.matched} items, first "
                f"{self._first_missing}; complete the file, or say allow_missing=true to score them as wrong"
            )
        self.golds.finish(self._data, waiting.path)


def _decide(find: Find, name: str, mode: str, asked: Asked) -> Asked:
    return Asked(asked.items, asked.responses, score_by_rules(find(name), asked.items, asked.responses, mode))
