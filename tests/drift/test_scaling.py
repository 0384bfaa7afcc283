"""The scalings obey the paper's formulas, and the schedules of alpha start at 1 and end at 0."""

import math
from functools import partial
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drift.choices import SCHEDULES as SCHEDULE_NAMES
from drift.choices import Scale
from drift.errors import DriftError
from drift.scaling import (
    SCALINGS,
    SCHEDULES,
    WITHOUT_GRADIENT,
    budget_factor,
    cosine,
    get_scaling,
    schedule_factor,
)

SIZES = st.integers(min_value=1, max_value=40)
ALPHAS = st.floats(min_value=-2.0, max_value=2.0)


def coefficient(scale: str, grad: torch.Tensor, delta: torch.Tensor, alpha: float) -> torch.Tensor:
    """c of one tensor, so that the biased gradient is g + c * Delta."""
    g, d = grad.flatten().double(), delta.flatten().double()
    return alpha * SCALINGS[scale](g.norm(), torch.dot(g, d), d.norm())


absolute, gradnorm, adaptive, toward = (
    partial(coefficient, scale) for scale in ("absolute", "gradnorm", "adaptive", "adaptive_toward")
)


def _pair(size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator), torch.randn(size, generator=generator)


def test_worked_example_by_hand():
    grad, delta = torch.tensor([[3.0, 0.0], [0.0, 4.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    # ||g|| = 5, ||Delta|| = 2, <g, Delta> = 8, cos = 0.8
    assert absolute(grad, delta, -1.0).item() == -1.0
    assert gradnorm(grad, delta, -1.0).item() == pytest.approx(-2.5)
    assert adaptive(grad, delta, -1.0).item() == pytest.approx(-2.5 * 0.9)
    assert toward(grad, delta, -1.0).item() == pytest.approx(-2.5 * 0.1)


def test_the_two_adaptive_scalings_pull_hardest_on_opposite_sides():
    """Descent goes along -g. The expert is above in the second entry: SFT's step (0, -4) leads away from it."""
    away, delta = torch.tensor([0.0, 4.0]), torch.tensor([0.0, 2.0])
    assert (-away) @ delta < 0, "SFT's own step lowers what the expert has higher"
    assert [adaptive(g, delta, -1.0).item() for g in (away, -away)] == [-2.0, 0.0]
    assert [toward(g, delta, -1.0).item() for g in (away, -away)] == [0.0, -2.0]


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(0, 1000))
def test_the_two_adaptive_scalings_share_gradnorm_out(size, seed):
    grad, delta = _pair(size, seed)
    both = adaptive(grad, delta, -1.0) + toward(grad, delta, -1.0)
    assert float(both) == pytest.approx(float(gradnorm(grad, delta, -1.0)))


@pytest.mark.parametrize("target", [0.5, -0.5])
def test_a_budget_is_spent_by_half_the_run_and_held(target):
    """Of ten steps, a fifth of the target is due at each of the first five; a twentieth behind is all of alpha."""
    behind = {
        (0, 0.0): 1.0,
        (0, 0.2): 0.0,
        (1, 0.3): 1.0,
        (1, 0.375): 0.5,
        (4, 0.99): 0.2,
        (9, 1.0): 0.0,
        (9, 1.3): 0.0,
    }
    found = [budget_factor(share * target, target, step, 10) for step, share in behind]
    assert found == pytest.approx(list(behind.values()), abs=1e-9)


def test_a_budget_needs_the_length_of_the_run():
    with pytest.raises(DriftError, match="target_w_eff needs the run's length, found total_steps=None"):
        budget_factor(0.0, 0.1, 0, None)


@settings(max_examples=50, deadline=None)
@given(SIZES, ALPHAS, st.integers(0, 1000))
def test_gradnorm_term_has_the_norm_of_alpha_times_the_gradient(size, alpha, seed):
    grad, delta = _pair(size, seed)
    term = gradnorm(grad, delta, alpha) * delta
    assert float(term.norm()) == pytest.approx(abs(alpha) * float(grad.norm()), rel=1e-5, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(0, 1000), st.floats(0.01, 100.0))
def test_adaptive_is_zero_when_gradient_and_prior_oppose(size, seed, stretch):
    grad, _ = _pair(size, seed)
    assert float(adaptive(grad, -stretch * grad, -1.0)) == pytest.approx(0.0, abs=1e-6 / stretch)


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(0, 1000), st.floats(0.01, 100.0))
def test_adaptive_equals_gradnorm_when_gradient_and_prior_agree(size, seed, stretch):
    grad, _ = _pair(size, seed)
    assert float(adaptive(grad, stretch * grad, -1.0)) == pytest.approx(float(gradnorm(grad, stretch * grad, -1.0)))


def test_rounding_never_takes_the_cosine_out_of_its_range():
    one, beyond = torch.tensor([1.0]), torch.tensor([1.0 + 1e-6])  # sums over shards, each rounded on its own
    assert cosine(one, beyond, one).item() == 1.0
    assert cosine(one, -beyond, one).item() == -1.0
    assert SCALINGS["adaptive"](one, -beyond, one).item() == 0.0, "a bias toward what gradient and prior both refuse"


@pytest.mark.parametrize("scale", ["gradnorm", "adaptive"])
def test_length_of_the_prior_cancels(scale):
    grad, delta = _pair(30, 1)
    function = partial(coefficient, scale)
    torch.testing.assert_close(function(grad, delta, -1.0) * delta, function(grad, 7 * delta, -1.0) * 7 * delta)


@pytest.mark.parametrize("scale", list(SCALINGS))
def test_zero_prior_adds_nothing_and_zero_gradient_stays_finite(scale):
    function = partial(coefficient, scale)
    zero, vector = torch.zeros(4), torch.ones(4)
    assert torch.equal(function(vector, zero, -1.0) * zero, zero.double())
    expected = -1.0 if scale in WITHOUT_GRADIENT else 0.0
    assert float(function(zero, vector, -1.0)) == expected


def test_schedules_run_from_one_to_zero():
    assert [schedule_factor("constant", step, None) for step in (0, 9)] == [1.0, 1.0]
    assert [schedule_factor("linear", step, 4) for step in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]
    halves = [schedule_factor("cosine", step, 4) for step in (0, 2, 4, 9)]
    assert halves == pytest.approx([1.0, 0.5, 0.0, 0.0])
    assert schedule_factor("cosine", 1, 4) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_what_a_config_may_name_is_what_there_is():
    assert tuple(SCALINGS) == get_args(Scale)
    assert tuple(SCHEDULES) == SCHEDULE_NAMES


def test_unknown_names_and_a_missing_length_are_refused():
    with pytest.raises(DriftError, match="unknown scale 'gradnrom'; did you mean 'gradnorm'"):
        get_scaling("gradnrom")
    with pytest.raises(DriftError, match="unknown alpha_schedule 'cosin'; did you mean 'cosine'"):
        schedule_factor("cosin", 0, 10)
    with pytest.raises(DriftError, match="'linear' needs the run's length, found total_steps=None"):
        schedule_factor("linear", 0, None)
