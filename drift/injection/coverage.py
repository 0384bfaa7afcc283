"""Coverage as a contract: each selected parameter has a Delta, each Delta a trainable parameter, or nothing starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from drift.adapters import adapters_of, inside_peft, own_parameters
from drift.errors import CoverageError
from drift.families import family_of, lm_parameters
from drift.injection.shards import full_shape
from drift.selection import group_of, layer_of, select
from drift.singular import LowRank


class Prior(Protocol):
    """What the injection asks of a reasoning prior; drift.prior.ReasoningPrior, whose words these are, lies on disk."""

    @property
    def names(self) -> list[str]: ...
    @property
    def groups(self) -> tuple[str, ...]: ...
    @property
    def dtype(self) -> torch.dtype: ...
    def shape(self, name: str) -> tuple[int, ...]: ...
    def norm(self, name: str) -> float: ...
    def read_slice(self, name: str, start: int, stop: int, dtype: torch.dtype = torch.float32) -> Tensor: ...
    def held(self, name: str, start: int, stop: int, device: torch.device) -> Tensor | LowRank: ...


class Start(Protocol):
    """Weights that lie on disk, by canonical name; drift.sources.Source is one."""

    def read_slice(self, name: str, start: int, stop: int) -> Tensor: ...


def unwrap(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside DDP, torch.compile, a DeepSpeed engine or PEFT.

    Raises:
        CoverageError: there is none, so nothing says which family's names apply.
    """
    inner = model
    while not isinstance(inner, PreTrainedModel):
        wrapped = [child for name, child in inner.named_children() if name in ("module", "_orig_mod")]
        wrapped += inside_peft(inner)
        if not wrapped:
            raise CoverageError(
                f"found a {type(model).__name__} without a transformers model in it; expected a PreTrainedModel, "
                "bare or inside DistributedDataParallel, FSDP2, a DeepSpeed engine or PEFT"
            )
        inner = wrapped[0]
    return inner


def covered_parameters(model: nn.Module, prior: Prior) -> dict[str, nn.Parameter]:
    """The model's parameters that the prior moves, by canonical name and in the prior's order.

    Args:
        model: a transformers model, possibly wrapped or sharded.
        prior: names, groups and shapes.
    Raises:
        CoverageError: a Delta without a parameter, a selected parameter without a Delta, two shapes that differ, or a
            selected parameter that is frozen; names the first of them.
    """
    inner = unwrap(model)
    family = family_of(inner.config.to_dict())
    parameters = lm_parameters(inner, family)
    _check_names(list(parameters), prior, f"{type(inner).__name__} ({family.name})")
    covered = {name: parameters[name] for name in prior.names}
    _check_trained(model, covered, prior)
    for name, parameter in covered.items():
        if tuple(full_shape(parameter)) != tuple(prior.shape(name)):
            raise CoverageError(
                f"{name!r} has shape {tuple(full_shape(parameter))} in the model and {tuple(prior.shape(name))} in the "
                "prior; extract the prior from the checkpoint that is being trained"
            )
    return covered


def _check_trained(model: nn.Module, covered: Mapping[str, nn.Parameter], prior: Prior) -> None:
    frozen = [name for name, parameter in covered.items() if not parameter.requires_grad]
    if not frozen:
        return
    groups, adapters = ", ".join(prior.groups), adapters_of(model)
    if adapters:
        raise CoverageError(
            f"{frozen[0]!r} is selected by the prior and frozen in the model, as are {len(frozen)} of {len(covered)}: "
            f"it is trained through the PEFT adapters {', '.join(adapters)}, which never form the gradient of a whole "
            "weight, so there is nothing to add Delta to. Merge them first (model = model.merge_and_unload()) and "
            f"train the groups {groups} in full, or list their modules in modules_to_save"
        )
    raise CoverageError(
        f"{frozen[0]!r} is selected by the prior and frozen in the model; unfreeze it or leave its group out of "
        f"the prior (groups: {groups})"
    )


@dataclass(frozen=True)
class Share:
    """Parameters of one kind, and why the prior moves them or leaves them alone.

    Attributes:
        group: module group; "outside" for what is not the LM's, "adapters" for what PEFT brought along.
        is_covered: whether the prior moves them.
        layers: their layers' numbers; empty outside the layers.
        parameters: how many tensors.
        elements: how many numbers.
        reason: why.
    """

    group: str
    is_covered: bool
    layers: tuple[int, ...]
    parameters: int
    elements: int
    reason: str

    def __str__(self) -> str:
        layers = f" in layers {_ranges(self.layers)}" if self.layers else ""
        return f"{self.group} {self.parameters}{layers}, {self.elements:,} elements"


def coverage_shares(model: nn.Module, prior: Prior) -> list[Share]:
    """Every parameter of the model in one row or another, those that the prior moves first."""
    inner, moved = unwrap(model), set(prior.names)
    lm = lm_parameters(inner, family_of(inner.config.to_dict()))
    shares = []
    for is_covered in (True, False):
        names = [name for name in lm if (name in moved) is is_covered]
        for group in dict.fromkeys(map(group_of, names)):
            known = "its layers are not in the prior" if group in prior.groups else "the prior has no such group"
            part = {name: lm[name] for name in names if group_of(name) == group}
            shares.append(_share(group, part, "in the prior" if is_covered else known, is_covered))
    own = own_parameters(inner)
    language, ours = ({id(parameter) for parameter in part.values()} for part in (lm, own))
    outside = {name: parameter for name, parameter in own.items() if id(parameter) not in language}
    adapters = {name: parameter for name, parameter in inner.named_parameters() if id(parameter) not in ours}
    if outside:
        shares.append(_share("outside", outside, "not the language model's"))
    if adapters:
        shares.append(_share("adapters", adapters, "PEFT's, with the frozen originals of what it trains whole"))
    return shares


def _share(group: str, part: Mapping[str, nn.Parameter], reason: str, is_covered: bool = False) -> Share:
    layers = sorted({layer for name in part if (layer := layer_of(name)) is not None})
    elements = sum(full_shape(parameter).numel() for parameter in part.values())
    return Share(group, is_covered, tuple(layers), len(part), elements, reason)


def describe_shares(shares: Sequence[Share]) -> str:
    """The report as one line."""
    moved = "; ".join(str(share) for share in shares if share.is_covered)
    left = "; ".join(f"{share} ({share.reason})" for share in shares if not share.is_covered)
    return f"{moved}. Left out: {left or 'nothing'}"


def _ranges(layers: Sequence[int]) -> str:
    """(0, 1, 2, 5) as "0-2, 5"."""
    starts = [layer for layer in layers if layer - 1 not in layers]
    ends = [layer for layer in layers if layer + 1 not in layers]
    return ", ".join(f"{a}-{b}" if a < b else str(a) for a, b in zip(starts, ends, strict=True))


def _check_names(present: list[str], prior: Prior, where: str) -> None:
    known = set(present)
    orphans = [name for name in prior.names if name not in known]
    if orphans:
        raise CoverageError(
            f"the prior covers {len(prior.names) - len(orphans)} of {len(prior.names)} parameters of {where}; first "
            f"Delta without a parameter: {orphans[0]!r} of shape {tuple(prior.shape(orphans[0]))}. Extract the prior "
            "from the checkpoint that is being trained (a tied lm_head is no parameter of its own)"
        )
    layers = {layer for name in prior.names if (layer := layer_of(name)) is not None}
    selected = select(present, tuple(prior.groups), sorted(layers) or None)
    bare = sorted(set(selected) - set(prior.names))
    if bare or not prior.names:
        first = bare[0] if bare else "every one"
        raise CoverageError(
            f"the prior covers {len(selected) - len(bare)} of {len(selected)} selected parameters of {where}; first "
            f"without a Delta: {first!r}. Extract the prior again with groups={tuple(prior.groups)}"
        )


def alphas_by_name(prior: Prior, alpha: float, group_alpha: Mapping[str, float] | None) -> dict[str, float]:
    """Each parameter's alpha: its group's where `group_alpha` has one, else `alpha`.

    Raises:
        CoverageError: `group_alpha` names a group that the prior does not have.
    """
    own = dict(group_alpha or {})
    unknown = sorted(set(own) - set(prior.groups))
    if unknown:
        raise CoverageError(f"group_alpha names {unknown[0]!r}; the prior has the groups {', '.join(prior.groups)}")
    return {name: own.get(group_of(name), alpha) for name in prior.names}
