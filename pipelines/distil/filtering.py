"""The filter: answers in, one example a question out, and every one that is left out with its rule and reason.

Streamed: memory holds a few batches, the marks of the benchmarks' pictures and those of the set so far. What looks at
one answer or one picture runs side by side; what compares with the set so far follows in the questions' order, so that
the outcome does not depend on how many processes there are.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import TypeVar

from drift.processes import side_by_side
from evaluation.answers.symbolic import prepare
from evaluation.data.tsv import Item
from pipelines.distil.config import FilterConfig
from pipelines.distil.funnel import Rejects, Row, funnel
from pipelines.distil.likeness import Benchmarks, Kept, Look, look_of, look_of_item
from pipelines.distil.records import Fault, Question
from pipelines.distil.rules import Sample, first_fault

_BATCH = 32
SELECTED = "selection"
Given = TypeVar("Given")
Answered = tuple[Question, list[Sample]]


@dataclass(frozen=True)
class Judged:
    """What the rules of answers leave of a question's."""

    chosen: Sample | None
    look: Look | None
    rejects: list[tuple[Sample, str, Fault]] = field(default_factory=list)


def run_filter(
    config: FilterConfig,
    answers: Iterable[Answered],
    folder: Path,
    benchmarks: Benchmarks | None,
    keep: Callable[[Sample], None],
    rejects: Rejects,
) -> list[Row]:
    """Hands each example that is kept to `keep`, in the questions' order; the funnel.

    Args:
        folder: of the questions' pictures.
        benchmarks: from `index_benchmarks`, where the config has `contamination`.
    """
    given, seen = 0, Kept(config) if "duplicates" in config.rules else None
    for judged in side_by_side(partial(_judge_all, config, folder), _batches(_counted(answers)), config.processes):
        for each in judged:
            given += len(each.rejects) + (each.chosen is not None)
            for sample, step, fault in each.rejects:
                rejects.add(step, fault, sample.question.index, sample.response, sample.number)
            if each.chosen is not None and not _is_left_out(each.chosen, each.look, benchmarks, seen, rejects):
                keep(each.chosen)
    return funnel(given, steps_of(config), rejects.counts)


def steps_of(config: FilterConfig) -> list[str]:
    """The steps in the order in which they are made."""
    of_sets = [name for name in ("contamination", "duplicates") if name in config.rules]
    return [*config.of_answers, SELECTED, *of_sets]


def index_benchmarks(config: FilterConfig, items: Iterable[tuple[str, Item]]) -> Benchmarks:
    """The items of benchmarks, by a name each, ready to be looked for."""
    looked = side_by_side(partial(_look_all, config), _batches(items), config.processes)
    return Benchmarks(config, (pair for pairs in looked for pair in pairs))


def _batches(given: Iterable[Given]) -> Iterator[list[Given]]:
    rest = iter(given)
    return iter(lambda: list(islice(rest, _BATCH)), [])


def _counted(answers: Iterable[Answered]) -> Iterator[Answered]:
    from tqdm import tqdm

    return iter(tqdm(answers, desc="filter", unit="question", disable=None, leave=False))


def _judge_all(config: FilterConfig, folder: Path, answers: Sequence[Answered]) -> list[Judged]:
    if config.correct.symbolic:
        prepare(question.answer for question, _ in answers)
    return [_judge(config, folder, question, samples) for question, samples in answers]


def _judge(config: FilterConfig, folder: Path, question: Question, samples: list[Sample]) -> Judged:
    passed: list[Sample] = []
    rejects: list[tuple[Sample, str, Fault]] = []
    for sample in samples:
        found = first_fault(sample, config)
        if found is None:
            passed.append(sample)
        else:
            rejects.append((sample, *found))
    if not passed:
        return Judged(None, None, rejects)
    chosen = select(passed, config)
    rejects += [(each, SELECTED, Fault("another was taken")) for each in passed if each is not chosen]
    is_compared = "contamination" in config.rules or "duplicates" in config.rules
    return Judged(chosen, look_of(question, folder, config) if is_compared else None, rejects)


def select(passed: Sequence[Sample], config: FilterConfig) -> Sample:
    """One of the answers to a question that passed; of equally long ones the first drawn."""
    if config.select == "random":
        return Random(f"{config.seed}:{passed[0].question.index}").choice(list(passed))
    if config.select == "first":
        return passed[0]
    sign = 1 if config.select == "shortest" else -1
    return min(passed, key=lambda sample: sign * len(sample.response))


def _is_left_out(
    sample: Sample, look: Look | None, benchmarks: Benchmarks | None, seen: Kept | None, rejects: Rejects
) -> bool:
    """Whether the example is a benchmark's or one of the set's already; one that is not is the set's from now on."""
    for step, known in (("contamination", benchmarks), ("duplicates", seen)):
        if look is not None and known is not None and (fault := known.fault(look)):
            rejects.add(step, fault, sample.question.index, sample.question.question, sample.number)
            return True
    if look is not None and seen is not None:
        seen.add(sample.question.index, look)
    return False


def _look_all(config: FilterConfig, items: Sequence[tuple[str, Item]]) -> list[tuple[str, Look]]:
    return [(name, look_of_item(item, config)) for name, item in items]
