"""Singular values and vectors, a matrix at a time: exact where it is small, randomised where it is large.

Exact is LAPACK's, or the GPU's. Randomised is Halko, Martinsson and Tropp's subspace iteration (arXiv:0909.4061,
algorithm 4.4) with OVERSAMPLE more vectors than are asked for and ITERATIONS passes over the matrix and back, each made
orthonormal. The Gaussian that it starts from is drawn by the tensor's name, so order and neighbours change nothing.

Notation: A is (m, n); k is a rank; s_1 >= s_2 >= ... are the singular values.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from drift.deltas import generator_of

EXACT = 1024  # of the shorter side: beyond it a full decomposition of a CPU takes minutes a matrix
OVERSAMPLE, ITERATIONS = 16, 8


@dataclass(frozen=True)
class Singular:
    """A = left @ diag(values) @ right, or its leading part.

    Attributes:
        left: (m, k), orthonormal columns.
        values: (k,), falling.
        right: (k, n), orthonormal rows.
    """

    left: Tensor
    values: Tensor
    right: Tensor

    def first(self, rank: int) -> "Singular":
        """The leading pairs."""
        return Singular(self.left[:, :rank], self.values[:rank], self.right[:rank])

    def last(self, rank: int) -> "Singular":
        """The trailing pairs."""
        return Singular(self.left[:, -rank:], self.values[-rank:], self.right[-rank:])

    def product(self) -> Tensor:
        """(m, n)."""
        return (self.left * self.values) @ self.right


def exact(matrix: Tensor) -> Singular:
    """All singular pairs of a float32 matrix, of which a GPU is used for a large one."""
    u, s, vh = torch.linalg.svd(matrix.to(_device(matrix)), full_matrices=False)
    return Singular(u.cpu(), s.cpu(), vh.cpu())


def leading(matrix: Tensor, rank: int, name: str, exact_up_to: int = EXACT) -> Singular:
    """The `rank` leading singular pairs of a float32 matrix.

    Where it is randomised, the expected spectral norm of A minus its product is at most `error_factor` times s_{k+1},
    the least that any matrix of the rank leaves.

    Args:
        name: seeds the Gaussian.
        exact_up_to: the shorter side of what is decomposed in full.
    """
    shorter = min(matrix.shape)
    if shorter <= max(exact_up_to, rank + OVERSAMPLE):
        return exact(matrix).first(min(rank, shorter))
    a, width = matrix.to(_device(matrix)), rank + OVERSAMPLE
    draw = generator_of(0, name).standard_normal((a.shape[1], width), dtype="float32")
    basis = _orthonormal(a @ torch.from_numpy(draw).to(a.device))
    for _ in range(ITERATIONS):
        basis = _orthonormal(a @ _orthonormal(a.T @ basis))
    u, s, vh = torch.linalg.svd(basis.T @ a, full_matrices=False)
    return Singular((basis @ u)[:, :rank].cpu(), s[:rank].cpu(), vh[:rank].cpu())


def error_factor(shape: tuple[int, int], rank: int) -> float:
    """How many times s_{k+1} a randomised product may miss A by: theorem 9.3 and corollary 10.10, in expectation."""
    p, left = OVERSAMPLE, min(shape) - rank
    inside = 1.0 + math.sqrt(rank / (p - 1)) + math.e * math.sqrt(rank + p) / p * math.sqrt(max(left, 0))
    return 1.0 + inside ** (1.0 / (2 * ITERATIONS + 1))


def _orthonormal(matrix: Tensor) -> Tensor:
    return torch.linalg.qr(matrix).Q


def _device(matrix: Tensor) -> str:
    return "cuda" if min(matrix.shape) > EXACT and torch.cuda.is_available() else "cpu"


class LowRank:
    """left @ right as a flat tensor that is read in slices and never whole: what two vectors a matrix stand for.

    A slice of it, by elements, is the product of the rows that it touches.
    """

    def __init__(self, left: Tensor, right: Tensor, start: int = 0, stop: int | None = None) -> None:
        """Elements [start, stop) of the product of (m, k) and (k, n); all without `stop`."""
        self._left, self._right = left, right
        self._start = start
        self._stop = left.shape[0] * right.shape[1] if stop is None else stop

    @property
    def device(self) -> torch.device:
        """Where the factors are, and the slices."""
        return self._left.device

    @property
    def nbytes(self) -> int:
        """Of the factors."""
        return self._left.nbytes + self._right.nbytes

    def numel(self) -> int:
        """Elements of the flat tensor."""
        return self._stop - self._start

    def __getitem__(self, part: slice) -> Tensor:
        first, last, step = part.indices(self.numel())
        assert step == 1
        first, last = first + self._start, max(first, last) + self._start
        width = self._right.shape[1]
        row = first // width
        rows = self._left[row : -(-last // width)] @ self._right
        return rows.view(-1)[first - row * width : last - row * width]


def squared_norm(left: Tensor, right: Tensor) -> float:
    """||left @ right||_F^2 out of two small Gram matrices, in float64."""
    return float(((left.double().T @ left.double()) * (right.double() @ right.double().T)).sum())
