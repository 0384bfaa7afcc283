"""Intervals and tests for scores: per score, per pair of models, over groups, over benchmarks, over what varies.

Shapes: `items` is the number of items, `seeds` and `runs` of repeated runs, `clusters` of questions, whose versions
stay together. Shares are in [0, 1]; a caller turns them into percent. Every random draw is seeded, so a table repeats,
and no p-value is 0. scipy and statsmodels are imported where they are used: they take a second, and light code imports
this module.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from drift.errors import DataError

_CHUNK = 1_000_000
_SMALLEST_P = 1e-150  # no p-value is 0, and what is smaller is not told apart
ROUNDING = 1e-9  # far under what one item of a million is worth, and far over what sums of floats lose
_LARGE = 1_000  # samples, of which Student's law is as good as normal


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
    return McNemar(only_first, only_second, max(p_value, _SMALLEST_P))


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
    # scipy's ttest_1samp gives the same interval but for its last bit, which committed tables hold.
    half = _t_quantile(confidence, n - 1) * standard_error(values)
    return Interval(mean, mean - half, mean + half, n)


def share_over_worlds(shares: Sequence[float], items: int, confidence: float = 0.95) -> Interval:
    """Student's t interval of a mean share over worlds, taken for its log odds (the delta method): it stays in [0, 1].

    The t interval of the mean itself leaves [0, 1] and covers too seldom near its ends (at 96% in three worlds: 90%).

    Args:
        shares: one a world, two or more.
        items: of all worlds together; worlds that agree to the last item are judged by Wilson's interval over these.
    Raises:
        DataError: fewer than two worlds.
    """
    if len(shares) < 2:
        raise DataError(f"{len(shares)} world(s); an interval over worlds needs two or more")
    mean, error = float(np.mean(shares)), standard_error(shares)
    if error == 0.0:
        return Interval(mean, *wilson(mean * items, items, confidence), len(shares))
    return Interval(mean, *_in_unit(mean, error * _t_quantile(confidence, len(shares) - 1)), len(shares))


def paired_over_seeds(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean of second - first over seeds, seed by seed, with a t interval and the paired t-test's p.

    Differences that are all equal say nothing of their spread: the interval is infinite and p is 1, as for one seed.

    Raises:
        DataError: the two lists have different lengths or are empty.
    """
    a, b = _paired(first, second)
    difference = [float(each) for each in b - a]
    mean, n = float(np.mean(difference)), len(difference)
    error = standard_error(difference) if n > 1 else 0.0
    if error == 0.0:
        return Interval(mean, -math.inf, math.inf, n, 1.0)
    from scipy.stats import t

    half, p_value = error * _t_quantile(confidence, n - 1), float(2 * t.sf(abs(mean) / error, n - 1))
    return Interval(mean, mean - half, mean + half, n, max(p_value, _SMALLEST_P))


def crossed(strata: Sequence[NDArray[np.float64]], confidence: float = 0.95) -> Interval:
    """Interval and test of a mean over runs and over questions, when every run answered the same questions.

    Both are taken as drawn at random: Var = V_questions + V_runs, with V_runs = max(0, V_totals - V_both), a two-way
    random-effects analysis of variance by its moments (Obuchowski and Rockette 1995). The half width is the root of the
    summed squares of both parts' t half widths (Howe 1974): three runs stay three, whatever the number of questions,
    where Satterthwaite's degrees of freedom cover 92% of the time. With one run it is the cluster-robust interval of a
    mean (Liang and Zeger 1986) and says nothing about another run.

    Args:
        strata: one array a benchmark, (runs, clusters): what each question adds to the run's value, so that a run's
            value is the sum of its entries in all strata. Questions are independent, also between strata.
    Returns:
        The mean over runs; `n` is the number of questions.
    Raises:
        DataError: no strata, or a stratum with fewer than two questions, or with other runs than the first.
    """
    shapes = [stratum.shape for stratum in strata]
    if not shapes or min(shape[1] for shape in shapes) < 2 or len({shape[0] for shape in shapes}) > 1:
        raise DataError(f"strata of (runs, questions) {shapes}; expected the same runs and two or more questions each")
    runs, questions = shapes[0][0], sum(shape[1] for shape in shapes)
    totals = sum(stratum.sum(axis=1) for stratum in strata)
    by_question, by_run = sum(_scatter(stratum.mean(axis=0)) for stratum in strata), 0.0
    if runs > 1:
        both = sum(_scatter(row) for stratum in strata for row in stratum - stratum.mean(axis=0)) / (runs * (runs - 1))
        by_run = max(0.0, standard_error(totals) ** 2 - both)
    if by_question + by_run < ROUNDING**2:
        # No question tells the two apart: as wide as if one each way did (Bonett and Price 2012).
        by_question = 2 / (questions + 2) ** 2
    parts = ((by_question, questions - len(strata)), (by_run, runs - 1))
    mean, half = float(np.mean(totals)), _half_width(parts, 1 - confidence)
    return Interval(mean, mean - half, mean + half, questions, _p_value(abs(mean), parts))


def bounded(interval: Interval) -> Interval:
    """A symmetric interval of a share, laid around its log odds instead (the delta method): it stays in [0, 1].

    A share of exactly 0 or 1 has no log odds; its interval is cut at the ends.
    """
    low, high = _in_unit(interval.mean, (interval.high - interval.low) / 2)
    return replace(interval, low=low, high=high)


def by_cluster(values: Mapping[str, float], clusters: Mapping[str, str]) -> NDArray[np.float64]:
    """What each cluster adds to the mean of `values`, in the order in which clusters appear, (clusters,)."""
    sums: dict[str, float] = {}
    for unit, value in values.items():
        sums[clusters[unit]] = sums.get(clusters[unit], 0.0) + value
    return np.array(list(sums.values())) / len(values)


def is_within_bias(difference: float, bias: Interval) -> bool:
    """Whether a difference is no larger than what the scorer alone may have made of it: its sign is not resolved."""
    return abs(difference) <= max(abs(bias.low), abs(bias.high))


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


def signed_rank(differences: Sequence[float]) -> float:
    """Wilcoxon's two-sided p-value for differences that lie evenly around zero; 1 where all are 0."""
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences).pvalue) if any(differences) else 1.0


def power_of_t(shift: float, n: int, alpha: float = 0.05) -> float:
    """The chance that a two-sided t-test of n samples resolves an effect `shift` standard errors from zero."""
    from scipy.stats import nct, t

    edge = float(t.ppf(1 - alpha / 2, n - 1))
    return float(nct.sf(edge, n - 1, shift) + nct.sf(edge, n - 1, -shift))


def samples_needed(deviation: float, size: float, power: float = 0.8, alpha: float = 0.05) -> int | None:
    """How many samples of an effect it takes for a two-sided t-test to tell one of this size from none.

    Args:
        deviation: standard deviation of a sample, in the unit of `size`.
        size: the effect that is to be resolved, above or below zero.
    Returns:
        Two or more; None where the deviation or the size is 0, since then no number says anything.
    """
    if not (deviation and size):
        return None
    from scipy.special import ndtri

    of_one = abs(size) / deviation
    n = max(2, math.ceil((float(ndtri(1 - alpha / 2) + ndtri(power)) / of_one) ** 2))  # what a normal law would take
    while n < _LARGE and power_of_t(of_one * math.sqrt(n), n, alpha) < power:
        n += 1
    return n


def level_left(adjusted: Sequence[float], alpha: float = 0.05) -> float:
    """The p-value below which the next test of a family would be resolved: alpha over the tests that Holm left open.

    Args:
        adjusted: Holm's p-values of the whole family.
    Returns:
        `alpha` where no test is open.
    """
    return alpha / max(1, sum(p >= alpha for p in adjusted))


def _paired(first: Sequence[float], second: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if len(first) != len(second) or not len(first):
        raise DataError(f"{len(first)} values against {len(second)}; a paired test needs the same items, at least one")
    return np.asarray(first, dtype=float), np.asarray(second, dtype=float)


def standard_error(values: Sequence[float]) -> float:
    """Of a mean; 0 where values differ by no more than rounding, which is no spread."""
    if np.ptp(values) < ROUNDING:
        return 0.0
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))


def _scatter(added: NDArray[np.float64]) -> float:
    """Variance of a sum over questions drawn at random, (clusters,)."""
    return float(np.square(added - added.mean()).sum()) * len(added) / (len(added) - 1)


@cache
def _t_quantile(confidence: float, degrees: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + confidence / 2, degrees))


def _half_width(parts: Sequence[tuple[float, int]], alpha: float) -> float:
    """Of the interval at level 1 - alpha of a sum of independent parts, each a variance and its degrees of freedom."""
    from scipy.special import stdtrit  # Student's quantile, fifty times as fast as scipy.stats has it

    return math.sqrt(sum(variance * float(stdtrit(free, alpha / 2)) ** 2 for variance, free in parts if variance > 0.0))


def _p_value(distance: float, parts: Sequence[tuple[float, int]]) -> float:
    """The level at which the interval just reaches zero."""
    from scipy.optimize import brentq

    if distance == 0.0:
        return 1.0
    if _half_width(parts, _SMALLEST_P) <= distance:
        return _SMALLEST_P
    return math.exp(brentq(lambda x: _half_width(parts, math.exp(x)) - distance, math.log(_SMALLEST_P), 0.0))


def _in_unit(mean: float, half: float) -> tuple[float, float]:
    """mean -+ half with the half width taken over to log odds, where mean is neither 0 nor 1."""
    if not 0.0 < mean < 1.0:
        return max(0.0, mean - half), min(1.0, mean + half)
    odds, width = math.log(mean / (1 - mean)), half / (mean * (1 - mean))
    low, high = (0.5 * (1 + math.tanh(x / 2)) for x in (odds - width, odds + width))  # the logistic, never overflowing
    return low, high


def _percentiles(mean: float, values: NDArray[np.float64], n: int, confidence: float) -> Interval:
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(mean, float(low), float(high), n)
