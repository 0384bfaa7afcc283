"""Delta = expert - MLLM, chunk by chunk, with the norms and the cosine as by-products of the same pass.

Arithmetic is fp32, sums over blocks are Python floats. A chunk is what is read at once: long enough to hide the cost of
a call, short enough for the processor's cache. A block bounds the rounding of its sums (2^16: relative error about 4e-6
at 16M elements; 2^21: 6e-5). Neither changes a byte of Delta. The controls draw from a generator seeded per (seed,
tensor name), so order does not matter; the length of a draw does, in the last bits of a Gaussian's norm.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from drift.errors import CheckpointError
from drift.sources import Source

CHUNK = 2**17
BLOCK = 2**16
DRAW = 2**19


@dataclass
class Moments:
    """Squared norms and the inner product of two models' tensor, and Delta's squared norm as stored."""

    mllm: float = 0.0
    expert: float = 0.0
    inner: float = 0.0
    delta: float = 0.0

    def row(self) -> dict[str, float | None]:
        """Norms, and the cosine between MLLM and expert: None where either is all zeros."""
        scale = math.sqrt(self.mllm) * math.sqrt(self.expert)
        return {
            "delta": math.sqrt(self.delta),
            "mllm": math.sqrt(self.mllm),
            "expert": math.sqrt(self.expert),
            "cosine": self.inner / scale if scale > 0 else None,
        }


@dataclass(frozen=True)
class Recipe:
    """From which checkpoints Delta is computed, with which sign, and how it is stored.

    Delta = sign * (expert - (base if there is one, else mllm)).
    """

    mllm: Source
    expert: Source
    base: Source | None
    sign: float
    dtype: torch.dtype
    seed: int

    def stream(self, name: str, moments: Moments) -> Iterator[Tensor]:
        """Delta in 1-D chunks of the stored dtype, adding to `moments` on the way.

        Raises:
            CheckpointError: a NaN or an infinity was read.
        """
        numel = math.prod(self.mllm.shape(name))
        work = torch.empty(4, min(CHUNK, numel))
        for start in range(0, numel, CHUNK):
            stop = min(start + CHUNK, numel)
            yield self._chunk(name, start, stop, moments, work[:, : stop - start])
        if not math.isfinite(moments.mllm + moments.expert + moments.delta):
            raise CheckpointError(f"{name!r} holds a NaN or an infinity, in the MLLM, the expert or their difference")

    def _chunk(self, name: str, start: int, stop: int, moments: Moments, work: Tensor) -> Tensor:
        """Elements [start, stop) of Delta, computed in fp32; adds their sums to `moments`, Delta's as it is stored.

        Args:
            work: (4, stop - start), fp32; overwritten.
        """
        ours, theirs, origin, delta = work
        ours.copy_(self.mllm.read_slice(name, start, stop))
        theirs.copy_(self.expert.read_slice(name, start, stop))
        origin = ours if self.base is None else origin.copy_(self.base.read_slice(name, start, stop))
        minuend, subtrahend = (theirs, origin) if self.sign > 0 else (origin, theirs)
        stored = torch.sub(minuend, subtrahend, out=delta).to(self.dtype, copy=True)
        delta.copy_(stored)
        for a, b, d in zip(ours.split(BLOCK), theirs.split(BLOCK), delta.split(BLOCK), strict=True):
            moments.mllm += float(torch.dot(a, a))
            moments.expert += float(torch.dot(b, b))
            moments.inner += float(torch.dot(a, b))
            moments.delta += float(torch.dot(d, d))
        return stored

    def stream_shuffled(self, name: str, moments: Moments) -> Iterator[Tensor]:
        """The direct Delta's entries in a random order: the same values, norm and histogram, another direction.

        Holds one tensor in the stored dtype.
        """
        delta = torch.cat(list(self.stream(name, moments)))
        bits = delta.view(torch.int16 if self.dtype.itemsize == 2 else torch.int32).numpy()
        generator_of(self.seed, name).shuffle(bits)
        yield delta

    def stream_random(self, name: str, moments: Moments) -> Iterator[Tensor]:
        """A Gaussian direction with the norm of the direct Delta (to the rounding of the stored dtype).

        The Gaussian is drawn twice, for its norm and for its values, in place of being held.
        """
        numel = sum(chunk.numel() for chunk in self.stream(name, moments))
        norm = math.sqrt(sum(float(torch.dot(g, g)) for g in self._gaussian(name, numel)))
        scale, moments.delta = math.sqrt(moments.delta) / norm, 0.0
        for gaussian in self._gaussian(name, numel):
            chunk = (gaussian * scale).to(self.dtype)
            moments.delta += sum(float(torch.dot(block, block)) for block in chunk.float().split(BLOCK))
            yield chunk

    def _gaussian(self, name: str, numel: int) -> Iterator[Tensor]:
        generator = generator_of(self.seed, name)
        for start in range(0, numel, DRAW):
            draw = generator.standard_normal(min(DRAW, numel - start), dtype=np.float32)
            yield torch.from_numpy(draw)


def generator_of(seed: int, name: str) -> np.random.Generator:
    """What draws for a tensor: the same whatever else is drawn."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
