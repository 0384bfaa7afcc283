"""What a method must know about a whole tensor before it can merge a slice: weights, thresholds, scales.

One small plan a tensor, made by reading in bounded memory, and by reading nothing where the method needs nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from drift.merging import primitives as p
from drift.merging.config import Hyperparameters, MergeError, Method
from drift.merging.threshold import Read, magnitude_threshold
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
        return torch.Size(self.shape).numel()

    def read(self, role: str, start: int, stop: int) -> Tensor:
        """Elements start..stop as a float32 tensor that the caller may overwrite."""
        return self.readers[role](start, stop).float()

    def tensor(self, role: str) -> Read:
        """What reads slices of the tensor in `role`."""
        return lambda start, stop: self.read(role, start, stop)

    def delta(self, role: str) -> Read:
        """What reads slices of the task vector `role` minus base."""
        return lambda start, stop: self.read(role, start, stop).sub_(self.read("base", start, stop))


@dataclass(frozen=True)
class TensorPlan:
    """What has to be known about a whole tensor before any slice of it can be merged.

    Attributes:
        kind: copy (the MLLM's bytes), combine (weights of tensors), vectors (weights of task vectors) or whole.
        weights: (w_V, w_R).
        base_weight: weight of the base in `combine`.
        divisor: of the weighted sum in `combine`.
        thresholds: magnitudes below which each task vector is zeroed; 0 for none.
        scales: factors on each dropped task vector.
    """

    kind: str
    weights: tuple[float, float] = (1.0, 0.0)
    base_weight: float = 0.0
    divisor: float = 1.0
    thresholds: tuple[float, float] = (0.0, 0.0)
    scales: tuple[float, float] = (1.0, 1.0)


def plan_tensors(
    method: Method, hyperparameters: Hyperparameters, operands: Sequence[Operands], seed: int
) -> list[TensorPlan]:
    """One plan for each tensor; reads what the method must know of whole tensors, and nothing where it needs nothing.

    Raises:
        MergeError: layer swap leaves no layer to merge.
    """
    return _PLANNERS[method.recipe](method, hyperparameters, operands, seed)


def _plan_interpolation(
    method: Method, hyperparameters: Hyperparameters, operands: Sequence[Operands], seed: int
) -> list[TensorPlan]:
    """Weights by layer; the same for all but layer swap."""
    count = 1 + max((layer_of(each.name) or 0 for each in operands), default=0)
    weights_of = {"all": _all_layers, "above": _layers_above, "sandwich": _sandwich}[method.layers]
    if method.layers != "all" and hyperparameters.keep_layers + hyperparameters.top_layers + 1 >= count:
        raise MergeError(
            f"{method.key} keeps layers 0..{hyperparameters.keep_layers} and the last {hyperparameters.top_layers}; "
            f"the model has {count} layers, so nothing is left to merge: lower keep_layers"
        )
    plans = []
    for each in operands:
        weights = weights_of(hyperparameters, layer_of(each.name), count)
        divisor = float(torch.tensor(weights).sum()) if method.normalize else 1.0
        if divisor == 0.0:
            raise MergeError(f"{method.key} ({method.variant}) divides by the sum of its weights {weights}, which is 0")
        is_copy = weights == (1.0, 0.0)
        plans.append(TensorPlan("copy") if is_copy else TensorPlan("combine", weights, divisor=divisor))
    return plans


def _all_layers(h: Hyperparameters, layer: int | None, count: int) -> tuple[float, float]:
    return h.weight_mllm, h.weight_expert


def _layers_above(h: Hyperparameters, layer: int | None, count: int) -> tuple[float, float]:
    is_kept = layer is not None and layer <= h.keep_layers
    return (1.0, 0.0) if is_kept else (h.weight_mllm, h.weight_expert)


def _sandwich(h: Hyperparameters, layer: int | None, count: int) -> tuple[float, float]:
    """MLLM below and above (the final norm is above), mean at the two seams, expert between."""
    first, last = h.keep_layers + 1, count - h.top_layers - 1
    if layer is None or not first <= layer <= last:
        return 1.0, 0.0
    return (0.5, 0.5) if layer in (first, last) else (0.0, 1.0)


def _plan_vectors(
    method: Method, hyperparameters: Hyperparameters, operands: Sequence[Operands], seed: int
) -> list[TensorPlan]:
    """Thresholds of the trim, or scales of the drop."""
    weights = (hyperparameters.weight_mllm, hyperparameters.weight_expert)
    if method.trim == "model":
        parts = [[(each.delta(role), each.numel) for each in operands] for role in ROLES[:2]]
        shared = tuple(magnitude_threshold(part, hyperparameters.density) for part in parts)
        return [TensorPlan("vectors", weights, thresholds=shared) for _ in operands]  # type: ignore[arg-type]
    plans = []
    for each in operands:
        thresholds, scales = (0.0, 0.0), (1.0, 1.0)
        if method.trim == "tensor":
            thresholds = _threshold(each, "mllm", hyperparameters), _threshold(each, "expert", hyperparameters)
        if method.trim == "random":
            scales = _scale(each, "mllm", hyperparameters, seed), _scale(each, "expert", hyperparameters, seed)
        plans.append(TensorPlan("vectors", weights, thresholds=thresholds, scales=scales))
    return plans


def _threshold(operands: Operands, role: str, h: Hyperparameters) -> float:
    return magnitude_threshold([(operands.delta(role), operands.numel)], h.density)


def _scale(operands: Operands, role: str, h: Hyperparameters, seed: int) -> float:
    if h.rescale == "none" or h.density == 1.0:
        return 1.0
    if h.rescale == "density":
        return 1.0 / h.density

    def mask(start: int, stop: int) -> np.ndarray:
        return p.random_mask(seed, role, operands.name, h.density, start, stop)

    return p.l1_scale(operands.delta(role), mask, operands.numel)


def _plan_slerp(
    method: Method, hyperparameters: Hyperparameters, operands: Sequence[Operands], seed: int
) -> list[TensorPlan]:
    plans = []
    for each in operands:
        products = p.inner_products(each.tensor("mllm"), each.tensor("expert"), each.numel)
        plans.append(TensorPlan("combine", p.slerp_weights(*products, hyperparameters.t)))
    return plans


def _plan_model_stock(
    method: Method, hyperparameters: Hyperparameters, operands: Sequence[Operands], seed: int
) -> list[TensorPlan]:
    plans = []
    for each in operands:
        products = p.inner_products(each.delta("mllm"), each.delta("expert"), each.numel)
        ratio = p.model_stock_ratio(*products)
        plans.append(TensorPlan("combine", (ratio / 2.0, ratio / 2.0), base_weight=1.0 - ratio))
    return plans


def _plan_whole(
    method: Method, hyperparameters: Hyperparameters, operands: Sequence[Operands], seed: int
) -> list[TensorPlan]:
    weights = (hyperparameters.weight_mllm, hyperparameters.weight_expert)
    return [TensorPlan("whole", weights) for _ in operands]


_PLANNERS = {
    "interpolate": _plan_interpolation,
    "task_vectors": _plan_vectors,
    "slerp": _plan_slerp,
    "model_stock": _plan_model_stock,
    "tsv": _plan_whole,
}
