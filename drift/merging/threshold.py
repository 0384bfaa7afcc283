"""The k-th largest magnitude of a vector too large to hold: exact, in bounded memory, in about two readings.

A sorted sample brackets the value; one pass counts what lies above the bracket and collects what lies inside; the
answer is a partition of what was collected. If the bracket misses, a wider one is tried, so the result never depends on
luck (Floyd and Rivest's SELECT, doi:10.1145/360680.360691, made into a stream).
"""

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from drift.merging.config import MergeError
from drift.merging.primitives import blocks

Read = Callable[[int, int], Tensor]

_SAMPLE_RUN = 512
_SMALL = 1 << 18


def magnitude_threshold(parts: list[tuple[Read, int]], density: float) -> float:
    """The smallest magnitude among the `density` largest entries of the parts taken as one vector.

    Args:
        parts: for each tensor, what reads its elements start..stop as float32, and how many it has.
        density: share kept, in (0, 1].
    Returns:
        The threshold; 0 when everything is kept.
    Raises:
        MergeError: an entry is not a number.
    """
    total = sum(numel for _, numel in parts)
    keep = max(1, int(density * total))  # rounded down, at least one (mergekit 0.1.5 and BR2V)
    if keep >= total:
        return 0.0
    sample = np.sort(_sample(parts, total)) if total > _SMALL else np.empty(0, np.float32)
    margin = 4.0 / math.sqrt(max(1, sample.size))
    while True:
        low, high = _bracket(sample, keep / total, margin)
        above, inside = _count(parts, low, high)
        rank = keep - above
        if 0 < rank <= inside.size:
            return float(np.partition(inside, inside.size - rank)[inside.size - rank])
        if margin >= 1.0:
            raise MergeError("a task vector holds entries that are not numbers; check the checkpoints for NaN")
        margin *= 4.0


def _sample(parts: list[tuple[Read, int]], total: int) -> np.ndarray:
    """Magnitudes of short runs spread evenly over all parts: about 1 in 64, from 2^16 to 2^22 of them."""
    share = min(max(total // 64, 1 << 16), 1 << 22) / total
    found = []
    for read, numel in parts:
        runs = max(1, round(share * numel / _SAMPLE_RUN))
        for start in np.linspace(0, max(0, numel - _SAMPLE_RUN), runs).astype(int):
            found.append(read(int(start), int(min(start + _SAMPLE_RUN, numel))).abs_().numpy().copy())
    return np.concatenate(found)


def _bracket(ascending: np.ndarray, share: float, margin: float) -> tuple[float, float]:
    """Values between which the share-largest entry probably lies; everything when the margin reaches an end."""
    top = (1.0 - share + margin) * ascending.size
    bottom = (1.0 - share - margin) * ascending.size
    high = float(ascending[int(top)]) if ascending.size and top < ascending.size else math.inf
    low = float(ascending[int(bottom)]) if ascending.size and bottom > 0 else 0.0
    return low, high


def _count(parts: list[tuple[Read, int]], low: float, high: float) -> tuple[int, np.ndarray]:
    """How many magnitudes exceed `high`, and those in [low, high]."""
    above, inside = 0, []
    for read, numel in parts:
        for start, stop in blocks(numel):
            magnitudes = read(start, stop).abs_().numpy()
            band = magnitudes >= np.float32(low)
            over = magnitudes > np.float32(high)
            above += int(np.count_nonzero(over))
            inside.append(magnitudes[np.logical_xor(band, over, out=band)])
    return above, np.concatenate(inside)
