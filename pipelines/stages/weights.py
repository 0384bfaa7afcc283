"""The stages that compute with weights alone: the prior, the geometry between two models, and the merges."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from drift.geometry import PANELS, layer_geometry, summarise
from drift.merging import merge_checkpoints
from drift.merging.config import MERGED_GROUPS
from drift.prior import ReasoningPrior
from evaluation.data.markdown import write_csv
from pipelines.layout import CHECKPOINT, GEOMETRY, PRIOR, TRAIN_FILE
from pipelines.stage import Runtime
from pipelines.stages import FrismParams, GeometryParams, MergeParams, PriorParams


def extract_prior(params: PriorParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """A prior folder `prior/`; values: how many parameters it covers, and the norm of the whole Delta."""
    shutil.rmtree(out / PRIOR, ignore_errors=True)  # whole, but from a run that was killed before it was sealed
    prior = ReasoningPrior.extract(
        inputs["mllm"] / CHECKPOINT,
        inputs["expert"] / CHECKPOINT,
        out / PRIOR,
        base=inputs["base"] / CHECKPOINT if "base" in inputs else None,
        kind=params.prior.kind,
        groups=params.selection.groups,
        layers=params.selection.layers,
        seed=params.prior.seed,
        rank=params.prior.rank,
    )
    return {"parameters": len(prior.names), "norm": sum(prior.norm(name) ** 2 for name in prior.names) ** 0.5}


def measure_geometry(params: GeometryParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """`tensors.csv` and `geometry.json` (drift.geometry.summarise); values: Figure 2's numbers of the whole LM."""
    rows = layer_geometry(inputs["mllm"] / CHECKPOINT, inputs["expert"] / CHECKPOINT, params.groups)
    write_csv(out / "tensors.csv", rows, line_end="\r\n")
    summary = summarise(rows)
    (out / GEOMETRY).write_text(json.dumps(summary, indent=1))
    bars = {bar["bar"]: bar["l2"] for panel in PANELS for bar in summary[panel]}
    return {key: summary["total"][0][key] for key in ("l2", "relative_l2", "cosine", "n")} | bars


def learn_gates(params: FrismParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """FRISM's checkpoint `model/`; values: what its gates came to, and what the MLLM's answers lost by them."""
    from drift.training.gates import inject_gated

    shutil.rmtree(out / CHECKPOINT, ignore_errors=True)
    mllm, expert, base = (inputs[role] / CHECKPOINT for role in ("mllm", "expert", "base"))
    return asdict(inject_gated(mllm, expert, base, inputs["data"] / TRAIN_FILE, out / CHECKPOINT, params.frism))


def merge_models(params: MergeParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """A merged checkpoint `model/`; values: the hyper-parameters it was merged with."""
    merge, selection = params.merge, params.selection
    hyperparameters: dict[str, Any] = dict(merge.hyperparameters)
    if params.matched is not None:
        hyperparameters = {"weight_mllm": 1.0 - params.matched, "weight_expert": params.matched}
    shutil.rmtree(out / CHECKPOINT, ignore_errors=True)
    summary = merge_checkpoints(
        merge.method,
        out / CHECKPOINT,
        mllm=inputs["mllm"] / CHECKPOINT,
        expert=inputs["expert"] / CHECKPOINT,
        base=inputs["base"] / CHECKPOINT if "base" in inputs else None,
        variant=merge.variant,
        seed=merge.seed,
        groups=selection.groups if selection else MERGED_GROUPS,
        layers=selection.layers if selection else None,
        **hyperparameters,
    )
    return {"hyperparameters": summary.hyperparameters}
