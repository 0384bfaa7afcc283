"""What a claim about two methods comes to: a verdict on its effect over worlds, and the worlds that one would take."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from evaluation.statistics import Interval, holm, level_left, power_of_t, samples_needed, signed_rank
from pipelines.report.effects import LEVEL, Effect, errors, over_worlds

Expected = Literal["better", "worse", "equal", "not worse"]
Verdict = Literal["holds", "does not hold", "equivalent", "unresolved"]
_POWER = 0.8


@dataclass(frozen=True)
class Finding:
    """A claim's answer; effects are shares in [-1, 1].

    Attributes:
        effects: each world's.
        p_holm: two-sided against no effect, adjusted over all claims.
        p_ranks: the same by Wilcoxon's signed-rank test over worlds; it decides nothing.
        power: the chance that this family resolves an effect as large as the smallest that matters.
        worlds_needed: for four chances in five of a verdict, were the effect what was seen: that this family resolves
            it, or that its interval lies within what does not matter. None where there is a verdict, or no spread.
    """

    interval: Interval
    effects: tuple[float, ...]
    p_holm: float
    p_ranks: float
    verdict: Verdict
    questions: int
    power: float | None
    worlds_needed: int | None


def verdict(interval: Interval, p_holm: float, expected: Expected, smallest: float) -> Verdict:
    """What an effect says of a claim.

    `better` and `worse` hold, or do not, where the effect is resolved (p_holm below 5%); an interval within
    the smallest effect that matters makes the two equivalent. `equal` holds within it. `not worse` holds
    where the interval lies above minus the smallest effect.
    """
    sign = -1.0 if expected == "worse" else 1.0
    is_resolved, is_within = p_holm < LEVEL, -smallest < interval.low and interval.high < smallest
    if expected == "equal":
        return "holds" if is_within else "does not hold" if is_resolved else "unresolved"
    if expected == "not worse":
        is_lost = is_resolved and interval.mean < 0
        return "holds" if interval.low > -smallest else "does not hold" if is_lost else "unresolved"
    if is_resolved:
        return "holds" if sign * interval.mean > 0 else "does not hold"
    return "equivalent" if is_within else "unresolved"


def findings(claims: Mapping[str, tuple[Sequence[Effect], Expected, float]]) -> dict[str, Finding]:
    """Every claim's answer, p-values adjusted over all of them as one family (Holm 1979).

    Args:
        claims: name -> its worlds' effects, what is expected, and the smallest effect that matters (a share).
    """
    intervals = {name: over_worlds(effects) for name, (effects, _, _) in claims.items()}
    adjusted = holm([interval.p_value or 1.0 for interval in intervals.values()])
    by_ranks = holm([signed_rank([effect.value for effect in effects]) for effects, _, _ in claims.values()])
    level = level_left(adjusted, LEVEL)
    return {
        name: _finding(intervals[name], (p, ranks), level, *claims[name])
        for name, p, ranks in zip(claims, adjusted, by_ranks, strict=True)
    }


def _finding(
    interval: Interval,
    ps: tuple[float, float],
    level: float,
    effects: Sequence[Effect],
    expected: Expected,
    smallest: float,
) -> Finding:
    """One claim's answer; at `level` the family would resolve its next test."""
    found = verdict(interval, ps[0], expected, smallest)
    room = smallest + interval.mean if expected == "not worse" else smallest - abs(interval.mean)
    is_open = found == "unresolved" and len(effects) > 1
    return Finding(
        interval,
        tuple(effect.value for effect in effects),
        *ps,
        found,
        sum(effect.questions for effect in effects),
        _power(effects, smallest, level) if len(effects) > 1 else None,
        _needed(effects, interval.mean, room, level) if is_open else None,
    )


def _power(effects: Sequence[Effect], size: float, level: float) -> float | None:
    error = max(errors(effects))
    return power_of_t(size / error, len(effects), level) if error else None


def _needed(effects: Sequence[Effect], mean: float, room: float, level: float) -> int | None:
    """The shorter of two ways: the mean is told from none, or its interval takes no more than the room that it has."""
    deviation = max(errors(effects)) * math.sqrt(len(effects))
    ways = samples_needed(deviation, mean, _POWER, level), samples_needed(deviation, max(0.0, room), _POWER, LEVEL)
    needed = min((worlds for worlds in ways if worlds), default=0)
    return max(len(effects) + 1, needed) if needed else None
