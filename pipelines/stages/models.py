"""Checkpoints as artifacts: built in a lab world, or taken from a hub or a local folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drift.checkpoints import Checkpoint
from drift.errors import DataError
from drift.families import family_of
from pipelines.lab.config import WorldConfig
from pipelines.layout import CHECKPOINT
from pipelines.stage import Runtime
from pipelines.stages import ModelParams
from pipelines.stages.outside import link_all, snapshot

_CHECKPOINT_FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja", "*.model")


def make_model(params: ModelParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """A checkpoint folder `model/` that opens with from_pretrained."""
    folder = out / CHECKPOINT
    if params.world is not None:
        return _build_lab_model(params, params.world, inputs, folder)
    if params.source == "hub":
        link_all(snapshot(params.repo, params.revision, runtime, "model", _CHECKPOINT_FILES), folder)
    else:
        link_all(Path(params.repo), folder)
    found = family_of(folder)
    if found.name != params.family:
        raise DataError(
            f"{params.role} {params.repo} is a {found.name} checkpoint, pair.family asks for {params.family} here; set "
            "pair.family to the MLLM's model_type, or choose another checkpoint"
        )
    return {"tensors": len(Checkpoint(folder).names), "repo": params.repo, "revision": params.revision}


def _build_lab_model(
    params: ModelParams, world: WorldConfig, inputs: Mapping[str, Path], folder: Path
) -> dict[str, Any]:
    """Builds one model of the world; values: the figures that its quality gates looked at."""
    from pipelines.lab.pretrain import build_base, build_expert, build_other_expert, move_expert
    from pipelines.lab.vision import build_mllm

    if params.role == "base":
        build_base(world, params.family, folder)
    elif params.role == "mllm":
        build_mllm(world, params.family, inputs["base"] / CHECKPOINT, folder)
    elif "expert" in inputs:
        move_expert(world, params.family, params.distance, inputs["expert"] / CHECKPOINT, folder)
    elif params.skill == "counting":
        build_other_expert(world, params.family, params.distance, inputs["base"] / CHECKPOINT, folder)
    else:
        build_expert(world, params.family, params.distance, inputs["base"] / CHECKPOINT, folder)
    figures = json.loads((folder / "quality.json").read_text())["figures"]
    return {figure["name"]: figure["value"] for figure in figures}
