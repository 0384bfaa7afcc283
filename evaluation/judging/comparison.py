"""Verdict files held against each other: accuracies, paired differences, and what their tests say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from drift.errors import DataError
from drift.files import read_jsonl
from evaluation.judging.verdicts import Verdict
from evaluation.statistics import (
    Interval,
    by_cluster,
    cluster_bootstrap,
    crossed,
    detectable_difference,
    holm,
    is_within_bias,
    mcnemar_exact,
    paired_bootstrap,
    wilson,
)

Table = Mapping[str, Verdict]


@dataclass(frozen=True)
class Accuracy:
    """Accuracy over judged items in percent, with Wilson's interval and counts."""

    file: str
    accuracy: float
    n: int
    unjudged: int
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Pair:
    """A file against the baseline, over the items judged in both.

    Attributes:
        difference: `against` minus `baseline`, in points.
        is_clustered: the interval resamples whole groups.
        detectable_difference: the smallest that a test of this size finds four times in five.
        p_holm: p_value adjusted over all pairs.
        scorer_bias: by how many points the difference exceeds that of the other scorer, where there is one.
        is_within_scorer_bias: the difference is no larger than its scorer's bias may be; its sign is not resolved.
    """

    baseline: str
    against: str
    difference: float
    ci_low: float
    ci_high: float
    n: int
    is_clustered: bool
    only_baseline_right: int
    only_against_right: int
    p_value: float
    detectable_difference: float
    p_holm: float
    is_significant: bool
    scorer_bias: float | None = None
    scorer_bias_ci_low: float | None = None
    scorer_bias_ci_high: float | None = None
    is_within_scorer_bias: bool | None = None


@dataclass(frozen=True)
class Comparison:
    """Every file's accuracy, and each later file against the first."""

    scores: tuple[Accuracy, ...]
    pairs: tuple[Pair, ...]


def compare_files(
    paths: Sequence[Path], resamples: int = 10_000, seed: int = 0, rescored: Sequence[Path] = ()
) -> Comparison:
    """The comparison of each later file with the first.

    Args:
        rescored: the same responses by another scorer, in the order of `paths`; none for no such comparison.
    Raises:
        DataError: fewer than two files, unreadable verdicts, different items, or not as many rescored files.
    """
    if len(paths) < 2:
        raise DataError(f"{len(paths)} verdict file(s); expected at least two to compare")
    if rescored and len(rescored) != len(paths):
        raise DataError(f"{len(rescored)} rescored file(s) of {len(paths)}; expected one a file, in the same order")
    tables = {path: read_verdicts(path) for path in (*paths, *rescored)}
    first = tables[paths[0]]
    for path in (*paths[1:], *rescored):
        if different := sorted(set(tables[path]) ^ set(first)):
            raise DataError(
                f"{paths[0]} and {path} hold different items ({len(different)} in one alone, first {different[:3]}); "
                "compare verdicts on the same table"
            )
    pairs = [compare(first, tables[path], (str(paths[0]), str(path)), resamples, seed) for path in paths[1:]]
    if rescored:
        again = [tables[path] for path in rescored]
        biases = [
            scorer_bias((first, tables[p]), (again[0], other)) for p, other in zip(paths[1:], again[1:], strict=True)
        ]
        pairs = [_with_bias(pair, bias) for pair, bias in zip(pairs, biases, strict=True)]
    adjusted = holm([pair.p_value for pair in pairs])
    return Comparison(
        tuple(accuracy(str(path), tables[path]) for path in paths),
        tuple(replace(pair, p_holm=p, is_significant=p < 0.05) for pair, p in zip(pairs, adjusted, strict=True)),
    )


def read_verdicts(path: Path) -> dict[str, Verdict]:
    """index -> verdict of a file that evaluation.score wrote.

    Raises:
        DataError: no such file, no lines, a line without index or correct, or an index twice.
    """
    table: dict[str, Verdict] = {}
    for number, record in enumerate(read_jsonl(path, "verdicts"), 1):
        if "index" not in record or record.get("correct", "") not in (True, False, None):
            raise DataError(f"{path}:{number}: expected index, and correct as true, false or null")
        index = str(record["index"])
        if index in table:
            raise DataError(f"{path}:{number}: index {index!r} appears twice; expected one verdict an item")
        table[index] = Verdict(index, record["correct"], None, "", group=record.get("group"))
    if not table:
        raise DataError(f"{path}: no lines; expected verdicts")
    return table


def accuracy(file: str, table: Table) -> Accuracy:
    """One file's accuracy.

    Raises:
        DataError: no verdict is judged.
    """
    judged = [bool(verdict.correct) for verdict in table.values() if verdict.correct is not None]
    if not judged:
        raise DataError(f"none of {len(table)} verdicts is judged; nothing to compare")
    low, high = wilson(sum(judged), len(judged))
    return Accuracy(file, 100 * sum(judged) / len(judged), len(table), len(table) - len(judged), 100 * low, 100 * high)


def compare(first: Table, second: Table, names: tuple[str, str], resamples: int = 10_000, seed: int = 0) -> Pair:
    """One pair, called `names`, as if it were the only one.

    Raises:
        DataError: no item is judged in both.
    """
    shared = [index for index in first if first[index].correct is not None and second[index].correct is not None]
    if not shared:
        raise DataError("no item is judged in both files; nothing to compare")
    a, b = ([bool(table[index].correct) for index in shared] for table in (first, second))
    test = mcnemar_exact(a, b)
    groups = [first[index].group or "" for index in shared]
    if all(groups):
        change = np.asarray(b, dtype=float) - np.asarray(a, dtype=float)
        interval = cluster_bootstrap(groups, lambda drawn: float(change[drawn].mean()), min(resamples, 2_000), seed)
    else:
        interval = paired_bootstrap(a, b, resamples, seed)
    discordance = (test.only_first + test.only_second) / len(shared)
    return Pair(
        *names,
        difference=100 * interval.mean,
        ci_low=100 * interval.low,
        ci_high=100 * interval.high,
        n=len(shared),
        is_clustered=all(groups),
        only_baseline_right=test.only_first,
        only_against_right=test.only_second,
        p_value=test.p_value,
        detectable_difference=100 * detectable_difference(len(shared), discordance),
        p_holm=test.p_value,
        is_significant=test.p_value < 0.05,
    )


def scorer_bias(ours: tuple[Table, Table], theirs: tuple[Table, Table]) -> Interval:
    """How much of the second table's gain over the first is one scorer's alone: ours minus theirs, as a share.

    Raises:
        DataError: fewer than two questions are judged by both scorers in both tables.
    """
    tables = (*ours, *theirs)
    shared = [index for index in ours[0] if all(table[index].correct is not None for table in tables)]
    gains = [{i: float(bool(b[i].correct)) - float(bool(a[i].correct)) for i in shared} for a, b in (ours, theirs)]
    excess = {index: gains[0][index] - gains[1][index] for index in shared}
    if len(questions := {index: ours[0][index].group or index for index in shared}) < 2:
        raise DataError(f"{len(shared)} items are judged by both scorers in both files; expected two questions or more")
    return crossed([by_cluster(excess, questions)[np.newaxis]])


def _with_bias(pair: Pair, bias: Interval) -> Pair:
    return replace(
        pair,
        scorer_bias=100 * bias.mean,
        scorer_bias_ci_low=100 * bias.low,
        scorer_bias_ci_high=100 * bias.high,
        is_within_scorer_bias=is_within_bias(pair.difference / 100, bias),
    )
