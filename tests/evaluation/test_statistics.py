"""Intervals and tests: known values, laws, and refusals."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_rel
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from drift.errors import DataError
from evaluation.statistics import (
    Interval,
    cluster_bootstrap,
    detectable_difference,
    holm,
    mcnemar_exact,
    paired_bootstrap,
    paired_over_seeds,
    seeds_interval,
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
