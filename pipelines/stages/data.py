"""SFT examples as an artifact: written by a lab world, or taken from a hub dataset or a local folder."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from PIL import Image

from drift.errors import DataError
from pipelines.layout import TRAIN_FILE
from pipelines.stage import Runtime
from pipelines.stages import DataParams
from pipelines.stages.outside import link_all, snapshot

if TYPE_CHECKING:
    from datasets import Dataset

_TABLES = (".parquet", ".jsonl", ".json")
_NO_TABLES = ("dataset_info.json", "dataset_infos.json")
# What Pillow raises for a file that is no picture, is torn, or would unpack to more than it allows.
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def make_data(params: DataParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """`train.json` in sharegpt format (`messages`, `images`) with its images beside it."""
    if params.world is not None:
        from pipelines.lab.data import write_sft_data

        write_sft_data(params.world, out, direct=params.direct)
    elif params.source == "folder":
        link_all(Path(params.repo), out)
        if not (out / TRAIN_FILE).exists():
            raise DataError(f"{params.repo} has no {TRAIN_FILE}; data=folder wants a sharegpt JSON of that name")
    else:
        write_sharegpt(snapshot(params.repo, params.revision, runtime, "dataset", ("*",)), out)
    return {"examples": len(json.loads((out / TRAIN_FILE).read_text(encoding="utf-8")))}


def write_sharegpt(source: Path, out: Path) -> None:
    """A hub dataset's rows (`messages`, `images`) as one JSON file and one image file per image.

    An image is a picture, its bytes, {bytes, path}, or a path from the repository's root as in the authors' release.

    Raises:
        DataError: the dataset lacks a column (names those it has), or an image is outside the repository, missing or
            unreadable (names row and path).
    """
    rows = _rows(source)
    (out / "images").mkdir(parents=True, exist_ok=True)
    examples = []
    for number, row in enumerate(rows):
        images = row["images"] or []
        names = [f"images/{number:06d}_{place}.png" for place in range(len(images))]
        for name, image in zip(names, images, strict=True):
            _opened(image or {}, source, f"row {number}").convert("RGB").save(out / name)
        examples.append({"messages": row["messages"], "images": names})
    (out / TRAIN_FILE).write_text(json.dumps(examples, ensure_ascii=False, indent=1), encoding="utf-8")


def _rows(source: Path) -> "Dataset":
    """The `train` split, each image as {bytes, path}, whatever form the repository has it in."""
    from datasets import Image as ImageFeature
    from datasets import List, load_dataset

    rows = load_dataset(str(source), data_files=_tables_beside_pictures(source), split="train")
    missing = {"messages", "images"} - set(rows.column_names)
    if missing:
        raise DataError(f"{source} has no column {', '.join(sorted(missing))}; it has {', '.join(rows.column_names)}")
    try:
        return rows.cast_column("images", List(ImageFeature(decode=False)))
    except (NotImplementedError, TypeError, ValueError) as error:  # Arrow's own errors are of these kinds
        raise DataError(
            f"{source}: images are {rows.features['images']}; expected lists of pictures, bytes or paths"
        ) from error


def _tables_beside_pictures(source: Path) -> list[str] | None:
    """The tables of a repository with picture files, which `datasets` would read as pictures alone; None for others."""
    names = [path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file()]
    if not any(name.suffix.lower() in Image.registered_extensions() for name in names):
        return None
    kinds = ([n for n in names if n.suffix == kind and n.name not in _NO_TABLES] for kind in _TABLES)
    tables = next((found for found in kinds if found), [])
    return [str(name) for name in tables if "train" in name.stem] or [str(name) for name in tables] or None


def _opened(image: Mapping[str, Any], source: Path, row: str) -> Image.Image:
    """The picture as `datasets` decodes it."""
    from datasets import Image as ImageFeature

    where = f"{source}, {row}, image {image.get('path')!r}"
    data = image.get("bytes")
    path = str(_inside(source, image.get("path"), where)) if data is None else None
    try:
        picture = ImageFeature().decode_example({"path": path, "bytes": data})
        picture.load()
    except _UNREADABLE as error:
        raise DataError(f"{where}: no readable image ({error})") from error
    return picture


def _inside(source: Path, name: str | None, where: str) -> Path:
    """A file by its path from `source`, judged by its words: a snapshot holds links that lead out of it."""
    if not name or PurePath(name).is_absolute() or ".." in PurePath(name).parts:
        raise DataError(f"{where}: expected bytes, or a path from the repository's root that stays inside it")
    if not (source / name).is_file():
        raise DataError(f"{where}: there is no such file; were its pictures packed, unpack them and use data=folder")
    return source / name
