"""A row of METHODS applied to tensors: any slice of a tensor, given the plan of the whole tensor (plans.py).

`merge_tensors` plans and merges tensors in memory; it is the definition that the streamed merge is tested against.
"""

from collections.abc import Mapping

from torch import Tensor

from drift.merging import primitives as p
from drift.merging.config import Hyperparameters, MergeError, Method
from drift.merging.plans import ROLES, Operands, TensorPlan, plan_tensors
from drift.merging.threshold import Read


def merge_tensors(
    method: Method,
    hyperparameters: Hyperparameters,
    mllm: Mapping[str, Tensor],
    expert: Mapping[str, Tensor],
    base: Mapping[str, Tensor] | None = None,
    *,
    seed: int = 0,
) -> dict[str, Tensor]:
    """The merged LM, float32, from tensors in memory.

    Args:
        mllm, expert, base: canonical name to tensor; all of the same names and shapes.
    Raises:
        MergeError: the method needs a base and there is none, or its layers don't fit the model.
    """
    check_base(method, base is not None)
    sides = {"mllm": mllm, "expert": expert} | ({} if base is None else {"base": base})
    operands = [
        Operands(name, tuple(tensor.shape), {role: _reader(side[name]) for role, side in sides.items()})
        for name, tensor in mllm.items()
    ]
    plans = plan_tensors(method, hyperparameters, operands, seed)
    return {
        each.name: merge_slice(method, hyperparameters, plan, each, 0, each.numel, seed).view(each.shape)
        for each, plan in zip(operands, plans, strict=True)
    }


def _reader(tensor: Tensor) -> Read:
    flat = tensor.reshape(-1)
    return lambda start, stop: flat[start:stop].clone()


def check_base(method: Method, has_base: bool) -> None:
    """Raises:
    MergeError: the method works on task vectors and has no base to take them from.
    """
    if method.needs_base and not has_base:
        raise MergeError(
            f"{method.key} ({method.variant}) works on task vectors and needs base=, the text model that MLLM and "
            "expert were both tuned from (Qwen/Qwen2.5-7B for Qwen2.5-VL, Qwen/Qwen2-7B for Qwen2-VL)"
        )


def merge_slice(
    method: Method,
    hyperparameters: Hyperparameters,
    plan: TensorPlan,
    operands: Operands,
    start: int,
    stop: int,
    seed: int,
) -> Tensor:
    """Elements start..stop of the merged tensor, flat, float32. A plan of kind `whole` must be given all elements."""
    if plan.kind == "copy":
        return operands.read("mllm", start, stop)
    if plan.kind == "combine":
        return _combine(plan, operands, start, stop)
    base = operands.read("base", start, stop)
    if plan.weights == (0.0, 0.0):
        return base
    deltas = [operands.read(role, start, stop).sub_(base) for role in ROLES[:2]]
    if plan.kind == "whole":
        shaped = [delta.view(operands.shape) for delta in deltas]
        return base.add_(p.task_singular_vectors(shaped, plan.weights).reshape(-1))
    _sparsify(method, hyperparameters, plan, operands.name, deltas, start, stop, seed)
    return base.add_(_mix(method, plan.weights, deltas))


def _combine(plan: TensorPlan, operands: Operands, start: int, stop: int) -> Tensor:
    """Weighted sum of tensors; a weight of 0 reads nothing."""
    w_mllm, w_expert = plan.weights
    if w_expert == 0.0 and plan.base_weight == 0.0:
        merged = operands.read("mllm", start, stop).mul_(w_mllm)
        return merged if plan.divisor == 1.0 else merged.div_(plan.divisor)
    if w_mllm == 0.0 and plan.base_weight == 0.0:
        merged = operands.read("expert", start, stop).mul_(w_expert)
        return merged if plan.divisor == 1.0 else merged.div_(plan.divisor)
    mllm, expert = (operands.read(role, start, stop) for role in ROLES[:2])
    merged = p.interpolate_(mllm, expert, plan.weights, plan.divisor)
    if plan.base_weight != 0.0:
        merged.add_(operands.read("base", start, stop), alpha=plan.base_weight)
    return merged


def _sparsify(
    method: Method,
    hyperparameters: Hyperparameters,
    plan: TensorPlan,
    name: str,
    deltas: list[Tensor],
    start: int,
    stop: int,
    seed: int,
) -> None:
    """Trims or drops each task vector in place."""
    for delta, role, threshold, scale in zip(deltas, ROLES, plan.thresholds, plan.scales, strict=False):
        p.trim_(delta, threshold)
        if method.trim == "random" and hyperparameters.density < 1.0:
            p.drop_(delta, p.random_mask(seed, role, name, hyperparameters.density, start, stop))
        if scale != 1.0:
            delta.mul_(scale)


def _mix(method: Method, weights: tuple[float, float], deltas: list[Tensor]) -> Tensor:
    """One merged task vector out of two, by the row's election and division."""
    if method.elect == "none":
        return p.weighted_sum_(deltas, weights)
    votes = {"none": None, "count": (1.0, 1.0), "weights": weights}[method.divide]
    if method.elect == "unweighted":
        return p.disjoint_merge_(deltas, p.elect_sign(deltas), weights, votes)
    for delta, weight in zip(deltas, weights, strict=True):
        delta.mul_(weight)
    return p.disjoint_merge_(deltas, p.elect_sign(deltas), votes=votes)
