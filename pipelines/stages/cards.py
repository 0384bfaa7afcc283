"""What lies beside a set: its card with provenance and counts, its form for the library `datasets`, its funnel."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from evaluation.data.markdown import markdown
from pipelines.distil.funnel import Row
from pipelines.distil.sets import TRAIN, read_set
from pipelines.fingerprint import canonical
from pipelines.report.funnels import FIGURE, FIGURE_KINDS
from pipelines.store import MANIFEST

DATASET, CARD = "dataset", "README.md"
_TOLD = 600  # characters of what a stage was told
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_extras(out: Path, inputs: Mapping[str, Path], told: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Writes all of it for the set in `out`.

    Args:
        inputs: what it was made from; the card names each with what it was told.
        told: what this stage was told, by name.
        rows: of the funnel, where there is one.
    """
    save_dataset(out)
    if rows:
        draw_funnel(rows, out)
    (out / CARD).write_text(card(out, inputs, told, rows), encoding="utf-8")


def save_dataset(out: Path) -> None:
    """The set as `datasets.load_from_disk` opens it, pictures inside."""
    from datasets import Dataset, Features, List, Value
    from datasets import Image as ImageFeature

    records = read_set(out)
    features = Features(
        {"messages": List({"role": Value("string"), "content": Value("string")}), "images": List(ImageFeature())}
    )
    columns = {
        "messages": [record["messages"] for record in records],
        "images": [[str(out / name) for name in record["images"]] for record in records],
    }
    shutil.rmtree(out / DATASET, ignore_errors=True)  # of a run that was killed
    Dataset.from_dict(columns, features=features).save_to_disk(out / DATASET)


def card(out: Path, inputs: Mapping[str, Path], told: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The data set's card: a YAML header as the hub reads it, what it was made from and how, how many are left."""
    count = len(read_set(out))
    header = {
        "task_categories": ["image-text-to-text"],
        "language": ["en"],
        "tags": ["reasoning", "distillation", "sft"],
        "size_categories": [next((name for limit, name in _SIZES if count < limit), "n>1M")],
        "configs": [{"config_name": "default", "data_files": TRAIN}],
    }
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---",
        f"# {count} examples",
        f"Sharegpt JSON (`{TRAIN}`: `messages`, `images`), pictures in `images/`; `{DATASET}/` is the same for "
        "`datasets.load_from_disk`.",
        "## How it was made",
        *(f"{line}" for line in _provenance(inputs)),
        "This step was told:\n\n```json\n" + json.dumps(canonical(dict(told)), indent=1) + "\n```",
    ]
    if rows:
        parts += ["## What was left out", markdown([asdict(row) for row in rows])]
    return "\n\n".join(parts) + "\n"


def _provenance(inputs: Mapping[str, Path]) -> list[str]:
    """A paragraph an input: its stage, label, fingerprint and parameters."""
    said = []
    for role, folder in inputs.items():
        manifest = json.loads((folder / MANIFEST).read_text())
        told = json.dumps(manifest["params"], sort_keys=True)
        told = told if len(told) <= _TOLD else f"{told[:_TOLD]}... (the rest is in its manifest)"
        said.append(
            f"- **{role}**: {manifest['label']}, `{manifest['stage']}` `{manifest['fingerprint'][:20]}`\n  `{told}`"
        )
    return said


def draw_funnel(rows: Sequence[Row], out: Path) -> None:
    """The funnel as PNG, PDF and SVG: a bar a step, what is left of all that was given."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    left = {row.step: row.kept for row in rows}
    reasons: dict[str, list[str]] = {}
    for row in rows:
        reasons.setdefault(row.step, []).extend([f"{row.reason} {row.dropped}"] if row.dropped else [])
    figure = Figure(figsize=(7.0, 0.42 * len(left) + 0.8), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(left), list(left.values()), color="#4477aa")
    axes.invert_yaxis()
    axes.set_xlabel("left behind each step")
    widest = max(left.values(), default=1) or 1
    axes.set_xlim(0, widest * 1.9)
    for place, (step, kept) in enumerate(left.items()):
        said = ", ".join(reasons[step][:3]) + (", ..." if len(reasons[step]) > 3 else "")
        axes.text(kept + widest * 0.02, place, f"{kept}" + (f"  ({said})" if said else ""), va="center", fontsize=7)
    with matplotlib.rc_context({"svg.hashsalt": FIGURE}):
        for kind, passing in FIGURE_KINDS.items():
            figure.savefig(out / f"{FIGURE}.{kind}", dpi=150, metadata={passing: None})
