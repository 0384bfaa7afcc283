"""Intervals and tests for scores: per score, per pair of models, over groups, over benchmarks, over seeds.

Shapes: `items` is the number of questions, `seeds` the number of repeated runs. Shares are in [0, 1]; a caller turns
them into percent. Every random draw is seeded, so a table repeats. scipy and statsmodels are imported where they are
used: they take a second, and light code imports this module.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drift.errors import DataError

_CHUNK = 1_000_000


@dataclass(frozen=True)
class McNemar:
    """Items right in the first model alone and in the second alone; the p-value is exact and two-sided."""

    only_first: int
    only_second: int
    p_value: float


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval, and a two-sided p-value against zero where one was asked for."""

    mean: float
    low: float
    high: float
    n: int
    p_value: float | None = None


def wilson(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a share; unlike the normal one it stays in [0, 1] and is honest near its ends.

    Raises:
        DataError: n is below 1, or the successes are not in [0, n].
    """
    if n < 1 or not 0 <= successes <= n:
        raise DataError(f"{successes} successes out of {n}; expected n >= 1 and successes between 0 and n")
    from scipy.stats import norm

    # statsmodels' proportion_confint writes the same formula another way, and its last bit differs from the tables'.
    z = float(norm.ppf(0.5 + confidence / 2))
    share = successes / n
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    centre, scale = share + z * z / (2 * n), 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def mcnemar_exact(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Exact McNemar test on paired verdicts: only items on which the two models differ carry evidence.

    Raises:
        DataError: the two lists have different lengths or are empty.
    """
    from scipy.stats import binomtest

    a, b = _paired(first, second)
    only_first, only_second = int(np.sum((a == 1) & (b == 0))), int(np.sum((a == 0) & (b == 1)))
    differing = only_first + only_second
    p_value = float(binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0
    return McNemar(only_first, only_second, p_value)


def paired_bootstrap(
    first: Sequence[float], second: Sequence[float], resamples: int = 10_000, seed: int = 0, confidence: float = 0.95
) -> Interval:
    """Percentile interval of mean(second) - mean(first), items resampled in pairs.

    Raises:
        DataError: the two lists have different lengths or are empty.
    """
    a, b = _paired(first, second)
    difference = b - a
    rng = np.random.default_rng(seed)
    n = len(difference)
    means = np.empty(resamples)
    step = max(1, _CHUNK // n)
    for start in range(0, resamples, step):
        stop = min(resamples, start + step)
        means[start:stop] = difference[rng.integers(0, n, (stop - start, n))].mean(axis=1)
    return _percentiles(float(difference.mean()), means, n, confidence)


def cluster_bootstrap(
    groups: Sequence[str],
    statistic: Callable[[NDArray[np.int64]], float],
    resamples: int = 2_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic when whole groups, not items, are drawn.

    Args:
        groups: the group of each item, (items,).
        statistic: takes the indices of the drawn items (repeats included) to a number.
    Raises:
        DataError: no items.
    """
    if not groups:
        raise DataError("cluster_bootstrap got no items; expected at least one")
    members: dict[str, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    clusters = [np.array(positions, dtype=np.int64) for positions in members.values()]
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(clusters), (resamples, len(clusters)))
    values = np.array([statistic(np.concatenate([clusters[k] for k in draw])) for draw in draws])
    return _percentiles(statistic(np.arange(len(groups), dtype=np.int64)), values, len(clusters), confidence)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: comparing each to alpha keeps the family's error rate below it."""
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def seeds_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Student's t interval of a mean over seeds; infinite for a single seed, which says nothing about spread.

    Raises:
        DataError: no values.
    """
    if not len(values):
        raise DataError("seeds_interval got no values; expected one score a seed")
    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    error = float(np.std(values, ddof=1)) / math.sqrt(n)
    from scipy.stats import t

    # scipy's ttest_1samp gives the same interval but for its last bit, which committed tables hold.
    half = float(t.ppf(0.5 + confidence / 2, n - 1)) * error
    return Interval(mean, mean - half, mean + half, n)


def paired_over_seeds(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean of second - first over seeds, seed by seed, with a t interval and the paired t-test's p.

    Raises:
        DataError: the two lists have different lengths or are empty.
    """
    a, b = _paired(first, second)
    difference = b - a
    interval = seeds_interval([float(d) for d in difference], confidence)
    if len(difference) == 1:
        return replace(interval, p_value=1.0)
    error = float(np.std(difference, ddof=1)) / math.sqrt(len(difference))
    if error == 0.0:
        return replace(interval, p_value=1.0 if interval.mean == 0.0 else 0.0)
    from scipy.stats import t

    return replace(interval, p_value=float(2 * t.sf(abs(interval.mean) / error, len(difference) - 1)))


def detectable_difference(n: int, discordance: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest paired difference that McNemar's test on `n` items finds with the given power (Connor 1987).

    Args:
        n: number of paired items.
        discordance: share of items on which the two models differ, in (0, 1].
    Returns:
        A share; never above `discordance`, which bounds any difference.
    Raises:
        DataError: n below 1 or a discordance outside [0, 1].
    """
    if n < 1 or not 0 <= discordance <= 1:
        raise DataError(f"n={n}, discordance={discordance}; expected n >= 1 and a discordance in [0, 1]")
    from scipy.stats import norm

    z_alpha, z_beta = float(norm.ppf(1 - alpha / 2)), float(norm.ppf(power))
    low, high = 0.0, discordance
    for _ in range(60):
        middle = (low + high) / 2
        reached = middle * math.sqrt(n) - z_alpha * math.sqrt(discordance)
        if reached >= z_beta * math.sqrt(max(0.0, discordance - middle * middle)):
            high = middle
        else:
            low = middle
    return high


def _paired(first: Sequence[float], second: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if len(first) != len(second) or not len(first):
        raise DataError(f"{len(first)} values against {len(second)}; a paired test needs the same items, at least one")
    return np.asarray(first, dtype=float), np.asarray(second, dtype=float)


def _percentiles(mean: float, values: NDArray[np.float64], n: int, confidence: float) -> Interval:
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(mean, float(low), float(high), n)
