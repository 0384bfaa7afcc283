"""Merges of one matrix at a time through its singular values: pure functions of whole matrices, float32.

Notation: V, B, R are the MLLM's, the base's and the expert's matrix, (m, n); a task vector is a checkpoint minus B.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from drift.deltas import generator_of
from drift.singular import exact, leading


def reasoning_direction(delta: Tensor, rank: int, direction: str, length: str, name: str, seed: int) -> Tensor:
    """The direction that Selective-RL injects: with rank 1, ||Delta||_F u_1 v_1^T.

    Args:
        delta: (m, n), R - B.
        rank: singular pairs; more than one keep the ratio of their values.
        direction: leading, trailing (the last pairs) or random (orthonormal vectors of equal weight).
        length: delta (the Frobenius norm of the whole Delta) or own (as the pairs have it).
        name, seed: of the random vectors; the name also of a large matrix's decomposition.
    Returns:
        (m, n).
    """
    norm = torch.linalg.matrix_norm(delta)
    if direction == "random":
        generator = generator_of(seed, name)
        sides = [torch.from_numpy(generator.standard_normal((size, rank), dtype="float32")) for size in delta.shape]
        left, right = (torch.linalg.qr(side).Q for side in sides)
        return left @ right.T * (norm / rank**0.5)
    pairs = leading(delta, rank, name) if direction == "leading" else exact(delta).last(rank)
    own = torch.linalg.vector_norm(pairs.values)
    return pairs.product() * (norm / own if length == "delta" and own > 0 else 1.0)


def truncated(delta: Tensor, share: float) -> Tensor:
    """The fewest leading singular pairs whose values reach `share` of the sum of all, rescaled to that sum (STAR)."""
    pairs = exact(delta)
    sums = pairs.values.cumsum(0)
    rank = int(torch.searchsorted(sums, share * sums[-1])) + 1
    kept = pairs.first(min(rank, len(sums)))
    return kept.product() * (sums[-1] / kept.values.sum() if sums[-1] > 0 else 1.0)


def isotropic(total: Tensor) -> Tensor:
    """The matrix with each of its singular values replaced by their mean (Iso-C)."""
    pairs = exact(total)
    return pairs.left @ pairs.right * pairs.values.mean()


def least_interference(deltas: Sequence[Tensor], time: float, share: float) -> Tensor:
    """Where gradient flow on WUDI's loss is after `time`, begun at the sum of the task vectors (SWUDI).

    The loss of a merged task vector T is the sum over t of ||(T - t) t^T||^2 / ||t||^2. It is quadratic: with
    C = sum of t^T t / ||t||^2 and D = sum of t t^T t / ||t||^2 its minimum is T C = D, and along each eigenvector of C
    the flow has gone 1 - exp(-lambda time) of the way. Beyond the leading `share` of the n eigenvectors it stays where
    it began. Differs from the published code in decomposing the task vectors stacked, 2m rows, in place of C, (n, n).

    Args:
        deltas: task vectors, (m, n); a zero one has no say.
    """
    start = torch.stack(list(deltas)).sum(0)
    scaled = [delta / torch.linalg.matrix_norm(delta) for delta in deltas if bool(delta.any())]
    if not scaled:
        return start
    stacked = torch.cat(scaled)
    goal = sum(delta @ (one.T @ one) for delta, one in zip((d for d in deltas if bool(d.any())), scaled, strict=True))
    pairs = exact(stacked)
    kept = min(len(pairs.values), -int(-share * start.shape[1] // 1))
    vectors, values = pairs.right[:kept].T, pairs.values[:kept].square()
    gone = 1.0 - torch.exp(-values * time)
    ratio = torch.where(values > 1e-8, gone / values.clamp(min=1e-8), torch.zeros_like(values))
    return start + (torch.as_tensor(goal) @ vectors * ratio - start @ vectors * gone) @ vectors.T
