"""Which examples a step sees: the same ones however many processes share them out."""

import math
from collections.abc import Iterator
from typing import Any

from accelerate.data_loader import get_sampler
from torch.utils.data import DataLoader, Sampler

BLANK = -1  # the place of an example without a reply: it is passed through the model and has no gradient


class FilledSampler(Sampler[int]):
    """The order of another sampler, filled up with BLANK to a multiple, so that all processes get whole batches.

    Differs from accelerate: it begins the epoch again, and what is trained would depend on the number of processes.
    """

    def __init__(self, order: Any, multiple: int) -> None:
        self._order, self._multiple = order, multiple

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self._multiple) * self._multiple

    def __iter__(self) -> Iterator[int]:
        yield from self._order
        yield from [BLANK] * (len(self) - len(self._order))

    def set_epoch(self, epoch: int) -> None:
        """Accelerate says which epoch begins."""
        self._order.set_epoch(epoch)


def fill(loader: DataLoader, multiple: int) -> DataLoader:
    """A loader that accelerate has prepared, its order filled up to a multiple."""
    prepared: Any = loader
    prepared.set_sampler(FilledSampler(get_sampler(loader), multiple))
    return loader
