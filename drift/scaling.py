"""How hard the prior pulls: the three scalings of DRIFT (section 3.3), rivals, and alpha's schedules, pure functions.

Every scaling answers one question: which coefficient c turns a gradient g into g + c * Delta? It depends on g only
through ||g|| and <g, Delta>, which can be summed over shards, so a sharded optimizer needs two numbers per parameter
and never a full tensor. Putting the bias into a live optimizer step is drift.injection.

Notation: g and Delta are one parameter's gradient and prior, (*shape); statistics are (n,) tensors over n parameters.
Signs: a step of descent is -g, and alpha is negative toward Delta. So cos(g, Delta) = 1 is an SFT step that leads AWAY
from the expert, and -1 one that leads toward it. With g = (3, 4) and Delta = (0, 2), cos is 0.8: SFT's own step
(-3, -4) takes 4 off where the expert is 2 above, and `adaptive` pulls with 0.9 of gradnorm, `adaptive_toward` with 0.1.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from drift.errors import DriftError, closest

Scaling = Callable[[Tensor, Tensor, Tensor], Tensor]


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator, and 0 where the denominator is 0: a zero vector has no direction to follow."""
    return torch.where(denominator > 0, numerator / denominator, torch.zeros_like(numerator))


def cosine(grad_norm: Tensor, dot: Tensor, delta_norm: Tensor) -> Tensor:
    """cos(g, Delta) in [-1, 1]; 0 where either vector is zero."""
    return _ratio(dot, grad_norm * delta_norm).clamp(-1.0, 1.0)


def absolute_strength(grad_norm: Tensor, dot: Tensor, delta_norm: Tensor) -> Tensor:
    """1 everywhere: Delta as it is, however small the gradient has become."""
    return torch.ones_like(grad_norm)


def gradnorm_strength(grad_norm: Tensor, dot: Tensor, delta_norm: Tensor) -> Tensor:
    """||g|| / ||Delta||: the bias is as long as the gradient."""
    return _ratio(grad_norm, delta_norm)


def adaptive_strength(grad_norm: Tensor, dot: Tensor, delta_norm: Tensor) -> Tensor:
    """gradnorm times (1 + cos(g, Delta)) / 2: all where SFT's step -g leads away from the expert, none where to it."""
    return gradnorm_strength(grad_norm, dot, delta_norm) * (1.0 + cosine(grad_norm, dot, delta_norm)) / 2.0


def adaptive_toward_strength(grad_norm: Tensor, dot: Tensor, delta_norm: Tensor) -> Tensor:
    """gradnorm times (1 - cos(g, Delta)) / 2: all where SFT's step -g leads to the expert, nothing where away from it.

    It is adaptive with the cosine of what descent does, -g, in place of the gradient's: where data and prior disagree,
    the data decide.
    """
    return gradnorm_strength(grad_norm, dot, delta_norm) * (1.0 + cosine(grad_norm, -dot, delta_norm)) / 2.0


SCALINGS: dict[str, Scaling] = {
    "absolute": absolute_strength,
    "gradnorm": gradnorm_strength,
    "adaptive": adaptive_strength,
    "adaptive_toward": adaptive_toward_strength,
    # What is left of Delta, Delta - (theta_t - theta_0), takes its place: the gradient of L2-SP with the expert as the
    # starting point (arXiv:1802.01483), mu ||theta - theta_expert||^2, is alpha times it with alpha = -2 mu.
    "pull": absolute_strength,
}
# Those that do without <g, Delta>: nobody need hold the whole Delta for them; and those that read no gradient at all.
WITHOUT_DOT = ("absolute", "gradnorm", "pull")
WITHOUT_GRADIENT = ("absolute", "pull")


def get_scaling(name: str) -> Scaling:
    """The scaling called `name`.

    Raises:
        DriftError: no such scaling.
    """
    if name not in SCALINGS:
        raise DriftError(f"unknown scale {name!r}; {closest(name, SCALINGS)}")
    return SCALINGS[name]


# A budget is spent evenly over the first half of a run, since what the optimizer still has in its moments when the
# injection ends, and what the data add of their own, would run past the target; within so much of it alpha tapers off.
_SPENT_BY, _BAND = 0.5, 0.05


def budget_factor(w_eff: float, target: float, step: int, total_steps: int | None) -> float:
    """What alpha is multiplied by to have spent, of a budget of `target`, what is due at this step: 0 to 1.

    Args:
        w_eff: what is spent.
        target: w_eff that is reached half way through the run, and held.
        step: optimizer steps already taken, from 0.
        total_steps: length of the run.
    Raises:
        DriftError: nobody knows the run's length.
    """
    due = target * min((step + 1) / _length("target_w_eff", total_steps) / _SPENT_BY, 1.0)
    return min(max((due - w_eff) / (_BAND * target), 0.0), 1.0)


def _length(what: str, total_steps: int | None) -> int:
    if total_steps is None or total_steps < 1:
        raise DriftError(
            f"{what} needs the run's length, found total_steps={total_steps}; pass total_steps to GradientInjector"
        )
    return total_steps


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: (1.0 + math.cos(math.pi * progress)) / 2.0,
}


def schedule_factor(schedule: str, step: int, total_steps: int | None) -> float:
    """What alpha is multiplied by at optimizer step `step`: 1 at the first step, falling to 0 unless constant.

    Args:
        schedule: constant, linear or cosine.
        step: optimizer steps already taken, from 0.
        total_steps: length of the run; only `constant` does without it.
    Raises:
        DriftError: the schedule is unknown, or needs `total_steps` and got none.
    """
    if schedule not in SCHEDULES:
        raise DriftError(f"unknown alpha_schedule {schedule!r}; {closest(schedule, SCHEDULES)}")
    if schedule == "constant":
        return 1.0
    return SCHEDULES[schedule](min(step / _length(f"alpha_schedule {schedule!r}", total_steps), 1.0))
