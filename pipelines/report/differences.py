"""What a row gains over the row it is compared with: the interval, the test, and what the scorer may have made of it.

Worlds are compared world by world, with a floor by their questions (pipelines.report.effects). Runs on the same
questions are compared question by question, over runs and questions at once; two models that were made once, over the
questions alone. No test is made of an artifact against itself, and none of a single world.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from drift.errors import DataError
from evaluation.statistics import ROUNDING, Interval, crossed, is_within_bias, mcnemar_exact
from pipelines.report.effects import Effect, over_worlds
from pipelines.report.numbers import Evidence, Numbers, parts
from pipelines.report.outcomes import Outcomes, outcomes, strata
from pipelines.report.sources import Run, Varies, varies
from pipelines.report.spec import AVERAGE

Pair = tuple[Run, Run]  # the row's run and the other row's


@dataclass(frozen=True)
class Difference:
    """A row's gain over the row it is compared with, in points.

    Args:
        varies: what the interval covers.
        pairs: how many different pairs of runs there are.
        bias: what the rules make of the difference beyond the judge, where both scored it.
    """

    column: str
    against: str
    interval: Interval
    paper: float | None
    varies: Varies
    pairs: int
    bias: Interval | None = None

    @property
    def is_resolved(self) -> bool:
        """Whether the interval excludes zero."""
        return math.isfinite(self.interval.low) and (self.interval.low > 0 or self.interval.high < 0)

    @property
    def is_the_scorers(self) -> bool:
        """Whether the rules and the judge differ by as much: the scorer can't resolve it."""
        return self.bias is not None and is_within_bias(self.interval.mean, self.bias)


def differences(evidence: Evidence, numbers: Numbers) -> dict[str, list[Difference]]:
    """Row label -> its gains per column, for rows that are compared; a row under its second name is left out.

    Raises:
        DataError: a row is paired with one that was not run, or the two were not run over the same seeds.
    """
    runs, by_rules = evidence.runs(), evidence.runs("rules")
    found = {}
    for label, against in evidence.table.pairings.items():
        if label not in numbers or not runs:
            continue
        if against not in numbers:
            raise DataError(f"{label!r} is compared with {against!r}, which was not run")
        pairs = _pairs(label, against, runs)
        if any(mine.mark == other.mark for mine, other in pairs) or _is_repeated(label, against, evidence):
            continue
        judged = [*zip(pairs, _pairs(label, against, by_rules), strict=True)] if by_rules else []
        row = []
        for mine, other in zip(numbers[label], numbers[against], strict=True):
            measured = parts(mine.column, evidence.table.columns)
            row.append(
                Difference(
                    mine.column,
                    against,
                    gain(pairs, mine.column, evidence.table.columns),
                    None if mine.paper is None or other.paper is None else mine.paper - other.paper,
                    varies([run for run, _ in pairs]),
                    len(pairs),
                    _bias(judged, measured) if judged else None,
                )
            )
        found[label] = row
    return found


def contrasts(evidence: Evidence, asked: Sequence[tuple[str, str]]) -> dict[str, list[Difference]]:
    """Row label -> what it has on average over other rows, for the pairs that were asked about and run alike."""
    runs, columns = evidence.runs(), evidence.table.columns
    found: dict[str, list[Difference]] = {}
    for first, second in asked:
        if first in runs and second in runs and len(runs[first]) == len(runs[second]):
            pairs = _pairs(first, second, runs)
            kind = varies([run for run, _ in pairs])
            each = Difference(AVERAGE, second, gain(pairs, AVERAGE, columns), None, kind, len(pairs))
            found.setdefault(first, []).append(each)
    return found


def _pairs(label: str, against: str, runs: Mapping[str, Sequence[Run]]) -> list[Pair]:
    """The different pairs of runs, seed by seed."""
    mine, other = runs[label], runs[against]
    if len(mine) != len(other):
        raise DataError(f"{label!r} has {len(mine)} seeds, {against!r} has {len(other)}")
    return list({(a.mark, b.mark): (a, b) for a, b in zip(mine, other, strict=True)}.values())


def _is_repeated(label: str, against: str, evidence: Evidence) -> bool:
    """Whether the row's first name is compared with the same row already."""
    first = evidence.twins.get(label)
    return first is not None and evidence.table.pairings.get(first) == against


def gain(pairs: Sequence[Pair], column: str, columns: Sequence[str]) -> Interval:
    """What the first run of each pair has over the second, in points; `columns` are those of an average.

    Over worlds, or over runs and questions; infinite for one world.
    """
    measured = parts(column, columns)
    if varies([mine for mine, _ in pairs]) != "worlds":
        return gain_over_questions(pairs, column, columns)
    added = [strata([each]) for each in _gains(pairs, measured)]
    effects = [Effect.of([np.ravel(stratum) for stratum in each]) for each in added]
    interval = over_worlds(effects)
    if interval.high - interval.low < ROUNDING:
        # Equal in every world and in every question: as wide as if one question in each way were not.
        worlds = [stratum / len(pairs) for each in added for stratum in each]
        loose = crossed(worlds)
        interval = replace(loose, low=max(loose.low, -1.0), high=min(loose.high, 1.0), n=len(pairs))
    return _percent(interval)


def gain_over_questions(pairs: Sequence[Pair], column: str, columns: Sequence[str]) -> Interval:
    """The same over the questions that all runs answered, and over the runs where there are several."""
    return _percent(_over_questions(_gains(pairs, parts(column, columns))))


def _gains(pairs: Sequence[Pair], measured: Sequence[str]) -> list[dict[str, Outcomes]]:
    return [{part: outcomes(mine, part).minus(outcomes(other, part)) for part in measured} for mine, other in pairs]


def _over_questions(gains: Sequence[Mapping[str, Outcomes]]) -> Interval:
    """The crossed interval; its p is McNemar's, exact, where one model is compared with one, item by item."""
    interval = crossed(strata(gains))
    (first, *others) = gains[0].values()
    if len(gains) > 1 or others or not first.is_binary_by_item:
        return interval
    changes = list(first.values.values())
    return replace(interval, p_value=mcnemar_exact([c < 0 for c in changes], [c > 0 for c in changes]).p_value)


def _bias(judged: Sequence[tuple[Pair, Pair]], measured: Sequence[str]) -> Interval:
    """In points: the difference by the rules minus that by the judge, question by question."""
    by_judge, by_rules = ([pairs[place] for pairs in judged] for place in (0, 1))
    gains = zip(_gains(by_rules, measured), _gains(by_judge, measured), strict=True)
    return _percent(crossed(strata([{part: a[part].minus(b[part]) for part in a} for a, b in gains])))


def _percent(shares: Interval) -> Interval:
    return replace(shares, mean=100 * shares.mean, low=100 * shares.low, high=100 * shares.high)
