"""The stages that compute with weights alone: extracting the prior, and the merging baselines."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drift.merging import merge_checkpoints
from drift.prior import ReasoningPrior
from pipelines.stage import Runtime
from pipelines.stages import MergeParams, PriorParams
from pipelines.stages.models import CHECKPOINT

PRIOR = "prior"


def extract_prior(params: PriorParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """A prior folder `prior/`; values: how many parameters it covers, and the norm of the whole Delta."""
    shutil.rmtree(out / PRIOR, ignore_errors=True)  # whole, but from a run that was killed before it was sealed
    prior = ReasoningPrior.extract(
        inputs["mllm"] / CHECKPOINT,
        inputs["expert"] / CHECKPOINT,
        out / PRIOR,
        base=inputs["base"] / CHECKPOINT if "base" in inputs else None,
        kind=params.kind,
        groups=params.groups,
        seed=params.seed,
    )
    return {"parameters": len(prior.names), "norm": sum(prior.norm(name) ** 2 for name in prior.names) ** 0.5}


def merge(params: MergeParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """A merged checkpoint `model/`; values: the hyper-parameters it was merged with."""
    hyperparameters: dict[str, Any] = dict(params.hyperparameters)
    if params.matched is not None:
        hyperparameters = {"weight_mllm": 1.0 - params.matched, "weight_expert": params.matched}
    shutil.rmtree(out / CHECKPOINT, ignore_errors=True)
    merge_checkpoints(
        params.method,
        out / CHECKPOINT,
        mllm=inputs["mllm"] / CHECKPOINT,
        expert=inputs["expert"] / CHECKPOINT,
        base=inputs["base"] / CHECKPOINT if "base" in inputs else None,
        variant=params.variant,
        seed=params.seed,
        **hyperparameters,
    )
    return {"hyperparameters": hyperparameters}
