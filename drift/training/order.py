"""Which examples a step sees: the same ones however many processes share them out."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

BLANK = -1  # the place of an example without a reply: it is passed through the model and has no gradient


class LengthGroupedSampler(Sampler[int]):
    """Every example once an epoch, in steps of similar length, the longest first of all: transformers' rule.

    Differs from transformers: its steps are those of one process, and its order is not that of an epoch gone on with.
    """

    def __init__(self, lengths: list[int], global_batch: int, seed: int) -> None:
        self._lengths, self._global_batch, self._seed, self._epoch = lengths, global_batch, seed, 0

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        yield from get_length_grouped_indices(self._lengths, self._global_batch, generator=generator)

    def set_epoch(self, epoch: int) -> None:
        """Accelerate says which epoch begins."""
        self._epoch = epoch


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
    """A loader that accelerate has prepared for several processes, its order filled up to a multiple."""
    prepared: Any = loader
    prepared.set_sampler(FilledSampler(prepared.batch_sampler.batch_sampler.sampler, multiple))
    return loader
