"""From the benchmarks' own repository files to VLMEvalKit-style TSVs: LogicVista, WeMath, MathVision.

`convert(name, source, out)` writes the table of `name` into the file `out` from a folder as the repository ships it.
Items whose image is absent are left out and counted. Tables made here are not the published ones and have another md5.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drift.errors import DataError, closest
from evaluation.data.tsv import encode_image, write_rows

# A label is followed by its text: `point ;O.;` and `to ;C. ;B.` name points of the figure.
_OPTION = re.compile(r"(?:^|[;\s])\s*([A-H])[.．]\s*(?=[^\s;])")
_LETTERS = "ABCDEFGH"


@dataclass(frozen=True)
class Conversion:
    """How many items a conversion wrote, and how many it left out for want of an image."""

    written: int
    without_image: int


def convert(name: str, source: Path, out: Path) -> Conversion:
    """Converts the repository folder `source` of the benchmark `name` to the TSV `out`.

    Raises:
        DataError: no converter of that name, absent files, or not one item with an image.
    """
    if name not in CONVERTERS:
        raise DataError(f"no converter for {name!r}: {closest(name, CONVERTERS)}")
    return CONVERTERS[name](source, out)


def convert_logicvista(source: Path, out: Path) -> Conversion:
    """`dataset.json` and `images/` of Yijia-Xiao/LogicVista: index = the item's key, skill = its list."""
    rows = [
        {
            "index": key,
            "image": source / "images" / record["imagename"],
            "question": record["question"],
            "answer": record["answer"],
            "skill": str(record["skill"]),
        }
        for key, record in _read_json(source / "dataset.json").items()
    ]
    return _write(source, rows, out)


def convert_wemath(source: Path, out: Path) -> Conversion:
    """`testmini.json` and `images/` of We-Math/We-Math: options are split out of one text, ID and key are kept.

    Pictures are looked up by the repository's `image_path`, and by `<ID>-<step>.png` in a flat folder.
    """
    rows: list[dict[str, str | Path]] = []
    for number, record in enumerate(_read_json(source / "testmini.json")):
        options = split_options(record["option"])
        step = record["key"].rpartition("_")[2]
        rows.append(
            {
                "index": str(number),
                "image": _first_file(
                    source / record["image_path"],
                    source / "images" / record["image_path"],
                    source / "images" / f"{record['ID']}-{step}.png",
                ),
                "question": record["question"],
                **{letter: options.get(letter, "") for letter in _LETTERS},
                "answer": record["answer"],
                "ID": record["ID"],
                "key": record["key"],
                "split": record["split"],
                "knowledge concept": record["knowledge concept"],
            }
        )
    return _write(source, rows, out)


def convert_mathvision(source: Path, out: Path) -> Conversion:
    """`test.jsonl` and `images/` of mathllm/MATH-V."""
    return _mathvision(source, "test.jsonl", out)


def convert_mathvision_mini(source: Path, out: Path) -> Conversion:
    """`testmini.jsonl` and `images/` of mathllm/MATH-V."""
    return _mathvision(source, "testmini.jsonl", out)


def split_options(text: str) -> dict[str, str]:
    """Letter -> text of a We-Math option line such as `A. 3, 5; B. 4; E. No correct answer`."""
    labels: list[re.Match[str]] = []
    for match in _OPTION.finditer(text):
        expected = _LETTERS[len(labels)] if len(labels) < len(_LETTERS) else ""
        is_next = match.group(1) == expected
        # The last option, "No correct answer", skips letters in a few items.
        is_last = match.group(1) > expected and text[match.end() :].startswith("No correct")
        if is_next or is_last:
            labels.append(match)
    ends = [label.start() for label in labels[1:]] + [len(text)] * bool(labels)
    return {label.group(1): text[label.end() : end].strip(" ;") for label, end in zip(labels, ends, strict=True)}


def _mathvision(source: Path, name: str, out: Path) -> Conversion:
    path = source / name
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the repository's data folder")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    rows = [
        {
            "index": record["id"],
            "image": source / record["image"],
            "question": record["question"],
            "choices": str(record["options"]),
            "answer": record["answer"],
            "category": record["subject"],
            "level": str(record["level"]),
        }
        for record in records
    ]
    return _write(source, rows, out)


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the repository's data file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON ({error}); copy the file again") from error


def _first_file(*candidates: Path) -> Path:
    return next((path for path in candidates if path.is_file()), candidates[0])


def _write(source: Path, rows: Sequence[Mapping[str, str | Path]], out: Path) -> Conversion:
    kept = []
    for row in rows:
        image = row["image"]
        if isinstance(image, Path) and image.is_file():
            kept.append({key: encode_image(image.read_bytes()) if key == "image" else str(row[key]) for key in row})
    if not kept:
        raise DataError(f"{source}: none of {len(rows)} items has its image; expected an images folder beside the data")
    write_rows(out, kept)
    return Conversion(len(kept), len(rows) - len(kept))


CONVERTERS: dict[str, Callable[[Path, Path], Conversion]] = {
    "LogicVista": convert_logicvista,
    "WeMath": convert_wemath,
    "MathVision": convert_mathvision,
    "MathVision_MINI": convert_mathvision_mini,
}
