"""What a merge method is given, and what it gives back: readers of tensors in, readers of the merged tensors out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from drift.merging.config import Hyperparameters, Method
from drift.merging.threshold import Read
from drift.selection import layer_of

ROLES = ("mllm", "expert", "base")


@dataclass(frozen=True)
class Operands:
    """One LM tensor in two or three checkpoints.

    Attributes:
        name: canonical LM name.
        shape: the tensor's shape, the same in all.
        readers: role to what reads elements start..stop, flat, in the stored dtype, as a new tensor.
    """

    name: str
    shape: tuple[int, ...]
    readers: Mapping[str, Read]

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def read(self, role: str, start: int, stop: int) -> Tensor:
        """Elements start..stop as a float32 tensor that the caller may overwrite."""
        return self.readers[role](start, stop).float()

    def tensor(self, role: str) -> Read:
        """What reads slices of the tensor in `role`."""
        return partial(self.read, role)

    def delta(self, role: str) -> Read:
        """What reads slices of the task vector `role` minus base."""
        return lambda start, stop: self.read(role, start, stop).sub_(self.read("base", start, stop))


@dataclass(frozen=True)
class Merge:
    """What a recipe works on: every LM tensor, in the model's order.

    Attributes:
        method: the row, whose switches the recipe follows.
        chosen: the hyperparameters.
        tensors: one for each merged tensor.
        seed: of random masks.
    """

    method: Method
    chosen: Hyperparameters
    tensors: Sequence[Operands]
    seed: int

    @property
    def weights(self) -> tuple[float, float]:
        """(w_V, w_R)."""
        return self.chosen.weight_mllm, self.chosen.weight_expert

    @property
    def layers(self) -> int:
        """How many layers the LM has."""
        return 1 + max((layer_of(each.name) or 0 for each in self.tensors), default=0)


@dataclass(frozen=True)
class Merged:
    """One tensor of the result.

    Attributes:
        read: elements start..stop, flat, float32; what it needs of the whole tensor is known already.
        is_copy: the tensor is the MLLM's, bit for bit.
        is_whole: `read` takes all elements at once.
    """

    read: Read
    is_copy: bool = False
    is_whole: bool = False
