"""SFT examples as an artifact: written by a lab world, or taken from a hub dataset or a local folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drift.errors import DataError
from pipelines.layout import TRAIN_FILE
from pipelines.stage import Runtime
from pipelines.stages import DataParams
from pipelines.stages.outside import link_all, snapshot


def make_data(params: DataParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """`train.json` in sharegpt format (`messages`, `images`) with its images beside it."""
    if params.world is not None:
        from pipelines.lab.data import write_sft_data

        write_sft_data(params.world, out, unfiltered=params.unfiltered)
    elif params.source == "folder":
        link_all(Path(params.repo), out)
        if not (out / TRAIN_FILE).exists():
            raise DataError(f"{params.repo} has no {TRAIN_FILE}; data=folder wants a sharegpt JSON of that name")
    else:
        write_sharegpt(snapshot(params.repo, params.revision, runtime, "dataset", ("*",)), out)
    return {"examples": len(json.loads((out / TRAIN_FILE).read_text(encoding="utf-8")))}


def write_sharegpt(source: Path, out: Path) -> None:
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
    (out / TRAIN_FILE).write_text(json.dumps(examples, ensure_ascii=False, indent=1), encoding="utf-8")
