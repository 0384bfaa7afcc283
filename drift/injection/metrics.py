"""What one optimizer step looked like, kept on the device until somebody logs it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class StepRecord:
    """Statistics of one step over n parameters.

    Attributes:
        products: (n, 2), ||g||^2 and <g, Delta> of the averaged gradient, still times the loss scale (squared, once).
        coefficients: (n,), what Delta was multiplied by, loss scale included.
        alphas: (n,), after the schedule.
        loss_scale: 1 without fp16.
    """

    products: Tensor
    coefficients: Tensor
    alphas: Tensor
    loss_scale: float

    def metrics(self, groups: Sequence[str], squared: Tensor) -> dict[str, float]:
        """grad_norm, cosine, injected_share, alpha (its mean), over all parameters and as "key/group".

        Args:
            groups: (n,), each parameter's module group.
            squared: (n,), ||Delta||^2.
        """
        products, coefficients = self.products.cpu(), self.coefficients.cpu()
        injected = coefficients.square() * squared
        values = _describe(products, injected, squared, self.loss_scale)
        values["alpha"] = float(self.alphas.mean())
        for group in dict.fromkeys(groups):
            rows = [index for index, own in enumerate(groups) if own == group]
            part = _describe(products[rows], injected[rows], squared[rows], self.loss_scale)
            part["alpha"] = float(self.alphas[rows[0]])
            values |= {f"{key}/{group}": value for key, value in part.items()}
        return values

    def cosines(self, squared: Tensor) -> list[float]:
        """cos(g, Delta) of each parameter."""
        norms = (self.products[:, 0].cpu() * squared).sqrt()
        dots = self.products[:, 1].cpu()
        return [dot / norm if norm else 0.0 for dot, norm in zip(dots.tolist(), norms.tolist(), strict=True)]


def _describe(products: Tensor, injected: Tensor, squared: Tensor, scale: float) -> dict[str, float]:
    gradient, dot = products.sum(0).tolist()
    added, delta = float(injected.sum()), float(squared.sum())
    return {
        "grad_norm": math.sqrt(gradient) / scale,
        "cosine": dot / math.sqrt(gradient * delta) if gradient * delta > 0 else 0.0,
        "injected_share": math.sqrt(added / gradient) if gradient > 0 else 0.0,
    }
