"""What a run did along the prior: w_eff = <theta_t - theta_0, Delta> / ||Delta||^2, the share of Delta covered so far.

w_eff = 0 is where training started and 1 is a full merge. theta_0 is never kept: <theta_0, Delta> is one number per
parameter, so a resumed run needs that number and not the original weights. RunObserver measures any run, also plain
SFT; `effective_weight` measures two checkpoint folders.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from drift.errors import CheckpointError, DriftError
from drift.injection.bias import ReadDelta, by_parameter, chunks, weight_products
from drift.injection.coverage import Prior, covered_parameters
from drift.injection.observers import parameter_numel
from drift.injection.shards import GradientShards, Span, dtensor_span, local_tensor, rank_of, world_size
from drift.injection.targets import Seam, open_seam
from drift.selection import group_of, layer_of, module_of
from drift.sources import open_source

log = logging.getLogger(__name__)


def module_slices(parameters: Mapping[str, nn.Parameter]) -> list[tuple[Span, Tensor]]:
    """This rank's part of the weights before any optimizer exists; each element is on exactly one rank's list.

    Args:
        parameters: canonical name to parameter: whole, a DTensor, or partitioned by ZeRO-3's zero.Init.
    """
    slices = [_module_slice(name, parameter) for name, parameter in parameters.items()]
    return [(span, weights) for span, weights in slices if span.numel]


def _module_slice(name: str, parameter: nn.Parameter) -> tuple[Span, Tensor]:
    if isinstance(parameter, DTensor):
        return dtensor_span(name, parameter), local_tensor(parameter.data).reshape(-1)
    if "ds_tensor" in vars(parameter):
        own, rank = parameter.ds_tensor.data.view(-1), dist.get_rank(parameter.ds_process_group)  # type: ignore[attr-defined]
        start, end = rank * own.numel(), parameter.ds_numel  # type: ignore[attr-defined]
        stop = max(start, min(start + own.numel(), end))
        return Span(name, start, stop), own[: stop - start]
    part = math.ceil(parameter.numel() / world_size(None))
    start = min(rank_of(None) * part, parameter.numel())
    stop = min(start + part, parameter.numel())
    return Span(name, start, stop), parameter.data.reshape(-1)[start:stop]


def disk_reader(prior: Prior, spans: Sequence[Span]) -> ReadDelta:
    """Reads parts of the spans' Deltas from the prior's folder when they are asked for, and keeps nothing."""

    def read(index: int, start: int, stop: int) -> Tensor:
        span = spans[index]
        return prior.read_slice(span.name, span.start + start, span.start + stop, dtype=torch.float32)

    return read


class Displacement:
    """Where each parameter stands along its Delta, from the inner products at the start and now."""

    def __init__(self, prior: Prior) -> None:
        self.names = list(prior.names)
        self.squared = torch.tensor([prior.norm(name) ** 2 for name in self.names], dtype=torch.float64)
        self._origin: Tensor | None = None

    @property
    def origin(self) -> Tensor:
        """(n, 2): <theta_0, Delta> and ||theta_0||^2.

        Raises:
            DriftError: nothing has been measured yet.
        """
        if self._origin is None:
            raise DriftError("w_eff has no starting point; call attach() or load_state_dict() first")
        return self._origin

    @property
    def has_origin(self) -> bool:
        """Whether the starting point is known."""
        return self._origin is not None

    def measure_origin(self, prior: Prior, parameters: Mapping[str, nn.Parameter]) -> None:
        """Take the weights as they are now for theta_0; all ranks call this together."""
        slices = module_slices(parameters)
        spans, weights = [span for span, _ in slices], [weight for _, weight in slices]
        products = weight_products(spans, weights, disk_reader(prior, spans))
        self._origin = by_parameter(products, spans, self.names, None).cpu()

    def shares(self, now: Tensor) -> Tensor:
        """w_eff of every parameter, (n,), from <theta_t, Delta>, (n,)."""
        moved = now.cpu() - self.origin[:, 0]
        return torch.where(self.squared > 0, moved / self.squared, torch.zeros_like(moved))

    def total(self, shares: Tensor) -> float:
        """w_eff of all parameters together: the shares weighted by ||Delta||^2."""
        return float((shares * self.squared).sum() / self.squared.sum())

    def table(self, shares: Tensor) -> list[dict[str, Any]]:
        """One row per parameter: name, layer (None outside the layers), module, group, w_eff, delta_norm."""
        rows = []
        for name, share, squared in zip(self.names, shares.tolist(), self.squared.tolist(), strict=True):
            rows.append({**_place(name), "w_eff": share, "delta_norm": math.sqrt(squared)})
        return rows

    def state_dict(self) -> dict[str, dict[str, float]]:
        """The starting point, ready for JSON: store it with the first checkpoint, load it when resuming."""
        pairs = zip(self.names, self.origin.tolist(), strict=True)
        return {name: {"theta_dot_delta": dot, "theta_squared": squared} for name, (dot, squared) in pairs}

    def load_state_dict(self, state: Mapping[str, Mapping[str, float]]) -> None:
        """Take the starting point of the original run.

        Raises:
            DriftError: the state was saved with another prior.
        """
        missing = sorted(set(self.names) ^ set(state))
        if missing:
            raise DriftError(
                f"the saved starting point and the prior differ, first at {missing[0]!r}; use the run's own prior"
            )
        rows = [[state[name]["theta_dot_delta"], state[name]["theta_squared"]] for name in self.names]
        self._origin = torch.tensor(rows, dtype=torch.float64)


class RunObserver:
    """Measures w_eff of a run and changes nothing: no hook, no wrapped method, no Delta in memory."""

    def __init__(self, prior: Prior) -> None:
        self._prior = prior
        self._displacement = Displacement(prior)
        self._seam: Seam | None = None

    def attach(self, target: Any) -> "RunObserver":
        """Take the target's weights as theta_0.

        Args:
            target: a DeepSpeedEngine, a transformers Trainer, an accelerate Accelerator or a module.
        Raises:
            CoverageError: prior and model do not cover the same parameters.
        """
        self._seam = open_seam(target)
        parameters = covered_parameters(self._seam.model(), self._prior)
        if not self._displacement.has_origin:
            self._displacement.measure_origin(self._prior, parameters)
        return self

    def _shares(self) -> Tensor:
        if self._seam is None:
            raise DriftError("nothing is attached; call attach(target) first")
        shards: GradientShards = self._seam.shards(covered_parameters(self._seam.model(), self._prior))
        products = weight_products(shards.spans, shards.weights(), disk_reader(self._prior, shards.spans))
        now = by_parameter(products, shards.spans, self._displacement.names, shards.group)
        return self._displacement.shares(now[:, 0])

    def w_eff(self) -> float:
        """The share of Delta covered so far; all ranks call this together."""
        return self._displacement.total(self._shares())

    def layer_table(self) -> list[dict[str, Any]]:
        """One row per parameter, see Displacement.table; all ranks call this together."""
        return self._displacement.table(self._shares())

    def state_dict(self) -> dict[str, Any]:
        """The starting point, ready for JSON."""
        return {"origin": self._displacement.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Measure from the start of the original run."""
        self._displacement.load_state_dict(state["origin"])

    def detach(self) -> None:
        """Forget the target."""
        self._seam = None


def effective_weight(trained: Path | str, start: Path | str, prior: Prior) -> dict[str, Any]:
    """How far `trained` has moved from `start` along the prior, from checkpoint folders alone.

    Args:
        trained: checkpoint folder (or hub id) after training.
        start: the one before training.
        prior: the prior to measure against, whether or not the run used it.
    Returns:
        w_eff; cosine of the whole move with Delta; relative_norm = ||move|| / ||Delta||; and `layers`, one row per
        parameter with w_eff and cosine.
    Raises:
        CheckpointError: a checkpoint is broken or lacks a parameter of the prior.
    """
    after, before = open_source(trained), open_source(start)
    for source in (after, before):
        missing = [name for name in prior.names if not source.has(name)]
        if missing:
            raise CheckpointError(f"{source.folder} has no {missing[0]!r}; expected every parameter of the prior")
    rows, sums = [], torch.zeros(3, dtype=torch.float64)
    for name in prior.names:
        products = torch.zeros(3, dtype=torch.float64)
        for first, last in chunks(parameter_numel(prior, name), torch.device("cpu")):
            move = after.read_slice(name, first, last).double() - before.read_slice(name, first, last).double()
            delta = prior.read_slice(name, first, last, dtype=torch.float32).double()
            products += torch.stack([move.dot(delta), move.dot(move), delta.dot(delta)])
        rows.append({**_place(name), **_summary(products)})
        sums += products
    return {**_summary(sums), "layers": rows}


def _place(name: str) -> dict[str, Any]:
    return {"name": name, "layer": layer_of(name), "module": module_of(name), "group": group_of(name)}


def _summary(products: Tensor) -> dict[str, float]:
    dot, moved, squared = products.tolist()
    return {
        "w_eff": dot / squared if squared else 0.0,
        "cosine": dot / math.sqrt(moved * squared) if moved * squared else 0.0,
        "relative_norm": math.sqrt(moved / squared) if squared else 0.0,
    }
