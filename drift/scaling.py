"""How hard the prior pulls: the three scalings of DRIFT (section 3.3) and the schedules of alpha, as pure functions.

Every scaling answers one question: which coefficient c turns a gradient g into g + c * Delta? It depends on g only
through ||g|| and <g, Delta>, which can be summed over shards, so a sharded optimizer needs two numbers per parameter
and never a full tensor. Putting the bias into a live optimizer step is drift.injection.

Notation: g and Delta are one parameter's gradient and prior, (*shape); statistics are (n,) tensors over n parameters.
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
    """gradnorm times (1 + cos(g, Delta)) / 2: nothing where gradient and prior oppose each other."""
    return gradnorm_strength(grad_norm, dot, delta_norm) * (1.0 + cosine(grad_norm, dot, delta_norm)) / 2.0


SCALINGS: dict[str, Scaling] = {
    "absolute": absolute_strength,
    "gradnorm": gradnorm_strength,
    "adaptive": adaptive_strength,
}
# Those that do without <g, Delta>: nobody need hold the whole Delta for them.
WITHOUT_DOT = ("absolute", "gradnorm")


def get_scaling(name: str) -> Scaling:
    """The scaling called `name`.

    Raises:
        DriftError: no such scaling.
    """
    if name not in SCALINGS:
        raise DriftError(f"unknown scale {name!r}; {closest(name, SCALINGS)}")
    return SCALINGS[name]


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
    if total_steps is None or total_steps < 1:
        raise DriftError(
            f"alpha_schedule {schedule!r} needs the run's length, found total_steps={total_steps}; "
            "pass total_steps to GradientInjector"
        )
    return SCHEDULES[schedule](min(step / total_steps, 1.0))
