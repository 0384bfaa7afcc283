"""What a claim about two methods comes to: its effect over worlds, a verdict, and the worlds that a verdict would take.

An effect is the mean over worlds of what one method scores beyond another on the same questions. Each world brings its
own questions, so its effect varies with both; the interval is Student's over the worlds' effects and never narrower
than two thirds of what the questions alone leave open: three worlds that agree by luck prove nothing. Two thirds is as
far as the floor can go with coverage between 93 and 97% at 3, 5 and 15 worlds (tests/pipelines/test_claims.py).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from drift.errors import DataError
from evaluation.statistics import Interval, holm, level_left, power_of_t, samples_needed

Expected = Literal["better", "worse", "equal", "not worse"]
Verdict = Literal["holds", "does not hold", "equivalent", "unresolved"]
Strata = Sequence[NDArray[np.float64]]
"""What each question adds to the metric, in [-1, 1], one array a benchmark: (questions,); their sums add up."""

LEVEL = 0.05
FLOOR = 2 / 3
_POWER = 0.8


@dataclass(frozen=True)
class Effect:
    """What one world says, as a share in [-1, 1], and the variance that its questions alone give that."""

    value: float
    sampling: float
    questions: int

    @classmethod
    def of(cls, strata: Strata) -> "Effect":
        """From what each question adds.

        Raises:
            DataError: no benchmark, or one with fewer than two questions.
        """
        sizes = [len(stratum) for stratum in strata]
        if not sizes or min(sizes) < 2:
            raise DataError(f"benchmarks of {sizes} questions; an effect needs one or more, of two or more questions")
        scatter = sum(float(np.var(stratum, ddof=1)) * len(stratum) for stratum in strata)
        return cls(float(sum(stratum.sum() for stratum in strata)), scatter, sum(sizes))


@dataclass(frozen=True)
class Finding:
    """A claim's answer; effects are shares in [-1, 1].

    Attributes:
        effects: each world's.
        p_holm: two-sided against no effect, adjusted over all claims.
        power: the chance that this family resolves an effect as large as the smallest that matters.
        worlds_needed: for four chances in five of a verdict, were the effect what was seen: that this family resolves
            it, or that its interval lies within what does not matter. None where there is a verdict, or no spread.
    """

    interval: Interval
    effects: tuple[float, ...]
    p_holm: float
    verdict: Verdict
    questions: int
    power: float | None
    worlds_needed: int | None


def over_worlds(effects: Sequence[Effect], confidence: float = 0.95) -> Interval:
    """The mean effect with its interval, which ends where effects do, and p-value; infinite, and p = 1, for one world.

    Raises:
        DataError: no effects.
    """
    if not effects:
        raise DataError("no world's effect; expected one a world")
    from scipy.special import ndtr, ndtri, stdtr, stdtrit  # fifty times as fast as scipy.stats has them

    values = [effect.value for effect in effects]
    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return Interval(mean, -math.inf, math.inf, 1, 1.0)
    spread, floor = _errors(effects)
    tail = (1 - confidence) / 2
    half = -min(float(stdtrit(n - 1, tail)) * spread, float(ndtri(tail)) * floor)
    parts = [2 * float(stdtr(n - 1, -abs(mean) / spread)) if spread else 0.0]
    parts += [2 * float(ndtr(-abs(mean) / floor)) if floor else 0.0]
    p = 1.0 if half == 0.0 else max(*parts, 1e-150)
    return Interval(mean, max(mean - half, -1.0), min(mean + half, 1.0), n, p)


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
    level = level_left(adjusted, LEVEL)
    return {name: _finding(intervals[name], p, level, *claims[name]) for name, p in zip(claims, adjusted, strict=True)}


def _finding(
    interval: Interval, p_holm: float, level: float, effects: Sequence[Effect], expected: Expected, smallest: float
) -> Finding:
    """One claim's answer; at `level` the family would resolve its next test."""
    found = verdict(interval, p_holm, expected, smallest)
    room = smallest + interval.mean if expected == "not worse" else smallest - abs(interval.mean)
    is_open = found == "unresolved" and len(effects) > 1
    return Finding(
        interval,
        tuple(effect.value for effect in effects),
        p_holm,
        found,
        sum(effect.questions for effect in effects),
        _power(effects, smallest, level) if len(effects) > 1 else None,
        _needed(effects, interval.mean, room, level) if is_open else None,
    )


def _errors(effects: Sequence[Effect]) -> tuple[float, float]:
    """The standard error by the spread of the worlds, and the floor under it by their questions."""
    n = len(effects)
    spread = float(np.std([effect.value for effect in effects], ddof=1)) / math.sqrt(n)
    return spread, FLOOR * math.sqrt(float(np.mean([effect.sampling for effect in effects])) / n)


def _power(effects: Sequence[Effect], size: float, level: float) -> float | None:
    error = max(_errors(effects))
    return power_of_t(size / error, len(effects), level) if error else None


def _needed(effects: Sequence[Effect], mean: float, room: float, level: float) -> int | None:
    """The shorter of two ways: the mean is told from none, or its interval takes no more than the room that it has."""
    deviation = max(_errors(effects)) * math.sqrt(len(effects))
    ways = samples_needed(deviation, mean, _POWER, level), samples_needed(deviation, max(0.0, room), _POWER, LEVEL)
    needed = min((worlds for worlds in ways if worlds), default=0)
    return max(len(effects) + 1, needed) if needed else None
