"""DeepSpeed's optimizers as GradientShards: ZeRO 1, 2, 3, CPU offload, and bf16 with fp32 gradient accumulation.

All of this reads DeepSpeed's own bookkeeping (0.19.8), because its public accessors gather whole parameters, and one
hangs a rank under round_robin_gradients. It acts between the backward pass and `optimizer.step`, where gradients are
averaged and not yet clipped.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from deepspeed import DeepSpeedEngine
from deepspeed.runtime.bf16_optimizer import BF16_Optimizer
from deepspeed.runtime.fp16.fused_optimizer import FP16_Optimizer
from deepspeed.runtime.fp16.unfused_optimizer import FP16_UnfusedOptimizer
from deepspeed.runtime.zero.stage3 import DeepSpeedZeroOptimizer_Stage3
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer
from torch import Tensor, nn

from drift.errors import CoverageError, TrainingError
from drift.injection.shards import GradientShards, ModuleShards, Span, world_size

Groups = Sequence[Sequence[nn.Parameter]]


def engine_shards(engine: DeepSpeedEngine, parameters: Mapping[str, nn.Parameter]) -> GradientShards:
    """The shards of whichever optimizer DeepSpeed has built.

    Raises:
        CoverageError: a selected parameter is not in the optimizer.
        TrainingError: the engine runs in a mode whose gradients can't be reached before clipping.
    """
    if not engine.managed_gradient_accumulation():
        raise TrainingError(
            "managed_gradient_accumulation is false, expected true: gradients are final only inside step()"
        )
    optimizer = engine.optimizer
    if isinstance(optimizer, DeepSpeedZeroOptimizer):
        return PartitionShards(optimizer, parameters)
    if isinstance(optimizer, DeepSpeedZeroOptimizer_Stage3):
        return Stage3Shards(optimizer, parameters)
    if isinstance(optimizer, BF16_Optimizer):
        return Bf16Shards(optimizer, parameters)
    if isinstance(optimizer, FP16_Optimizer | FP16_UnfusedOptimizer):
        return ModuleShards(parameters, loss_scale=lambda: float(optimizer.loss_scale_config.cur_scale))
    return ModuleShards(parameters)


class _OptimizerShards(GradientShards):
    """What DeepSpeed's own optimizers share: the selected parameters among theirs, and flat fp32 partitions.

    `_places` is aligned with `spans`: group, position in it, offset in the group's partition, and parameter. Under CPU
    offload the partitions hold the gradients too.
    """

    def __init__(
        self,
        optimizer: Any,
        parameters: Mapping[str, nn.Parameter],
        groups: Groups,
        partitions: Sequence[Any] = (),
        is_offloaded: bool = False,
    ) -> None:
        self._optimizer, self._partitions, self._is_offloaded = optimizer, partitions, is_offloaded
        self.group = optimizer.dp_process_group
        self.spans = []
        self._places: list[tuple[int, int, int, nn.Parameter]] = []
        self._names = {id(parameter): name for name, parameter in parameters.items()}
        held = {id(parameter) for group in groups for parameter in group}
        missing = [name for name, parameter in parameters.items() if id(parameter) not in held]
        if missing:
            raise CoverageError(
                f"{len(missing)} of {len(parameters)} selected parameters are not in DeepSpeed's optimizer, first "
                f"{missing[0]!r}; pass every trainable parameter to deepspeed.initialize"
            )

    def _selected(self, groups: Groups) -> Iterator[tuple[str, int, int, nn.Parameter]]:
        """(name, group, position in the group, parameter) of the selected parameters."""
        for index, members in enumerate(groups):
            for position, parameter in enumerate(members):
                if id(parameter) in self._names:
                    yield self._names[id(parameter)], index, position, parameter

    def _views(self, flat: Sequence[Tensor]) -> list[Tensor]:
        return [
            flat[index].view(-1).narrow(0, offset, span.numel)
            for span, (index, _, offset, _) in zip(self.spans, self._places, strict=True)
        ]

    def weights(self) -> list[Tensor]:
        """Views of the fp32 master partition."""
        return self._views([partition.data for partition in self._partitions])

    def loss_scale(self) -> float:
        """DeepSpeed's current fp16 loss scale."""
        return float(self._optimizer.loss_scale)

    def commit(self) -> None:
        """Refresh the norms that CPU offload cached during the backward pass; clipping uses them (6e-4 off without)."""
        if self._is_offloaded:
            for gradient, (_, _, _, parameter) in zip(self.gradients(), self._places, strict=True):
                key = self._optimizer.get_param_id(parameter)
                self._optimizer.norm_for_param_grads[key] = torch.linalg.vector_norm(gradient, dtype=torch.float32)


class PartitionShards(_OptimizerShards):
    """ZeRO 1 and 2: each rank owns one range of every flat parameter group.

    Positions come from `grad_start_offset` and `grad_partition_insertion_offset`, which follow round_robin_gradients;
    `_hp_mapping` does not.
    """

    def __init__(self, optimizer: Any, parameters: Mapping[str, nn.Parameter]) -> None:
        partitions = optimizer.single_partition_of_fp32_groups
        super().__init__(optimizer, parameters, optimizer.bit16_groups, partitions, optimizer.cpu_offload)
        for name, index, position, parameter in self._selected(optimizer.params_in_partition):
            rank = dist.get_rank(group=optimizer.real_dp_process_group[index])
            key = optimizer.get_param_id(parameter)
            start = int(optimizer.grad_start_offset[index][rank][key])
            offset = int(optimizer.grad_partition_insertion_offset[index][rank][key])
            numel = min(parameter.numel() - start, int(optimizer.partition_size[index]) - offset)
            if numel > 0:
                self.spans.append(Span(name, start, start + numel))
                self._places.append((index, position, offset, parameter))

    def gradients(self) -> list[Tensor | None]:
        """Views of `averaged_gradients`, or of the host's flat fp32 gradient under CPU offload."""
        if self._is_offloaded:
            self._optimizer._wait_for_offload_copies()
            return [*self._views([partition.grad for partition in self._partitions])]
        pieces = {index: _by_offset(tensors) for index, tensors in self._optimizer.averaged_gradients.items()}
        places = zip(self.spans, self._places, strict=True)
        return [_piece(pieces[index], offset, span) for span, (index, _, offset, _) in places]


def _piece(pieces: dict[int, tuple[list[Tensor], int]], offset: int, span: Span) -> Tensor:
    tensors, position = pieces[offset]
    if tensors[position].numel() != span.numel:
        raise TrainingError(
            f"DeepSpeed holds {tensors[position].numel()} gradient elements of {span.name!r} at offset {offset}, "
            f"expected {span.numel}; this version of DeepSpeed lays its partitions out differently from 0.19"
        )
    if not tensors[position].is_contiguous():
        tensors[position] = tensors[position].contiguous()
    return tensors[position].view(-1)


def _by_offset(tensors: list[Tensor]) -> dict[int, tuple[list[Tensor], int]]:
    """Where each tensor of a partition's list begins in the flat partition; padding is in the list too."""
    places, offset = {}, 0
    for position, tensor in enumerate(tensors):
        places[offset] = (tensors, position)
        offset += tensor.numel()
    return places


class Stage3Shards(_OptimizerShards):
    """ZeRO 3: each rank owns the rank-th of equal parts of every parameter, the last one padded."""

    def __init__(self, optimizer: Any, parameters: Mapping[str, nn.Parameter]) -> None:
        if optimizer.swap_optimizer:
            raise TrainingError("optimizer states are offloaded to NVMe; expected the device or the CPU")
        partitions = optimizer.fp32_partitioned_groups_flat
        super().__init__(optimizer, parameters, optimizer.fp16_groups, partitions, optimizer.offload_optimizer)
        rank = dist.get_rank(group=self.group)
        for name, index, position, parameter in self._selected(optimizer.fp16_groups):
            part = int(parameter.partition_numel())  # type: ignore[attr-defined]
            numel = min(part, parameter.ds_numel - rank * part)  # type: ignore[attr-defined]
            if numel > 0:
                self.spans.append(Span(name, rank * part, rank * part + numel))
                offset = optimizer.grad_position[optimizer.get_param_id(parameter)][1]
                self._places.append((index, position, int(offset), parameter))

    def gradients(self) -> list[Tensor | None]:
        """Views of `averaged_gradients`, or of the host's flat fp32 gradient under CPU offload."""
        if self._is_offloaded:
            return [*self._views([partition.grad for partition in self._partitions])]
        return [
            self._optimizer.averaged_gradients[index][position].view(-1).narrow(0, 0, span.numel)
            for span, (index, position, _, _) in zip(self.spans, self._places, strict=True)
        ]


class Bf16Shards(_OptimizerShards):
    """bf16 with fp32 accumulation under ZeRO 1: whole fp32 gradients on every rank, clipped by the norm of all."""

    def __init__(self, optimizer: Any, parameters: Mapping[str, nn.Parameter]) -> None:
        super().__init__(optimizer, parameters, optimizer.bf16_groups)
        for name, index, position, parameter in self._selected(optimizer.bf16_groups):
            self.spans.append(Span(name, 0, parameter.numel(), world_size(self.group)))
            self._places.append((index, position, 0, parameter))

    def gradients(self) -> list[Tensor | None]:
        """Views of the fp32 accumulation buffer."""
        return [self._optimizer.fp32_groups_gradients[i][j].view(-1) for i, j, _, _ in self._places]

    def weights(self) -> list[Tensor]:
        """The bf16 parameters; the fp32 master weights lie on other ranks."""
        return [parameter.data.view(-1) for _, _, _, parameter in self._places]

    def loss_scale(self) -> float:
        """bf16 needs no loss scale."""
        return 1.0
