"""From a benchmark's own repository files to a VLMEvalKit-style TSV: what the benchmarks' converters share.

Items whose image is absent are left out and counted. Tables made so are not the published ones and have another md5.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drift.errors import DataError
from evaluation.data.tsv import encode_image, write_rows


@dataclass(frozen=True)
class Conversion:
    """How many items a conversion wrote, and how many it left out for want of an image."""

    written: int
    without_image: int


def read_json(path: Path) -> Any:
    """The content of a repository's data file (DataError where there is none, or no JSON in it)."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the repository's data file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of JSON and of Unicode
        raise DataError(f"{path}: not JSON ({error}); copy the file again") from error


def write_converted(source: Path, rows: Sequence[Mapping[str, str | Path]], out: Path) -> Conversion:
    """Writes the rows whose `image` is a file, with the file's content in that cell.

    Raises:
        DataError: not one item has its image.
    """
    kept = []
    for row in rows:
        image = row["image"]
        if isinstance(image, Path) and image.is_file():
            kept.append({key: encode_image(image.read_bytes()) if key == "image" else str(row[key]) for key in row})
    if not kept:
        raise DataError(f"{source}: none of {len(rows)} items has its image; expected an images folder beside the data")
    write_rows(out, kept)
    return Conversion(len(kept), len(rows) - len(kept))
