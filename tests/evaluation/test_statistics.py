"""Intervals and tests: known values, laws, and refusals."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_rel
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint

from drift.errors import DataError
from evaluation.statistics import (
    Interval,
    bounded,
    cluster_bootstrap,
    crossed,
    detectable_difference,
    holm,
    level_left,
    mcnemar_exact,
    paired_bootstrap,
    paired_over_seeds,
    power_of_t,
    samples_needed,
    seeds_interval,
    share_over_worlds,
    signed_rank,
    wilson,
)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (341, 1000), (10, 10), (5, 447)])
def test_wilson_equals_statsmodels(right, n):
    assert wilson(right, n) == pytest.approx(proportion_confint(right, n, method="wilson"))


def test_wilson_half_width_at_the_papers_mathvista_score_is_2_8_points():
    low, high = wilson(707, 1000)
    assert 100 * (high - low) / 2 == pytest.approx(2.8, abs=0.05)


def test_mcnemar_equals_statsmodels_and_ignores_items_on_which_models_agree():
    first = [True] * 9 + [False] * 2 + [True] * 50
    second = [False] * 9 + [True] * 2 + [True] * 50
    test = mcnemar_exact(first, second)
    assert (test.only_first, test.only_second) == (9, 2)
    assert test.p_value == pytest.approx(mcnemar([[50, 9], [2, 0]], exact=True).pvalue)
    assert mcnemar_exact(first[:11], second[:11]).p_value == test.p_value


def test_paired_bootstrap_covers_the_normal_interval_of_the_mean_difference_and_repeats():
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 2, 800), rng.integers(0, 2, 800)
    interval = paired_bootstrap(list(first), list(second))
    half = 1.96 * np.std(second - first) / math.sqrt(800)
    assert interval.mean == pytest.approx(np.mean(second - first))
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.06)
    assert paired_bootstrap(list(first), list(second)) == interval
    assert paired_bootstrap(list(first), list(second), seed=1) != interval


def test_cluster_bootstrap_is_wider_when_the_items_of_a_group_share_their_verdict():
    groups = [str(k // 4) for k in range(400)]
    verdicts = np.repeat(np.random.default_rng(0).integers(0, 2, 100), 4).astype(float)
    clustered = cluster_bootstrap(groups, lambda drawn: float(verdicts[drawn].mean()))
    single = cluster_bootstrap([str(k) for k in range(400)], lambda drawn: float(verdicts[drawn].mean()))
    assert (clustered.high - clustered.low) / (single.high - single.low) == pytest.approx(2.0, rel=0.15)


def test_the_bootstraps_draw_by_their_seed():
    verdicts = np.random.default_rng(0).integers(0, 2, 60).astype(float)
    groups = [str(k // 3) for k in range(60)]

    def interval(seed: int) -> Interval:
        return cluster_bootstrap(groups, lambda drawn: float(verdicts[drawn].mean()), 200, seed)

    assert interval(1) == interval(1)
    assert interval(1) != interval(2)


def test_holm_of_a_worked_example():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_seeds_interval_is_students_and_one_seed_says_nothing():
    interval = seeds_interval([1.0, 2.0, 3.0])
    assert (interval.low, interval.high) == pytest.approx(
        (2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), rel=1e-4
    )
    assert math.isinf(seeds_interval([1.0]).high)


def test_paired_over_seeds_takes_differences_seed_by_seed():
    interval = paired_over_seeds([10.0, 20.0, 30.0, 40.0], [11.0, 21.5, 31.0, 41.5])
    assert interval.mean == pytest.approx(1.25)
    assert interval.p_value == pytest.approx(ttest_rel([10, 20, 30, 40], [11, 21.5, 31, 41.5]).pvalue)


def test_detectable_difference_shrinks_with_the_root_of_n_and_stays_below_the_discordance():
    assert detectable_difference(1000, 0.2) == pytest.approx(0.039, abs=0.001)
    assert detectable_difference(4000, 0.2) == pytest.approx(detectable_difference(1000, 0.2) / 2, rel=0.01)
    assert detectable_difference(5, 0.1) == pytest.approx(0.1)


def test_impossible_inputs_are_refused():
    with pytest.raises(DataError, match="11 successes out of 10"):
        wilson(11, 10)
    with pytest.raises(DataError, match="3 values against 2"):
        mcnemar_exact([True] * 3, [True] * 2)
    with pytest.raises(DataError, match="no items"):
        cluster_bootstrap([], lambda drawn: 0.0)


def test_no_p_value_is_zero():
    assert mcnemar_exact([True] * 3000, [False] * 3000).p_value > 0.0
    assert crossed([np.full((1, 50), 0.02)]).p_value > 0.0


def test_equal_differences_say_nothing_of_their_spread():
    interval = paired_over_seeds([1.0, 2.0, 3.0], [3.0, 4.0, 5.0])
    assert (interval.mean, interval.p_value) == (2.0, 1.0)
    assert math.isinf(interval.high)


def test_a_share_over_worlds_stays_between_0_and_1_and_agreeing_worlds_have_wilsons_interval():
    narrow = share_over_worlds([0.97, 0.99, 1.0], 300)
    assert 0.0 < narrow.low < narrow.mean < narrow.high < 1.0
    assert seeds_interval([0.97, 0.99, 1.0]).high > 1.0
    perfect = share_over_worlds([1.0, 1.0, 1.0], 300)
    assert (perfect.low, perfect.high) == pytest.approx(wilson(300, 300))
    with pytest.raises(DataError, match=r"1 world\(s\); an interval over worlds needs two"):
        share_over_worlds([0.5], 100)


def test_one_run_over_singletons_has_the_interval_of_a_mean_and_runs_add_what_they_vary():
    values = np.random.default_rng(0).integers(0, 2, 400).astype(float)
    single = crossed([values[np.newaxis] / 400])
    mean = seeds_interval([float(v) for v in values])
    assert (single.low, single.high) == pytest.approx((mean.low, mean.high))
    shifted = crossed([np.array([values + shift for shift in (-0.1, 0.0, 0.1)]) / 400])
    assert shifted.mean == pytest.approx(single.mean)
    assert shifted.high - shifted.low > 2 * (single.high - single.low)
    assert crossed([np.array([values] * 3) / 400]).high == pytest.approx(single.high)


def test_the_strata_of_a_mean_of_two_benchmarks_add_up():
    rng = np.random.default_rng(1)
    first, second = rng.normal(0.2, 1.0, 300), rng.normal(0.4, 1.0, 100)
    both = crossed([first[np.newaxis] / 300 / 2, second[np.newaxis] / 100 / 2])
    expected = math.sqrt(first.var(ddof=1) / 300 + second.var(ddof=1) / 100) / 2
    assert both.mean == pytest.approx((first.mean() + second.mean()) / 2)
    assert (both.high - both.low) / 2 == pytest.approx(1.966 * expected, rel=0.001)


def test_questions_that_no_model_tells_apart_leave_a_width():
    interval = crossed([np.zeros((1, 100))])
    assert (interval.mean, interval.p_value) == (0.0, 1.0)
    assert interval.high == pytest.approx(1.984 * math.sqrt(2) / 102, rel=0.001)
    with pytest.raises(DataError, match="two or more questions each"):
        crossed([np.zeros((1, 1))])


def test_a_share_s_interval_is_laid_around_its_log_odds():
    moved = bounded(Interval(0.95, 0.85, 1.05, 40))
    assert moved.high < 1.0
    assert moved.low < 0.85
    assert bounded(Interval(1.0, 0.9, 1.1, 40)).high == 1.0


def worlds(rng: np.random.Generator, count: int, mean: float, spread: float, items: int = 100) -> np.ndarray:
    """Shares of right items in worlds whose log odds vary."""
    return rng.binomial(items, 1 / (1 + np.exp(-rng.normal(mean, spread, count)))) / items


def coverage_of_scores(count: int, mean: float, spread: float, draws: int) -> float:
    rng = np.random.default_rng(count)
    truth = np.mean(1 / (1 + np.exp(-rng.normal(mean, spread, 400_000))))
    found = (share_over_worlds(list(worlds(rng, count, mean, spread)), 100 * count) for _ in range(draws))
    return float(np.mean([interval.low <= truth <= interval.high for interval in found]))


def coverage_of_differences(count: int, mean: float, gain: float, draws: int) -> float:
    """Paired worlds: each has its own level, its own gain, and items of its own."""
    rng = np.random.default_rng(count)

    def pair(number: int) -> tuple[np.ndarray, np.ndarray]:
        level, more = rng.normal(mean, 0.6, number), rng.normal(gain, 0.3, number)
        return 1 / (1 + np.exp(-level)), 1 / (1 + np.exp(-level - more))

    before, after = pair(400_000)
    truth, hits = float(np.mean(after - before)), 0
    for _ in range(draws):
        first, second = (rng.binomial(100, p) / 100 for p in pair(count))
        interval = paired_over_seeds(list(first), list(second))
        hits += interval.low <= truth <= interval.high
    return hits / draws


def coverage_of_runs(runs: int, spread: float, draws: int) -> float:
    """Runs that differ by `spread`, on the same 150 questions, which are of unequal difficulty."""
    rng, hits = np.random.default_rng(runs), 0
    for _ in range(draws):
        noise = rng.normal(0, 0.4, (runs, 150)) + rng.normal(0, spread, (runs, 1)) + rng.normal(0, 0.3, 150)
        interval = crossed([(0.05 + noise) / 150])
        hits += interval.low <= 0.05 <= interval.high
    return hits / draws


WORLDS = [(3, 0.0, 0.6), (5, 1.5, 0.5), (15, 2.5, 0.5)]
MORE_WORLDS = [(count, mean, spread) for count in (3, 5, 15) for mean, spread in ((0.0, 0.3), (0.8, 0.8), (2.5, 0.5))]


@pytest.mark.parametrize(("count", "mean", "spread"), WORLDS)
def test_95_percent_intervals_over_worlds_cover_93_to_97_times_in_a_hundred(count, mean, spread):
    assert 0.93 <= coverage_of_scores(count, mean, spread, 1500) <= 0.97
    assert 0.93 <= coverage_of_differences(count, mean, 0.5, 1500) <= 0.97


@pytest.mark.parametrize(("runs", "spread"), [(1, 0.0), (3, 0.05)])
def test_95_percent_intervals_over_runs_and_questions_cover_93_to_97_times_in_a_hundred(runs, spread):
    assert 0.93 <= coverage_of_runs(runs, spread, 1500) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize(("count", "mean", "spread"), MORE_WORLDS)
def test_coverage_over_worlds_at_length(count, mean, spread):
    assert 0.935 <= coverage_of_scores(count, mean, spread, 10_000) <= 0.965
    assert 0.935 <= coverage_of_differences(count, mean, spread, 10_000) <= 0.965


@pytest.mark.slow
@pytest.mark.parametrize(("runs", "spread"), [(1, 0.0), (3, 0.0), (3, 0.02), (3, 0.1), (5, 0.03)])
def test_coverage_over_runs_at_length(runs, spread):
    assert 0.93 <= coverage_of_runs(runs, spread, 10_000) <= 0.97


@pytest.mark.parametrize("size", [0.2, -0.5, 0.8, 1.5])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 30])
def test_the_samples_that_an_effect_needs_are_those_of_statsmodels(size, alpha):
    needed = samples_needed(2.0, 2.0 * size, alpha=alpha)
    assert needed == math.ceil(TTestPower().solve_power(abs(size), alpha=alpha, power=0.8))


def test_few_samples_of_a_large_effect_are_not_thought_to_be_enough():
    """A normal law would have two do, whose t-test at this level wants 114 standard errors."""
    assert samples_needed(1.0, 4.7, alpha=0.0056) == 4
    draws = np.random.default_rng(0).normal(4.7, 1.0, (20_000, 4))
    resolved = abs(draws.mean(1) / (draws.std(1, ddof=1) / 2)) > 7.165
    assert power_of_t(4.7 * 2, 4, 0.0056) == pytest.approx(resolved.mean(), abs=0.01)


def test_an_effect_of_no_size_or_of_no_spread_needs_no_number_of_samples():
    assert samples_needed(1.0, 0.0) is None
    assert samples_needed(0.0, 1.0) is None


def test_what_lies_below_the_level_left_is_what_holm_resolves_next():
    values = [1e-4, 0.02, 0.03, 0.5]
    left = level_left(holm(values))
    assert left == pytest.approx(0.05 / 3)
    for p, is_resolved in ((left * 0.99, True), (left * 1.01, False)):
        assert (holm([1e-4, p, 0.03, 0.5])[1] < 0.05) is is_resolved
    assert level_left([1e-4]) == 0.05


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_values_that_differ_by_rounding_alone_have_no_spread(scale):
    """As 275 of 300 items in each of three worlds, summed in another order in each."""
    shares = [scale * 11 / 12, float(np.nextafter(scale * 11 / 12, 0.0)), float(np.nextafter(scale * 11 / 12, 101.0))]
    found = paired_over_seeds([0.0] * 3, shares)
    assert (found.low, found.high, found.p_value) == (-math.inf, math.inf, 1.0)
    if scale == 1.0:
        assert share_over_worlds(shares, 900).high - share_over_worlds(shares, 900).low > 0.03


def test_a_signed_rank_test_is_of_signs_and_ranks_alone():
    """All of 15 above zero: 2 of 2^15 equally likely patterns of signs are as far out."""
    assert signed_rank([float(k) for k in range(1, 16)]) == pytest.approx(2 / 2**15)
    assert signed_rank([float(k) for k in range(1, 15)] + [1e9]) == pytest.approx(2 / 2**15)
    assert signed_rank([0.0, 0.0]) == 1.0
