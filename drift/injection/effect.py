"""What a run did along the prior: w_eff = <theta_t - theta_0, Delta> / ||Delta||^2, the share of Delta covered so far.

w_eff = 0 is where training started and 1 is a full merge. theta_0 is never kept: <theta_0, Delta> is one number per
parameter, so a resumed run needs that number and not the original weights. RunObserver measures any run, also plain
SFT; `effective_weight` measures two checkpoint folders.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from drift.errors import CheckpointError, DriftError
from drift.injection.bias import by_parameter, chunks, read_deltas, weight_products
from drift.injection.coverage import Prior, covered_parameters
from drift.injection.shards import GradientShards, Span, dtensor_span, local_tensor, rank, world_size
from drift.injection.targets import Seam, open_seam
from drift.selection import group_of, layer_of, module_of
from drift.singular import LowRank
from drift.sources import open_source


def _own_slice(name: str, parameter: nn.Parameter) -> tuple[Span, Tensor]:
    """This rank's part of a weight before any optimizer exists; each element is on exactly one rank's list.

    Args:
        parameter: whole, a DTensor, or partitioned by ZeRO-3's zero.Init.
    """
    if isinstance(parameter, DTensor):
        return dtensor_span(name, parameter), local_tensor(parameter.data).reshape(-1)
    if "ds_tensor" in vars(parameter):
        own, number = parameter.ds_tensor.data.view(-1), dist.get_rank(parameter.ds_process_group)  # type: ignore[attr-defined]
        start, end = number * own.numel(), parameter.ds_numel  # type: ignore[attr-defined]
        stop = max(start, min(start + own.numel(), end))
        return Span(name, start, stop), own[: stop - start]
    part = math.ceil(parameter.numel() / world_size())
    start = min(rank() * part, parameter.numel())
    stop = min(start + part, parameter.numel())
    return Span(name, start, stop), parameter.data.reshape(-1)[start:stop]


@dataclass(frozen=True)
class Held:
    """What this rank holds of the prior while the gradients' owner exists: slices of Delta, aligned with its shards."""

    owner: object | None
    shards: GradientShards
    deltas: list[Tensor | LowRank]


class RunObserver:
    """Measures w_eff of a run and changes nothing: no hook, no wrapped method.

    It knows where each parameter stands along its Delta from two inner products, at the start and now. It keeps its
    slices of Delta in memory, as an injection does, so that both cost the same and a comparison of runs is one of runs.
    """

    def __init__(self, prior: Prior) -> None:
        self._prior = prior
        self._names = list(prior.names)
        self._squared = torch.tensor([prior.norm(name) ** 2 for name in self._names], dtype=torch.float64)
        self._origin: Tensor | None = None  # (n, 2): <theta_0, Delta> and ||theta_0||^2
        self._seen: Tensor | None = None  # (n,): w_eff of every parameter when it was last measured
        self._seam: Seam | None = None
        self._held: Held | None = None

    def attach(self, target: Any) -> Self:
        """Take the target's weights as theta_0, unless a starting point was loaded; all ranks call this together.

        Args:
            target: a DeepSpeedEngine, a transformers Trainer, an accelerate Accelerator or a module.
        Raises:
            CoverageError: prior and model do not cover the same parameters.
        """
        seam = open_seam(target)
        parameters = covered_parameters(seam.model(), self._prior)
        if self._origin is None:
            slices = [_own_slice(name, parameter) for name, parameter in parameters.items()]
            slices = [(span, weights) for span, weights in slices if span.numel]
            self._origin = self._sums([span for span, _ in slices], [weights for _, weights in slices], None).cpu()
        self._seam = seam
        return self

    def _sums(self, spans: Sequence[Span], weights: Sequence[Tensor], group: dist.ProcessGroup | None) -> Tensor:
        """(n, 2): <theta, Delta> and ||theta||^2 over all ranks; Delta is read from the prior as it is asked for."""

        def read(index: int, start: int, stop: int) -> Tensor:
            span = spans[index]
            return self._prior.read_slice(span.name, span.start + start, span.start + stop, dtype=torch.float32)

        return by_parameter(weight_products(spans, weights, read), spans, self._names, group)

    @property
    def _attached(self) -> Seam:
        if self._seam is None:
            raise DriftError("nothing is attached; call attach(target) first")
        return self._seam

    def _hold(self) -> Held:
        """The slices of Delta that go with the optimizer's shards, read when there is a new optimizer."""
        seam, owner = self._attached, self._attached.owner()
        if self._held is None or self._held.owner is not owner:
            self._held = None
            shards = seam.shards(covered_parameters(seam.model(), self._prior))
            devices = [weight.device for weight in shards.weights()]
            self._held = Held(owner, shards, read_deltas(self._prior, shards.spans, devices))
        return self._held

    @torch.no_grad()
    def _now(self) -> Tensor:
        held = self._hold()
        shards, deltas = held.shards, held.deltas
        local = weight_products(shards.spans, shards.weights(), lambda i, start, stop: deltas[i][start:stop])
        return by_parameter(local, shards.spans, self._names, shards.group)

    def _started(self) -> Tensor:
        if self._origin is None:
            raise DriftError("w_eff has no starting point; call attach() or load_state_dict() first")
        return self._origin

    def _shares(self) -> Tensor:
        """w_eff of every parameter, (n,)."""
        moved = self._now()[:, 0].cpu() - self._started()[:, 0]
        self._seen = torch.where(self._squared > 0, moved / self._squared, torch.zeros_like(moved))
        return self._seen

    def w_eff(self) -> float:
        """<theta_t - theta_0, Delta> / ||Delta||^2 over all parameters; all ranks call this together."""
        return float((self._shares() * self._squared).sum() / self._squared.sum())

    def w_eff_by_group(self) -> dict[str, float]:
        """w_eff over each module group's parameters, as `w_eff` last measured it; no collective, empty before that."""
        if self._seen is None:
            return {}
        groups: dict[str, list[int]] = {}
        for place, name in enumerate(self._names):
            groups.setdefault(group_of(name), []).append(place)
        return {
            group: float((self._seen[places] * self._squared[places]).sum() / self._squared[places].sum())
            for group, places in groups.items()
        }

    def layer_table(self) -> list[dict[str, Any]]:
        """One row per parameter: name, layer (None outside the layers), module, group, w_eff, delta_norm.

        All ranks call this together.
        """
        columns = zip(self._names, self._shares().tolist(), self._squared.tolist(), strict=True)
        return [{**_place(name), "w_eff": share, "delta_norm": math.sqrt(squared)} for name, share, squared in columns]

    def state_dict(self) -> dict[str, Any]:
        """The starting point, ready for JSON: store it with the first checkpoint, load it when resuming."""
        pairs = zip(self._names, self._started().tolist(), strict=True)
        return {"origin": {name: {"theta_dot_delta": dot, "theta_squared": squared} for name, (dot, squared) in pairs}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Measure from the start of the original run; before or after `attach`.

        Raises:
            DriftError: the state was saved with another prior.
        """
        origin = state["origin"]
        missing = sorted(set(self._names) ^ set(origin))
        if missing:
            raise DriftError(
                f"the saved starting point and the prior differ, first at {missing[0]!r}; use the run's own prior"
            )
        rows = [[origin[name]["theta_dot_delta"], origin[name]["theta_squared"]] for name in self._names]
        self._origin = torch.tensor(rows, dtype=torch.float64)

    def detach(self) -> None:
        """Forget the target and free Delta."""
        self._seam = self._held = None


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
        for first, last in chunks(math.prod(prior.shape(name)), torch.device("cpu")):
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
