"""GradientInjector puts a reasoning prior into a live optimizer step: g~ = g + c * Delta, once per step, sharded.

`step` takes c from the gradient averaged over ranks and micro-batches. `micro_batch` is the authors' release: c adds up
over the local gradients of every rank and micro-batch, and is stronger, since the mean of norms exceeds the norm of the
mean. Either way Delta is added to each rank's shard before clipping, and one all-reduce carries every statistic.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from drift.choices import DEFAULT_SEMANTICS, SEMANTICS, Scale, Schedule, Semantics
from drift.errors import DriftError, closest
from drift.injection.bias import (
    StepRecord,
    add_deltas,
    add_remainders,
    by_parameter,
    gradient_products,
    is_replicated,
)
from drift.injection.coverage import (
    Prior,
    Share,
    Start,
    alphas_by_name,
    coverage_shares,
    covered_parameters,
    describe_shares,
    unwrap,
)
from drift.injection.effect import RunObserver
from drift.injection.gather import SharedDelta
from drift.injection.observers import LocalStrengths
from drift.injection.shards import GradientShards, all_reduce, world_size
from drift.scaling import WITHOUT_GRADIENT, budget_factor, get_scaling, schedule_factor
from drift.selection import group_of
from drift.singular import LowRank

log = logging.getLogger(__name__)

LOG_PREFIX = "drift/"


class GradientInjector(RunObserver):
    """Adds the prior to the gradients of whatever it is attached to, until `detach`."""

    def __init__(
        self,
        prior: Prior,
        *,
        scale: Scale | str = "adaptive",
        alpha: float = -1.0,
        semantics: Semantics | str = DEFAULT_SEMANTICS,
        rescale_to_parameter: bool = False,
        alpha_schedule: Schedule | str = "constant",
        group_alpha: Mapping[str, float] | None = None,
        target_w_eff: float | None = None,
        total_steps: int | None = None,
        start: Start | None = None,
    ) -> None:
        """Say what to inject; nothing is read or registered yet.

        Args:
            prior: a ReasoningPrior.
            scale: absolute, gradnorm or adaptive (the paper's best); adaptive_toward or pull (drift.scaling).
            alpha: strength; negative moves the weights toward Delta. -1 in every experiment of the paper.
            semantics: micro_batch as in the authors' release, or step (one process without accumulation: the same).
            rescale_to_parameter: use Delta * ||theta_0|| / ||Delta||; changes `absolute` alone, as in the release.
            alpha_schedule: constant, or linear or cosine to 0 at `total_steps`.
            group_alpha: alpha by module group, where it is not `alpha`.
            target_w_eff: share of Delta to which each module group is taken by half the run, and no further.
            total_steps: optimizer steps in the run; a Trainer knows its own.
            start: the weights that training began from, for `pull`: a drift.sources.Source, which reads slices of them.
        Raises:
            DriftError: a choice is unknown, `pull` has no start, or a schedule lacks the run's length when the first
                step comes.
        """
        if scale == "pull" and start is None:
            raise DriftError("scale 'pull' needs start=, the checkpoint that training began from: open_source(folder)")
        if semantics not in SEMANTICS:
            raise DriftError(f"unknown semantics {semantics!r}; {closest(semantics, SEMANTICS)}")
        super().__init__(prior)
        self._scaling = get_scaling(scale)
        schedule_factor(alpha_schedule, 0, total_steps or 1)
        self._scale = scale
        self._semantics = semantics
        self._rescale = rescale_to_parameter and scale == "absolute"
        self._schedule = alpha_schedule
        self._total_steps = total_steps
        self._alphas = alphas_by_name(prior, alpha, group_alpha)
        self._target = target_w_eff
        self._start = start if scale == "pull" else None
        self._steps = 0
        self._bound: _Bound | None = None
        self._record: StepRecord | None = None
        self._measured: tuple[int, float] | None = None
        self._coverage: list[Share] = []

    @property
    def expected(self) -> int:
        """Parameters that the prior moves."""
        return len(self._names)

    @property
    def covered(self) -> int:
        """Parameters that are bound to a live model: all expected ones, or 0 before `attach`."""
        return self.expected if self._seam is not None else 0

    def coverage(self) -> list[Share]:
        """What is moved and what is left out, and why: one row per module group, and one for each kind of the rest.

        Raises:
            DriftError: nothing is attached, so no model says what there is.
        """
        if self._seam is None:
            raise DriftError("coverage() is of a model; call attach(target) first")
        return list(self._coverage)

    def attach(self, target: Any) -> Self:
        """Check coverage, take the weights for theta_0, and act at every optimizer step from now on.

        A Trainer's own log gets "drift/" + each key of `metrics()` in every line that has a loss.

        Args:
            target: a DeepSpeedEngine; a transformers Trainer (before `train`); an accelerate Accelerator (after
                `prepare`); or a module, plain, DDP or FSDP2, whose loop calls `apply()` before clipping.
        Returns:
            self.
        Raises:
            CoverageError: prior and model do not cover the same parameters.
            DriftError: already attached.
        """
        if self._seam is not None:
            raise DriftError("already attached; call detach() first")
        seam = super().attach(target)._attached
        self._coverage = coverage_shares(seam.model(), self._prior)
        counts, name = (self.covered, self.expected), type(unwrap(seam.model())).__name__
        log.info("prior covers %d/%d parameters of %s: %s", *counts, name, describe_shares(self._coverage))
        if seam.owner() is not None:
            self._bind()
        seam.install(self._bind, self._apply, self._log_values)
        return self

    def _bind(self) -> None:
        seam, owner = self._attached, self._attached.owner()
        if self._bound is not None and self._bound.owner is owner:
            return
        self._release()
        held, observer = self._hold(), None
        shards, deltas = held.shards, held.deltas
        if self._semantics == "micro_batch":
            model = seam.model()
            shared = SharedDelta(shards.spans, deltas, shards.group)
            parameters = covered_parameters(model, self._prior)
            observer = LocalStrengths(self._prior, self._scale, model, parameters, shared)
        positions = [self._names.index(span.name) for span in shards.spans]
        self._bound = _Bound(owner, shards, deltas, positions, observer, self._origins(shards))

    def _origins(self, shards: GradientShards) -> list[Tensor]:
        """This rank's slices of theta_0, in its stored dtype, where the scaling is about them."""
        if self._start is None:
            return []
        return [
            self._start.read_slice(span.name, span.start, span.stop).to(weight.device)
            for span, weight in zip(shards.spans, shards.weights(), strict=True)
        ]

    def _release(self) -> None:
        if self._bound is not None and self._bound.observer is not None:
            self._bound.observer.remove()
        self._bound = None

    def apply(self) -> None:
        """Bias the gradients of a plain module; call it after the backward pass and before clipping.

        Raises:
            DriftError: the target is not a plain module, so that its loop calls this by itself.
        """
        if self._seam is None or not self._seam.is_manual:
            raise DriftError("apply() is for an attached plain module; other targets call it by themselves")
        self._apply()

    @torch.no_grad()
    def _apply(self) -> None:
        bound = self._bound
        assert bound is not None
        alphas = self._alphas_now()
        gradients, scale = bound.shards.gradients(), bound.shards.loss_scale()
        products, strengths = self._statistics(bound, gradients)
        coefficients = alphas.to(products.device) * strengths
        if self._scale in WITHOUT_GRADIENT:
            coefficients = coefficients * scale * self._stretch(products.device)
        squared = self._add(bound, gradients, coefficients)
        bound.shards.commit()
        self._record = StepRecord(products, coefficients, alphas, scale, squared)
        self._steps += 1

    def _add(self, bound: "_Bound", gradients: list[Tensor | None], coefficients: Tensor) -> Tensor:
        """Adds Delta, or what is left of it, to the gradients; (n,) its squared norm."""
        index = torch.tensor(bound.positions, device=coefficients.device, dtype=torch.long)
        if self._start is None:
            add_deltas(gradients, bound.deltas, coefficients[index])
            return self._squared
        moved = list(zip(bound.shards.weights(), bound.origins, strict=True))
        squared = add_remainders(gradients, bound.deltas, moved, coefficients[index])
        return by_parameter(squared, bound.shards.spans, self._names, bound.shards.group)[:, 0].cpu()

    def _statistics(self, bound: "_Bound", gradients: list[Tensor | None]) -> tuple[Tensor, Tensor]:
        """((n, 2) ||g||^2 and <g, Delta>, (n,) strengths), equal on every rank after one all-reduce."""
        local = gradient_products(gradients, bound.deltas)
        spans, group = bound.shards.spans, bound.shards.group
        if bound.observer is None:
            products = by_parameter(local, spans, self._names, group)
            norms = self._squared.sqrt().to(products.device)
            return products, self._scaling(products[:, 0].sqrt(), products[:, 1], norms)
        seen = bound.observer.take(self._names, local.device) / world_size(group)
        if is_replicated(spans, self._names, group):
            return by_parameter(local, spans, self._names, group), all_reduce(seen, group)
        joined = by_parameter(local, spans, self._names, group, extra=seen)
        return joined[:, :2], joined[:, 2]

    def _stretch(self, device: torch.device) -> Tensor:
        """What Delta is multiplied by to have the parameter's norm; 1 unless asked for."""
        if not self._rescale:
            return torch.ones((), dtype=torch.float64, device=device)
        ratio = torch.where(self._squared > 0, self._started()[:, 1] / self._squared, torch.zeros_like(self._squared))
        return ratio.sqrt().to(device)

    def _alphas_now(self) -> Tensor:
        known, total = self._attached.progress()
        if known is not None:
            self._steps = known
        total = self._total_steps or total
        factor = schedule_factor(self._schedule, self._steps, total)
        alphas = torch.tensor([self._alphas[name] * factor for name in self._names], dtype=torch.float64)
        return alphas if self._target is None else alphas * self._budget(self._target, total)

    def _budget(self, target: float, total: int | None) -> Tensor:
        """(n,) how far each module group is behind its budget; all ranks call this together."""
        moved, groups = self._shares() * self._squared, [group_of(name) for name in self._names]
        factors = {}
        for group in dict.fromkeys(groups):
            rows = [index for index, own in enumerate(groups) if own == group]
            spent = float(moved[rows].sum() / self._squared[rows].sum())
            factors[group] = budget_factor(spent, target, self._steps, total)
        return torch.tensor([factors[group] for group in groups], dtype=torch.float64)

    def metrics(self) -> dict[str, float]:
        """Of the last optimizer step, before clipping, over the selected parameters; no collective.

        Returns:
            grad_norm, cosine (of g and Delta), injected_share (injected norm over ||g||) and alpha, each also as
            "key/group"; w_eff where `w_eff()` was called after that step. Empty before the first step.
        """
        if self._record is None:
            return {}
        groups = [group_of(name) for name in self._names]
        values = self._record.metrics(groups, self._squared)
        if self._measured is not None and self._measured[0] == self._steps:
            values["w_eff"] = self._measured[1]
        return values

    def _log_values(self) -> dict[str, float]:
        """What a Trainer's log line gets; a collective, so that a step that is not logged costs nothing."""
        if self._record is None:
            return {}
        self.w_eff()
        return {f"{LOG_PREFIX}{key}": value for key, value in self.metrics().items()}

    def _now(self) -> Tensor:
        if self._bound is None:
            raise DriftError("no step has been taken yet; w_eff needs the optimizer's weights")
        return super()._now()

    def w_eff(self) -> float:
        """<theta_t - theta_0, Delta> / ||Delta||^2 over all parameters; all ranks call this together."""
        value = super().w_eff()
        self._measured = (self._steps, value)
        return value

    def layer_table(self) -> list[dict[str, Any]]:
        """The rows of RunObserver, with cosine(g, Delta) of the last step; all ranks call this together."""
        rows = super().layer_table()
        cosines = self._record.cosines(self._squared) if self._record is not None else []
        return [{**row, "cosine": value} for row, value in zip(rows, cosines, strict=True)] if cosines else rows

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs, ready for JSON: the step, and theta_0's inner products with Delta."""
        return {"steps": self._steps, **super().state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`, so that w_eff is measured from the ORIGINAL checkpoint; before or after `attach`."""
        super().load_state_dict(state)
        self._steps = int(state["steps"])

    def detach(self) -> None:
        """Take off every hook and wrapper and free Delta; the target trains as if nothing had been there."""
        self._release()
        if self._seam is not None:
            self._seam.close()
        super().detach()


@dataclass(frozen=True)
class _Bound:
    """What exists while the gradients' owner does: its shards, this rank's slices of Delta, the observing hooks.

    `positions` has each slice's parameter, by its place among the prior's names; `origins` theta_0 where it is read.
    """

    owner: object | None
    shards: GradientShards
    deltas: list[Tensor | LowRank]
    positions: list[int]
    observer: LocalStrengths | None
    origins: list[Tensor]
