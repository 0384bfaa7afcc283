"""The merge methods: a recipe is one function from the operands of every tensor to a reader of each merged tensor.

A row of METHODS (config.py) names its recipe and sets its switches. What a recipe must know of a whole tensor (weights,
thresholds, scales) it reads in bounded memory before it yields; the reader then serves any slice.
`merge_tensors` merges tensors in memory; it is the definition that the streamed merge is tested against.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from drift.merging import primitives as p
from drift.merging import spectral
from drift.merging.config import Hyperparameters, MergeError, Method
from drift.merging.operands import ROLES, Merge, Merged, Operands
from drift.merging.threshold import Read, magnitude_threshold
from drift.selection import layer_of

Recipe = Callable[[Merge], Iterator[Merged]]
RECIPES: dict[str, Recipe] = {}


def recipe(function: Recipe) -> Recipe:
    """Registers a recipe under its own name, which rows of METHODS give."""
    RECIPES[function.__name__] = function
    return function


@recipe
def interpolate(merge: Merge) -> Iterator[Merged]:
    """(w_V V + w_R R), over the sum of the weights where the row normalizes; the weights may depend on the layer.

    Raises:
        MergeError: layer swap leaves no layer to merge, or the weights sum to 0 and are divided by.
    """
    method, chosen, count = merge.method, merge.chosen, merge.layers
    kept = chosen.kept_layers(count)
    if method.layers != "all" and kept + chosen.top_layers + 1 >= count:
        raise MergeError(
            f"{method.key} keeps layers 0..{kept} and the last {chosen.top_layers}; "
            f"the model has {count} layers, so nothing is left to merge: lower keep_layers"
        )
    for each in merge.tensors:
        weights = _layer_weights(merge, layer_of(each.name), count)
        divisor = float(torch.tensor(weights).sum()) if method.normalize else 1.0
        if divisor == 0.0:
            raise MergeError(f"{method.key} ({method.variant}) divides by the sum of its weights {weights}, which is 0")
        is_copy = weights == (1.0, 0.0)
        yield _copy(each) if is_copy else _combined(each, weights, divisor=divisor)


@recipe
def task_vectors(merge: Merge) -> Iterator[Merged]:
    """B plus a mixture of the two task vectors, trimmed or dropped, by the row's election and division."""
    parts = [[(each.delta(role), each.numel) for each in merge.tensors] for role in ROLES[:2]]
    shared = (
        [magnitude_threshold(part, merge.chosen.density) for part in parts]
        if merge.method.trim == "model"
        else [0.0, 0.0]
    )
    for each in merge.tensors:
        thresholds, scales = shared, [1.0, 1.0]
        if merge.method.trim == "tensor":
            deltas = [[(each.delta(role), each.numel)] for role in ROLES[:2]]
            thresholds = [magnitude_threshold(delta, merge.chosen.density) for delta in deltas]
        if merge.method.trim == "random":
            scales = [_scale(each, role, merge) for role in ROLES[:2]]
        yield _onto_base(each, merge, partial(_mix, merge, each.name, thresholds, scales))


@recipe
def slerp(merge: Merge) -> Iterator[Merged]:
    """Great-circle interpolation of each flattened tensor."""
    for each in merge.tensors:
        products = p.inner_products(each.tensor("mllm"), each.tensor("expert"), each.numel)
        yield _combined(each, p.slerp_weights(*products, merge.chosen.t))


@recipe
def model_stock(merge: Merge) -> Iterator[Merged]:
    """r (V + R)/2 + (1 - r) B, with r from the angle between the task vectors."""
    for each in merge.tensors:
        products = p.inner_products(each.delta("mllm"), each.delta("expert"), each.numel)
        ratio = p.model_stock_ratio(*products)
        yield _combined(each, (ratio / 2.0, ratio / 2.0), base_weight=1.0 - ratio)


@recipe
def tsv(merge: Merge) -> Iterator[Merged]:
    """B plus the sum of the task vectors' half-rank SVDs with decorrelated singular vectors."""
    for each in merge.tensors:
        yield _onto_base(each, merge, partial(_singular, each.shape, merge.weights), is_whole=True)


@recipe
def selective_rl(merge: Merge) -> Iterator[Merged]:
    """V + alpha (B - V) + beta Z in every matrix, Z the reasoning direction of R - B; vectors stay the MLLM's."""
    for each in merge.tensors:
        is_matrix = len(each.shape) == 2
        yield Merged(partial(_selective, merge, each), is_whole=True) if is_matrix else _copy(each)


@recipe
def star(merge: Merge) -> Iterator[Merged]:
    """B plus the weighted task vectors, each cut to its leading singular values and rescaled to their sum."""

    def mix(each: Operands, deltas: list[Tensor]) -> Tensor:
        if len(each.shape) == 2:
            deltas = [spectral.truncated(delta, merge.chosen.share) for delta in deltas]
        return p.weighted_sum_(deltas, merge.weights)

    yield from _wholes(merge, mix)


@recipe
def iso_c(merge: Merge) -> Iterator[Merged]:
    """B plus the sum of the task vectors with all its singular values made equal; vectors are averaged."""

    def mix(each: Operands, deltas: list[Tensor]) -> Tensor:
        total = p.weighted_sum_(deltas, merge.weights)
        return (spectral.isotropic(total) if len(each.shape) == 2 else total / 2.0) * merge.chosen.scale

    yield from _wholes(merge, mix)


@recipe
def swudi(merge: Merge) -> Iterator[Merged]:
    """B plus the task vector that interferes least with both, as far as gradient flow gets; vectors are averaged."""

    def mix(each: Operands, deltas: list[Tensor]) -> Tensor:
        parts = [delta * weight for delta, weight in zip(deltas, merge.weights, strict=True)]
        if len(each.shape) != 2:
            return torch.stack(parts).mean(0) * merge.chosen.scale
        return spectral.least_interference(parts, merge.chosen.time, merge.chosen.share) * merge.chosen.scale

    yield from _wholes(merge, mix)


def plan_merge(method: Method, chosen: Hyperparameters, tensors: Sequence[Operands], seed: int) -> list[Merged]:
    """What reads each merged tensor; reads what the method must know of whole tensors, and nothing where it needs none.

    Raises:
        MergeError: the method can't merge a model of these layers with these weights.
    """
    return list(RECIPES[method.recipe](Merge(method, chosen, tensors, seed)))


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
    merged = plan_merge(method, hyperparameters, operands, seed)
    return {each.name: new.read(0, each.numel).view(each.shape) for each, new in zip(operands, merged, strict=True)}


def check_base(method: Method, has_base: bool) -> None:
    """Raises:
    MergeError: the method works on task vectors and has no base to take them from.
    """
    if method.needs_base and not has_base:
        raise MergeError(
            f"{method.key} ({method.variant}) works on task vectors and needs base=, the text model that MLLM and "
            "expert were both tuned from (Qwen/Qwen2.5-7B for Qwen2.5-VL, Qwen/Qwen2-7B for Qwen2-VL)"
        )


def _copy(each: Operands) -> Merged:
    """The MLLM's own."""
    return Merged(each.tensor("mllm"), is_copy=True)


def _wholes(merge: Merge, mix: Callable[[Operands, list[Tensor]], Tensor]) -> Iterator[Merged]:
    """The base plus what `mix` makes of a tensor's two whole task vectors."""
    for each in merge.tensors:

        def shaped(deltas: list[Tensor], start: int, stop: int, each: Operands = each) -> Tensor:
            return mix(each, [delta.view(each.shape) for delta in deltas]).reshape(-1)

        yield _onto_base(each, merge, shaped, is_whole=True)


def _selective(merge: Merge, each: Operands, start: int, stop: int) -> Tensor:
    chosen = merge.chosen
    mllm, expert, base = (each.read(role, start, stop).view(each.shape) for role in ROLES)
    direction = spectral.reasoning_direction(
        expert - base, chosen.rank, chosen.direction, chosen.length, each.name, merge.seed
    )
    return (mllm + chosen.alpha * (base - mllm) + chosen.beta * direction).reshape(-1)


def _reader(tensor: Tensor) -> Read:
    flat = tensor.reshape(-1)
    return lambda start, stop: flat[start:stop].clone()


def _layer_weights(merge: Merge, layer: int | None, count: int) -> tuple[float, float]:
    """A layer's (w_V, w_R); sandwich: MLLM below and above (the final norm is above), mean at seams, expert between."""
    kept = merge.chosen.kept_layers(count)
    if merge.method.layers == "sandwich":
        first, last = kept + 1, count - merge.chosen.top_layers - 1
        if layer is None or not first <= layer <= last:
            return 1.0, 0.0
        return (0.5, 0.5) if layer in (first, last) else (0.0, 1.0)
    is_kept = merge.method.layers == "above" and layer is not None and layer <= kept
    return (1.0, 0.0) if is_kept else merge.weights


def _combined(
    each: Operands, weights: tuple[float, float], *, base_weight: float = 0.0, divisor: float = 1.0
) -> Merged:
    """Weighted sum of tensors; a weight of 0 reads nothing."""
    w_mllm, w_expert = weights

    def read(start: int, stop: int) -> Tensor:
        for role, weight, other in (("mllm", w_mllm, w_expert), ("expert", w_expert, w_mllm)):
            if other == 0.0 and base_weight == 0.0:
                alone = each.read(role, start, stop).mul_(weight)
                return alone if divisor == 1.0 else alone.div_(divisor)
        mllm, expert = (each.read(role, start, stop) for role in ROLES[:2])
        merged = p.interpolate_(mllm, expert, weights, divisor)
        return merged.add_(each.read("base", start, stop), alpha=base_weight) if base_weight != 0.0 else merged

    return Merged(read)


def _onto_base(
    each: Operands, merge: Merge, mix: Callable[[list[Tensor], int, int], Tensor], *, is_whole: bool = False
) -> Merged:
    """The base plus what `mix` makes of the two task vectors; the base alone where both weights are 0."""

    def read(start: int, stop: int) -> Tensor:
        base = each.read("base", start, stop)
        if merge.weights == (0.0, 0.0):
            return base
        return base.add_(mix([each.read(role, start, stop).sub_(base) for role in ROLES[:2]], start, stop))

    return Merged(read, is_whole=is_whole)


def _mix(
    merge: Merge,
    name: str,
    thresholds: Sequence[float],
    scales: Sequence[float],
    deltas: list[Tensor],
    start: int,
    stop: int,
) -> Tensor:
    """One merged task vector out of two: trimmed or dropped, elected and divided by the row's switches."""
    method, density = merge.method, merge.chosen.density
    for delta, role, threshold, scale in zip(deltas, ROLES, thresholds, scales, strict=False):
        p.trim_(delta, threshold)
        if method.trim == "random" and density < 1.0:
            p.drop_(delta, p.random_mask(merge.seed, role, name, density, start, stop))
        if scale != 1.0:
            delta.mul_(scale)
    if method.elect == "none":
        return p.weighted_sum_(deltas, merge.weights)
    votes = {"none": None, "count": (1.0, 1.0), "weights": merge.weights}[method.divide]
    if method.elect == "unweighted":
        return p.disjoint_merge_(deltas, p.elect_sign(deltas), merge.weights, votes)
    for delta, weight in zip(deltas, merge.weights, strict=True):
        delta.mul_(weight)
    return p.disjoint_merge_(deltas, p.elect_sign(deltas), votes=votes)


def _singular(
    shape: tuple[int, ...], weights: tuple[float, float], deltas: list[Tensor], start: int, stop: int
) -> Tensor:
    return p.task_singular_vectors([delta.view(shape) for delta in deltas], weights).reshape(-1)


def _scale(each: Operands, role: str, merge: Merge) -> float:
    """What a dropped task vector is multiplied by."""
    density, rescale = merge.chosen.density, merge.chosen.rescale
    if rescale == "none" or density == 1.0:
        return 1.0
    if rescale == "density":
        return 1.0 / density
    mask = partial(p.random_mask, merge.seed, role, each.name, density)
    return p.l1_scale(each.delta(role), mask, each.numel)
