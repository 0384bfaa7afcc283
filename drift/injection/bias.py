"""g + c * Delta on one rank's shards: the statistics that c needs, the addition, in chunks that stay in cache, and
what one optimizer step looked like, kept on the device until somebody logs it.

Pure arithmetic over aligned lists of flat tensors. Which backend they come from is drift.injection.shards; when this
runs is drift.injection.targets.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from drift.injection.coverage import Prior
from drift.injection.shards import Span, all_reduce, world_size
from drift.singular import LowRank

log = logging.getLogger(__name__)

# Elements per pass. On a CPU three fp32 operands of 256Ki stay in the L2/L3 cache; on a GPU the launch is what costs.
_CPU_CHUNK = 1 << 18
_GPU_CHUNK = 1 << 26

ReadDelta = Callable[[int, int, int], Tensor]
Deltas = Sequence[Tensor | LowRank]
"""Flat slices of Delta, whole or as factors, whose product is formed chunk by chunk."""


def chunks(numel: int, device: torch.device) -> Iterator[tuple[int, int]]:
    """Consecutive (start, stop) that cover `numel` elements."""
    size = _CPU_CHUNK if device.type == "cpu" else _GPU_CHUNK
    return ((start, min(start + size, numel)) for start in range(0, numel, size))


def read_deltas(prior: Prior, spans: Sequence[Span], devices: Sequence[torch.device]) -> list[Tensor | LowRank]:
    """This rank's slices of Delta, on the devices where the gradients are; nothing but these, or factors, is read."""
    deltas = [prior.held(span.name, span.start, span.stop, device) for span, device in zip(spans, devices, strict=True)]
    held = sum(delta.nbytes for delta in deltas)
    log.info("this rank holds %.1f MB of Delta in %s, %d slices", held / 1e6, prior.dtype, len(deltas))
    return deltas


def gradient_products(gradients: Sequence[Tensor | None], deltas: Deltas) -> Tensor:
    """||g||^2 and <g, Delta> of every slice.

    Args:
        gradients: flat, any floating type; None counts as zero.
        deltas: flat, aligned with `gradients`.
    Returns:
        (slices, 2), float64, on the device of the deltas.
    """
    device = deltas[0].device if deltas else torch.device("cpu")
    owners: list[int] = []
    products: list[Tensor] = []
    for index, (gradient, delta) in enumerate(zip(gradients, deltas, strict=True)):
        if gradient is None:
            continue
        for start, stop in chunks(delta.numel(), device):
            g, d = gradient[start:stop].float(), delta[start:stop].float()
            products += [torch.dot(g, g), torch.dot(g, d)]
            owners.append(index)
    out = torch.zeros(len(deltas), 2, dtype=torch.float64, device=device)
    if owners:
        rows = torch.stack(products).view(-1, 2).double()
        out.index_add_(0, torch.tensor(owners, device=device), rows)
    return out


def add_deltas(gradients: Sequence[Tensor | None], deltas: Deltas, coefficients: Tensor) -> None:
    """Add coefficients[i] * deltas[i] to gradients[i] in place, without a copy to the host on a GPU.

    Args:
        gradients: flat and writable; None is passed over.
        deltas: flat, aligned with `gradients`.
        coefficients: (slices,), on the device of the deltas.
    """
    device = coefficients.device
    factors = coefficients.tolist() if device.type == "cpu" else coefficients.float().unbind()
    for gradient, delta, factor in zip(gradients, deltas, factors, strict=True):
        for start, stop in chunks(delta.numel() if gradient is not None else 0, device):
            part = gradient[start:stop]  # type: ignore[index]
            part.add_(delta[start:stop], alpha=factor) if device.type == "cpu" else part.addcmul_(
                delta[start:stop], factor
            )


def add_remainders(
    gradients: Sequence[Tensor | None],
    deltas: Deltas,
    moved: Sequence[tuple[Tensor, Tensor]],
    coefficients: Tensor,
) -> Tensor:
    """Add coefficients[i] * (Delta - (theta - theta_0)) to gradients[i] in place: what is left of Delta.

    Args:
        gradients: flat and writable; None is passed over.
        deltas: flat, aligned with `gradients`.
        moved: theta, flat, and theta_0, of each slice.
        coefficients: (slices,), on the device of the deltas.
    Returns:
        (slices, 1), float64: the squared norm of each remainder.
    """
    out = torch.zeros(len(deltas), 1, dtype=torch.float64, device=coefficients.device)
    for index, (gradient, delta, (now, start)) in enumerate(zip(gradients, deltas, moved, strict=True)):
        for first, last in chunks(delta.numel() if gradient is not None else 0, delta.device):
            left = delta[first:last].float() - (now[first:last].float() - start[first:last].float())
            gradient[first:last].addcmul_(left, coefficients[index].to(left.dtype))  # type: ignore[index]
            out[index, 0] += torch.dot(left, left)
    return out


def weight_products(spans: Sequence[Span], weights: Sequence[Tensor], read: ReadDelta) -> Tensor:
    """<theta, Delta> and ||theta||^2 of every slice, in float64: w_eff is a small difference of large numbers.

    Args:
        spans: which elements the weights are.
        weights: flat, aligned with `spans`.
        read: (slice, start, stop) to that part of the slice's Delta.
    Returns:
        (slices, 2), float64, on the device of the weights.
    """
    device = weights[0].device if weights else torch.device("cpu")
    out = torch.zeros(len(spans), 2, dtype=torch.float64, device=device)
    for index, weight in enumerate(weights):
        for start, stop in chunks(weight.numel(), device):
            theta = weight[start:stop].double()
            out[index, 0] += torch.dot(theta, read(index, start, stop).to(device).double())
            out[index, 1] += torch.dot(theta, theta)
    return out


def by_parameter(
    values: Tensor,
    spans: Sequence[Span],
    names: Sequence[str],
    group: torch.distributed.ProcessGroup | None,
    extra: Tensor | None = None,
) -> Tensor:
    """Sums over all ranks of per-slice values, each element counted once.

    Args:
        values: (slices, k).
        spans: which parameter each slice belongs to, and on how many ranks the same elements lie.
        names: the parameters, n of them.
        group: ranks to sum over; no communication where every rank already holds everything.
        extra: (n,), summed over ranks in the same all-reduce and returned as the last column.
    Returns:
        (n, k) or (n, k + 1), the same on every rank.
    """
    position = {name: index for index, name in enumerate(names)}
    out = values.new_zeros(len(names), values.shape[1])
    if spans:
        copies = values.new_tensor([span.copies for span in spans]).unsqueeze(1)
        out.index_add_(0, torch.tensor([position[span.name] for span in spans], device=values.device), values / copies)
    if extra is not None:
        out = torch.cat([out, extra.unsqueeze(1)], dim=1)
    elif is_replicated(spans, names, group):
        return out * world_size(group)
    return all_reduce(out, group)


def is_replicated(spans: Sequence[Span], names: Sequence[str], group: torch.distributed.ProcessGroup | None) -> bool:
    """Whether every rank holds every element of the parameters already."""
    ranks = world_size(group)
    return len(spans) == len(names) and all(span.copies == ranks for span in spans)


@dataclass(frozen=True)
class StepRecord:
    """Statistics of one step over n parameters.

    Attributes:
        products: (n, 2), ||g||^2 and <g, Delta> of the averaged gradient, still times the loss scale (squared, once).
        coefficients: (n,), what Delta was multiplied by, loss scale included.
        alphas: (n,), after the schedule.
        loss_scale: 1 without fp16.
        squared: (n,), squared norm of what was multiplied: of Delta, or of what is left of it.
    """

    products: Tensor
    coefficients: Tensor
    alphas: Tensor
    loss_scale: float
    squared: Tensor

    def metrics(self, groups: Sequence[str], squared: Tensor) -> dict[str, float]:
        """grad_norm, cosine, injected_share, alpha (its mean), over all parameters and as "key/group".

        Args:
            groups: (n,), each parameter's module group.
            squared: (n,), ||Delta||^2.
        """
        products, coefficients = self.products.cpu(), self.coefficients.cpu()
        injected = coefficients.square() * self.squared
        values = _describe(products, injected, squared, self.loss_scale) | {"alpha": float(self.alphas.mean())}
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
