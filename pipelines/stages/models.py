"""Checkpoints and SFT data as artifacts: built in a lab world, or taken from a hub or a local folder.

What comes from a hub or a folder is linked, not copied: a 15 GB checkpoint is stored once, its files' sizes and sha256
stand in the manifest all the same.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drift.checkpoints import Checkpoint
from drift.errors import DataError
from drift.families import family_of
from pipelines.errors import StageError
from pipelines.lab.config import WorldConfig
from pipelines.stage import Runtime
from pipelines.stages import DataParams, ModelParams

log = logging.getLogger(__name__)
CHECKPOINT = "model"
TRAIN_FILE = "train.json"
_CHECKPOINT_FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja", "*.model")


def make_model(params: ModelParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """A checkpoint folder `model/` that opens with from_pretrained."""
    folder = out / CHECKPOINT
    if params.world is not None:
        return _build_lab_model(params, params.world, inputs, folder)
    if params.source == "hub":
        _link_all(_snapshot(params.repo, params.revision, runtime, "model", _CHECKPOINT_FILES), folder)
    else:
        _link_all(Path(params.repo), folder)
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
    from pipelines.lab.pretrain import build_base, build_expert, move_expert
    from pipelines.lab.vision import build_mllm

    if params.role == "base":
        build_base(world, params.family, folder)
    elif params.role == "mllm":
        build_mllm(world, params.family, inputs["base"] / CHECKPOINT, folder)
    elif "expert" in inputs:
        move_expert(world, params.family, params.distance, inputs["expert"] / CHECKPOINT, folder)
    else:
        build_expert(world, params.family, params.distance, inputs["base"] / CHECKPOINT, folder)
    figures = json.loads((folder / "quality.json").read_text())["figures"]
    return {figure["name"]: figure["value"] for figure in figures}


def make_data(params: DataParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """`train.json` in sharegpt format (`messages`, `images`) with its images beside it."""
    if params.world is not None:
        from pipelines.lab.data import write_sft_data

        write_sft_data(params.world, out, unfiltered=params.unfiltered)
        return _examples(out)
    if params.source == "folder":
        _link_all(Path(params.repo), out)
        if not (out / TRAIN_FILE).exists():
            raise DataError(f"{params.repo} has no {TRAIN_FILE}; data=folder wants a sharegpt JSON of that name")
        return _examples(out)
    return write_sharegpt(_snapshot(params.repo, params.revision, runtime, "dataset", ("*",)), out)


def _examples(folder: Path) -> dict[str, Any]:
    return {"examples": len(json.loads((folder / TRAIN_FILE).read_text()))}


def write_sharegpt(source: Path, out: Path) -> dict[str, Any]:
    """A hub dataset's rows (`messages`, `images`) as one JSON file and one image file per image.

    Raises:
        DataError: the dataset lacks a column; names those it has.
    """
    from datasets import load_dataset

    rows = load_dataset(str(source), split="train")
    missing = {"messages", "images"} - set(rows.column_names)
    if missing:
        raise DataError(f"{source} has no column {', '.join(sorted(missing))}; it has {', '.join(rows.column_names)}")
    (out / "images").mkdir(parents=True, exist_ok=True)
    examples = []
    for number, row in enumerate(rows):
        names = [f"images/{number:06d}_{place}.png" for place in range(len(row["images"]))]
        for name, image in zip(names, row["images"], strict=True):
            image.convert("RGB").save(out / name)
        examples.append({"messages": row["messages"], "images": names})
    (out / TRAIN_FILE).write_text(json.dumps(examples, ensure_ascii=False, indent=1))
    return {"examples": len(examples)}


def _snapshot(repo: str, revision: str, runtime: Runtime, kind: str, patterns: tuple[str, ...]) -> Path:
    """The folder of a hub repository at a pinned revision, from the cache where it is there.

    Raises:
        StageError: offline and not cached, or the hub can't be reached or refuses; names repository and revision.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError

    if revision in ("", "locked"):
        raise StageError(f"{kind} {repo} has no resolved revision; run online once so that it can be locked")
    try:
        return Path(
            snapshot_download(
                repo, revision=revision, repo_type=kind, allow_patterns=list(patterns), local_files_only=runtime.offline
            )
        )
    except (HTTPError, OSError) as error:
        raise StageError(f"{kind} {repo}@{revision} can't be had: {error}") from error


def _link_all(source: Path, folder: Path) -> None:
    """Links every file of `source` into `folder`, in the same places."""
    if not source.is_dir():
        raise DataError(f"{source} is no folder")
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        link(path, folder / path.relative_to(source))


def link(source: Path, target: Path) -> None:
    """Puts a link to a file in its place; one that is there already stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        target.symlink_to(source.resolve())
