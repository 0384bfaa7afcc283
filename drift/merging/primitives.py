"""The arithmetic of merging as pure functions of tensors: no checkpoints, no names, no configuration.

Everything is float32 and elementwise, or a sum of fixed blocks, so a tensor cut into chunks gives the bytes that the
whole tensor gives. Functions ending in `_` overwrite their arguments: the cost of a merge is memory traffic.

Notation: a task vector is a checkpoint minus the base; `deltas` is one per model, MLLM first, all of one shape.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from drift.singular import exact

# Sums run over blocks of this many elements whatever the chunk size, so that their rounding never depends on it.
BLOCK = 1 << 17


def interpolate_(mllm: Tensor, expert: Tensor, weights: tuple[float, float], divisor: float = 1.0) -> Tensor:
    """(w_V V + w_R R) / divisor, overwriting `mllm`.

    The second product is fused into the sum (one rounding), as in mergekit 0.1.5's `addcmul`; bit-exact with it.

    Args:
        mllm, expert: (*shape), float32.
        weights: (w_V, w_R).
        divisor: 1 leaves the sum alone.
    Returns:
        `mllm`.
    """
    mllm.mul_(weights[0]).add_(expert, alpha=weights[1])
    return mllm if divisor == 1.0 else mllm.div_(divisor)


def trim_(delta: Tensor, threshold: float) -> Tensor:
    """Zeroes every entry whose magnitude is below `threshold` (TIES, arXiv:2306.01708, section 3, step 1).

    All entries tied at the threshold stay. Differs from BR2V and mergekit, which keep exactly k and choose among ties
    by the order in which a sort happens to leave them.
    """
    if threshold <= 0.0:
        return delta
    below = float(np.nextafter(np.float32(threshold), np.float32(0.0)))
    return torch.hardshrink(delta, below, out=delta)


def random_mask(seed: int, model: str, name: str, density: float, start: int, stop: int) -> np.ndarray:
    """Which of the elements start..stop of a tensor DARE keeps, each with probability `density`.

    The draw of an element depends on the seed, the model, the tensor's name and the element's index alone, never on
    chunk or order. `density` is met to 2^-32.

    Returns:
        (stop - start,), bool.
    """
    digest = hashlib.sha256(f"{seed}/{model}/{name}".encode()).digest()
    generator = np.random.PCG64(int.from_bytes(digest[:16], "little"))
    first = start // 2
    generator.advance(first)
    words = generator.random_raw((stop + 1) // 2 - first).astype("<u8", copy=False).view("<u4")
    return words[start - 2 * first :][: stop - start] < round(density * 2**32)


def drop_(delta: Tensor, mask: np.ndarray) -> Tensor:
    """Zeroes the entries that `mask` does not keep (DARE, arXiv:2311.03099, Eq. 3, without its rescale)."""
    flat = delta.view(-1).numpy()
    np.multiply(flat, mask, out=flat)
    return delta


def elect_sign(deltas: Sequence[Tensor]) -> Tensor:
    """Sign of the summed vectors per entry, so larger magnitudes outvote (TIES, arXiv:2306.01708, section 3, step 2).

    Args:
        deltas: two tensors (*shape), float32, trimmed.
    Returns:
        (*shape), values in {-1, +1}; a tie goes to +1.
    """
    return torch.copysign(torch.ones(()), torch.add(*deltas))


def disjoint_merge_(
    deltas: Sequence[Tensor],
    sign: Tensor,
    weights: tuple[float, float] = (1.0, 1.0),
    votes: tuple[float, float] | None = (1.0, 1.0),
) -> Tensor:
    """Sum of w t over the models whose t has the elected sign, over their votes; overwrites `deltas`.

    Zero agrees with no sign. (TIES, arXiv:2306.01708, section 3, step 3.)

    Args:
        deltas: two tensors (*shape), float32.
        sign: (*shape), -1 or +1.
        weights: (w_V, w_R), applied after the election.
        votes: what each agreeing model adds to the divisor: (1, 1) for the mean, its weight for a weighted mean;
            None for no division.
    Returns:
        (*shape); 0 where no model agrees.
    """
    agreeing = [delta.mul_(sign).relu_() for delta in deltas]
    divisor = None if votes is None else weighted_sum_([torch.sign(part) for part in agreeing], votes)
    total = weighted_sum_(agreeing, weights).mul_(sign)
    if divisor is None:
        return total
    flat = divisor.view(-1).numpy()
    np.add(flat, flat == 0.0, out=flat)
    return total.div_(divisor)


def weighted_sum_(parts: Sequence[Tensor], weights: tuple[float, float]) -> Tensor:
    """w_V v + w_R r, each product rounded before the sum (mergekit 0.1.5's order); overwrites `parts`."""
    for part, weight in zip(parts, weights, strict=True):
        if weight != 1.0:
            part.mul_(weight)
    return parts[0].add_(parts[1])


def blocks(numel: int) -> Iterator[tuple[int, int]]:
    """The (start, stop) of each summation block of a tensor."""
    return ((start, min(start + BLOCK, numel)) for start in range(0, numel, BLOCK))


def l1_scale(delta: Callable[[int, int], Tensor], mask: Callable[[int, int], np.ndarray], numel: int) -> float:
    """||delta||_1 / ||delta * mask||_1: what keeps the L1 norm of a dropped vector (mergekit's `rescale`).

    Args:
        delta: reads elements start..stop of the task vector as float32.
        mask: the mask of the same elements.
    Returns:
        The ratio; 1 where either norm is below 1e-7.
    """
    before, after = [], []
    for start, stop in blocks(numel):
        magnitudes = delta(start, stop).abs_()
        before.append(magnitudes.sum(dtype=torch.float64).item())
        after.append(drop_(magnitudes, mask(start, stop)).sum(dtype=torch.float64).item())
    whole, kept = math.fsum(before), math.fsum(after)
    return 1.0 if whole < 1e-7 or kept < 1e-7 else whole / kept


def inner_products(
    a: Callable[[int, int], Tensor], b: Callable[[int, int], Tensor], numel: int
) -> tuple[float, float, float]:
    """(a.a, a.b, b.b) over a whole tensor, in float64."""
    parts = []
    for start, stop in blocks(numel):
        x, y = a(start, stop).double(), b(start, stop).double()
        parts.append((torch.dot(x, x).item(), torch.dot(x, y).item(), torch.dot(y, y).item()))
    aa, ab, bb = (math.fsum(column) for column in zip(*parts, strict=True))
    return aa, ab, bb


def slerp_weights(aa: float, ab: float, bb: float, t: float) -> tuple[float, float]:
    """Weights (w_a, w_b) that put w_a a + w_b b at share `t` of the arc from a to b.

    Nearly parallel or opposite vectors (|cos| > 0.9995, mergekit's threshold) and zero vectors are interpolated
    straight.

    Args:
        aa, ab, bb: inner products of the two flattened tensors.
    """
    norms = math.sqrt(aa) * math.sqrt(bb)
    cosine = max(-1.0, min(1.0, ab / norms)) if norms > 0.0 else 1.0
    if abs(cosine) > 0.9995:
        return 1.0 - t, t
    angle = math.acos(cosine)
    return math.sin((1.0 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def model_stock_ratio(aa: float, ab: float, bb: float) -> float:
    """2 cos / (1 + cos) of two task vectors: how far from the base their mean is taken (arXiv:2403.19522, Eq. 4).

    0, the base itself, where the vectors are opposite or one is zero.
    """
    norms = math.sqrt(aa) * math.sqrt(bb)
    cosine = max(-1.0, min(1.0, ab / norms)) if norms > 0.0 else 0.0
    return 0.0 if 1.0 + cosine < 1e-6 else 2.0 * cosine / (1.0 + cosine)


def task_singular_vectors(deltas: Sequence[Tensor], weights: tuple[float, float]) -> Tensor:
    """Sum of the two matrices, each cut to half its rank, with singular vectors made orthogonal across models.

    TSV-Merge (arXiv:2412.00081, section 4.2): the best orthogonal approximation of the joined left and right singular
    vectors removes what the models' directions share. Vectors (biases, norms) are averaged.

    Args:
        deltas: two tensors (m, n) or (n,), float32.
    Returns:
        The merged task vector, of the same shape.
    """
    if deltas[0].dim() != 2:
        return (deltas[0] * weights[0] + deltas[1] * weights[1]) / 2.0
    rank = max(1, min(deltas[0].shape) // 2)
    lefts, values, rights = [], [], []
    for delta, weight in zip(deltas, weights, strict=True):
        pairs = exact(delta).first(rank)
        lefts.append(pairs.left)
        values.append(pairs.values * weight)
        rights.append(pairs.right)
    left, right = _orthogonal(torch.cat(lefts, dim=1)), _orthogonal(torch.cat(rights, dim=0))
    return (left * torch.cat(values)) @ right


def _orthogonal(matrix: Tensor) -> Tensor:
    """The orthogonal matrix nearest to `matrix` (m, n): U V^T of its SVD."""
    pairs = exact(matrix)
    return pairs.left @ pairs.right
