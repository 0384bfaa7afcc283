"""Claims: effects from what questions add, an interval that covers as often as it says, verdicts, refusals."""

import math

import numpy as np
import pytest

from drift.errors import DataError
from evaluation.statistics import Interval, paired_over_seeds, samples_needed
from pipelines.report.effects import Effect, over_worlds
from pipelines.study.claims import findings, verdict

RNG = np.random.default_rng(0)


def effects(values, sampling=0.0, questions=100):
    return [Effect(value, sampling, questions) for value in values]


def test_an_effect_is_the_sum_of_what_questions_add_and_knows_their_scatter():
    suites = [np.array([1, 0, -1, 1]) / 4 / 2, np.array([1, 1, 0, 0, 1]) / 5 / 2]
    effect = Effect.of(suites)
    assert effect.value == pytest.approx((0.25 + 0.6) / 2)
    expected = sum(np.var(2 * suite * len(suite), ddof=1) / len(suite) for suite in suites) / 4
    assert (effect.sampling, effect.questions) == (pytest.approx(expected), 9)


def test_without_sampling_noise_the_interval_is_the_paired_t_interval():
    values = [0.03, 0.10, 0.05, 0.02]
    found, expected = over_worlds(effects(values)), paired_over_seeds([0.0] * 4, values)
    assert (found.low, found.high, found.p_value) == pytest.approx((expected.low, expected.high, expected.p_value))


def test_worlds_that_agree_by_luck_are_no_surer_than_two_thirds_of_their_questions():
    lucky = over_worlds(effects([0.0500, 0.0501, 0.0499], sampling=0.05**2))
    assert lucky.high - lucky.mean == pytest.approx(2 / 3 * 1.96 * 0.05 / math.sqrt(3), rel=1e-3)
    assert lucky.p_value == pytest.approx(0.0094, abs=1e-3)


@pytest.mark.parametrize("worlds", [3, 5, 15])
@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0, 4.0])
def test_the_interval_covers_93_to_97_percent_whatever_part_is_the_worlds(worlds, spread):
    """`spread` is the worlds' variance over their questions' (of 1)."""
    draws = RNG.normal(0.0, math.sqrt(1 + spread), (4000, worlds))
    intervals = [over_worlds(effects(row, sampling=1.0)) for row in draws]
    covered = np.mean([each.low <= 0.0 <= each.high for each in intervals])
    assert 0.93 <= covered <= 0.975
    refused = np.mean([each.p_value < 0.05 for each in intervals])
    assert refused == pytest.approx(1 - covered, abs=1e-9)


@pytest.mark.parametrize("worlds", [5, 15])
def test_verdicts_drawn_in_worlds_of_their_own_cover_too(worlds):
    """Binary verdicts of two methods on shared questions; a world has an effect of its own around 4 points."""
    covered = 0
    for _ in range(1000):
        found = []
        for _ in range(worlds):
            shift = RNG.normal(0.04, 0.03)
            first = RNG.random(200) < 0.6 + shift
            second = np.where(RNG.random(200) < 0.6, first, RNG.random(200) < 0.6 - 1.5 * shift)
            found.append(Effect.of([(first.astype(float) - second) / 200]))
        # The pairing leaves 40% of second to its own draw; its mean is .6 * (.6 + s) + .4 * (.6 - 1.5 s) = .6.
        interval = over_worlds(found)
        covered += interval.low <= 0.04 <= interval.high
    assert 0.93 <= covered / 1000 <= 0.97


def test_no_interval_leaves_what_an_effect_can_be():
    found = over_worlds(effects([0.6, 0.1]))
    assert (found.low, found.high) == (-1.0, 1.0)
    assert found.p_value == pytest.approx(paired_over_seeds([0.0] * 2, [0.6, 0.1]).p_value)


def test_one_world_resolves_nothing():
    assert over_worlds(effects([0.3])) == Interval(0.3, -math.inf, math.inf, 1, 1.0)
    with pytest.raises(DataError, match="no world's effect"):
        over_worlds([])
    with pytest.raises(DataError, match="two or more questions"):
        Effect.of([np.array([1.0])])


@pytest.mark.parametrize(
    ("ends", "p", "expected", "said"),
    [
        ((0.02, 0.06), 0.001, "better", "holds"),
        ((0.02, 0.06), 0.001, "worse", "does not hold"),
        ((-0.06, -0.02), 0.001, "better", "does not hold"),
        ((-0.06, -0.02), 0.001, "worse", "holds"),
        ((0.001, 0.06), 0.2, "better", "unresolved"),  # its own interval excludes 0, and the family says no
        ((-0.004, 0.006), 0.9, "better", "equivalent"),
        ((-0.004, 0.006), 0.9, "equal", "holds"),
        ((0.02, 0.06), 0.001, "equal", "does not hold"),
        ((-0.03, 0.04), 0.9, "equal", "unresolved"),
        ((-0.004, 0.04), 0.9, "not worse", "holds"),
        ((-0.06, -0.02), 0.001, "not worse", "does not hold"),
        ((-0.03, 0.04), 0.9, "not worse", "unresolved"),
    ],
)
def test_verdicts(ends, p, expected, said):
    assert verdict(Interval(sum(ends) / 2, *ends, 5, p), p, expected, smallest=0.01) == said


def test_all_claims_are_one_family_and_an_open_one_says_how_many_worlds_it_wants():
    strong, weak = effects([0.10, 0.12, 0.11, 0.09, 0.10]), effects([0.02, -0.01, 0.03, -0.02, 0.04])
    found = findings({"strong": (strong, "better", 0.01), "weak": (weak, "better", 0.01)})
    assert found["strong"].verdict == "holds"
    assert found["strong"].worlds_needed is None
    assert found["strong"].p_holm == pytest.approx(2 * over_worlds(strong).p_value)
    assert found["weak"].verdict == "unresolved"
    deviation = np.std([0.02, -0.01, 0.03, -0.02, 0.04], ddof=1)
    assert found["weak"].worlds_needed == samples_needed(deviation, 0.012)
    assert 0.05 < found["weak"].power < 0.3


def test_the_more_tests_are_open_the_more_worlds_one_of_them_wants_and_the_less_power_it_has():
    """The next of k open tests is resolved below 5% / k."""
    strong, weak = effects([0.10, 0.12, 0.11, 0.09, 0.10]), effects([0.02, -0.01, 0.03, -0.02, 0.04])
    alone = findings({"strong": (strong, "better", 0.01), "weak": (weak, "better", 0.01)})["weak"]
    among = findings({"strong": (strong, "better", 0.01), **{str(n): (weak, "better", 0.01) for n in range(3)}})["1"]
    deviation = np.std([0.02, -0.01, 0.03, -0.02, 0.04], ddof=1)
    assert among.worlds_needed == samples_needed(deviation, 0.012, alpha=0.05 / 3)
    assert among.power < alone.power


@pytest.mark.parametrize(
    ("mean", "expected", "room"), [(0.0, "equal", 0.02), (0.005, "better", 0.015), (-0.005, "not worse", 0.015)]
)
def test_what_lies_near_zero_wants_the_worlds_that_show_it_does_not_matter(mean, expected, room):
    values = [mean + shift for shift in (0.04, -0.04, 0.02, -0.02)]
    found = findings({"claim": (effects(values), expected, 0.02)})["claim"]
    assert found.verdict == "unresolved"
    assert found.worlds_needed == samples_needed(np.std(values, ddof=1), room)


def test_ranks_stand_beside_a_claim_and_decide_nothing():
    """Fourteen small gains of fifteen are resolved by rank, and one large one spoils the mean's interval."""
    skewed = effects([0.01 + k / 1000 for k in range(13)] + [-0.005, 0.9])
    found = findings({"skewed": (skewed, "better", 0.01)})["skewed"]
    assert found.p_ranks < 0.01 < 0.05 < found.p_holm
    assert found.verdict == "unresolved"
