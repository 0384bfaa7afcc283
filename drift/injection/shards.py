"""Where each backend keeps the gradient that its optimizer is about to use: one rank's slices of flat parameters.

A backend is a GradientShards. This file has the protocol and the backend of everything that leaves gradients in
`parameter.grad`: plain PyTorch, DDP, DeepSpeed stage 0 in fp32, and FSDP2, whose gradients are DTensors. DeepSpeed's
own optimizers are in drift.injection.zero.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from drift.errors import CoverageError


@dataclass(frozen=True)
class Span:
    """Elements [start, stop) of the flattened parameter `name`; `copies` ranks hold the same ones."""

    name: str
    start: int
    stop: int
    copies: int = 1

    @property
    def numel(self) -> int:
        """How many elements this rank holds."""
        return self.stop - self.start


class GradientShards(ABC):
    """One rank's gradient slices after reduction and before clipping, with the weights they will change."""

    spans: list[Span]
    group: dist.ProcessGroup | None

    @abstractmethod
    def gradients(self) -> list[Tensor | None]:
        """Flat, writable views aligned with `spans`; None where the backward pass left no gradient."""

    @abstractmethod
    def weights(self) -> list[Tensor]:
        """Flat views of the weights the optimizer updates (fp32 master weights where it has them)."""

    def loss_scale(self) -> float:
        """What the gradients are multiplied by until the optimizer unscales them; 1 without fp16."""
        return 1.0

    def commit(self) -> None:  # noqa: B027 (most backends cache nothing)
        """Tell the backend that the gradients have changed, where it caches anything about them."""


def world_size(group: dist.ProcessGroup | None = None) -> int:
    """Ranks in `group`; 1 where torch.distributed is not running."""
    return dist.get_world_size(group) if dist.is_initialized() else 1


def rank() -> int:
    """This process's number among all; 0 where torch.distributed is not running."""
    return dist.get_rank() if dist.is_initialized() else 0


def all_reduce(values: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """The sum of `values` over the ranks of `group`, on the device where `values` were."""
    if world_size(group) == 1:
        return values
    # NCCL reduces only what lies on its GPU, and CPU offload leaves the statistics on the host.
    carrier = values.cuda() if "nccl" in dist.get_backend(group) and not values.is_cuda else values.clone()
    dist.all_reduce(carrier, group=group)
    return carrier.to(values.device)


def full_shape(parameter: nn.Parameter) -> torch.Size:
    """The parameter's whole shape, also where ZeRO-3 has left `parameter.data` empty."""
    return torch.Size(parameter.ds_shape) if "ds_shape" in vars(parameter) else parameter.shape  # type: ignore[attr-defined]


def dtensor_span(name: str, tensor: DTensor) -> Span:
    """The rows of a DTensor that this rank holds.

    Raises:
        CoverageError: it is sharded along another dimension than 0, so that its rows are not one flat range.
    """
    sharded = [placement.dim for placement in tensor.placements if isinstance(placement, Shard)]
    if sharded != [0]:
        raise CoverageError(
            f"{name!r} is placed as {tensor.placements}, expected one Shard(0) beside Replicate; "
            "shard it with fully_shard's default placement"
        )
    mesh = tensor.device_mesh
    local, offset = compute_local_shape_and_global_offset(tensor.shape, mesh, tensor.placements)
    parts = math.prod(mesh.size(d) for d, placement in enumerate(tensor.placements) if isinstance(placement, Shard))
    start = offset[0] * math.prod(tensor.shape[1:]) if math.prod(local) else 0
    return Span(name, start, start + math.prod(local), copies=mesh.size() // parts)


class ModuleShards(GradientShards):
    """Gradients in `parameter.grad`: whole on every rank, or the local rows of a DTensor."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], loss_scale: Callable[[], float] = lambda: 1.0) -> None:
        """Bind to live parameters.

        Args:
            parameters: canonical name to parameter.
            loss_scale: asked at every step, for callers that scale their loss.
        """
        self._parameters = list(parameters.values())
        self._loss_scale = loss_scale
        self.group = None
        copies = world_size()
        self.spans = [
            dtensor_span(name, p) if isinstance(p, DTensor) else Span(name, 0, p.numel(), copies)
            for name, p in parameters.items()
        ]

    def gradients(self) -> list[Tensor | None]:
        """Flat views of `parameter.grad`."""
        return [_flat_gradient(parameter) for parameter in self._parameters]

    def weights(self) -> list[Tensor]:
        """Flat views of the parameters."""
        return [local_tensor(parameter.data).reshape(-1) for parameter in self._parameters]

    def loss_scale(self) -> float:
        """What the caller said."""
        return self._loss_scale()


def local_tensor(tensor: Tensor) -> Tensor:
    """This rank's part of a DTensor, or the tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _flat_gradient(parameter: nn.Parameter) -> Tensor | None:
    if parameter.grad is None:
        return None
    gradient = local_tensor(parameter.grad)
    if gradient.is_contiguous():
        return gradient.view(-1)
    if isinstance(parameter.grad, DTensor):
        raise CoverageError(f"a sharded gradient of shape {tuple(gradient.shape)} is not contiguous; can't add to it")
    parameter.grad = gradient.contiguous()
    return parameter.grad.view(-1)
