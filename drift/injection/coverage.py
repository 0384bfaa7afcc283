"""Coverage as a contract: each selected parameter has a Delta, each Delta a trainable parameter, or nothing starts."""

import logging
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from drift.errors import CoverageError
from drift.families import family_of, lm_parameters
from drift.injection.shards import full_shape
from drift.selection import group_of, layer_of, select

log = logging.getLogger(__name__)


class Prior(Protocol):
    """What the injection asks of a reasoning prior; drift.prior.ReasoningPrior is the one that lies on disk."""

    @property
    def names(self) -> list[str]:
        """Canonical names."""
        ...

    @property
    def groups(self) -> tuple[str, ...]:
        """Module groups that were selected."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that Delta is stored in, and held in."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one Delta."""
        ...

    def norm(self, name: str) -> float:
        """Norm of one Delta as stored."""
        ...

    def read_slice(self, name: str, start: int, stop: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Elements [start, stop) of one flattened Delta."""
        ...


def unwrap(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside DDP, torch.compile or a DeepSpeed engine.

    Raises:
        CoverageError: there is none, so nothing says which family's names apply.
    """
    inner = model
    while not isinstance(inner, PreTrainedModel):
        wrapped = [child for name, child in inner.named_children() if name in ("module", "_orig_mod")]
        if not wrapped:
            raise CoverageError(
                f"found a {type(model).__name__} without a transformers model in it; expected a PreTrainedModel, "
                "bare or inside DistributedDataParallel, FSDP2 or a DeepSpeed engine"
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
    for name, parameter in covered.items():
        if tuple(full_shape(parameter)) != tuple(prior.shape(name)):
            raise CoverageError(
                f"{name!r} has shape {tuple(full_shape(parameter))} in the model and {tuple(prior.shape(name))} in the "
                "prior; extract the prior from the checkpoint that is being trained"
            )
        if not parameter.requires_grad:
            raise CoverageError(
                f"{name!r} is selected by the prior and frozen in the model; unfreeze it or leave its group out of "
                f"the prior (groups: {', '.join(prior.groups)})"
            )
    log.info("prior covers %d/%d parameters of %s", len(covered), len(prior.names), type(inner).__name__)
    return covered


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
