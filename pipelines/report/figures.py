"""Figures of trained rows: loss curves (the paper's Figures 5 and 6), and how far each layer moved along Delta.

Each figure has its data beside it as CSV. Lines are means over seeds, bands run from the lowest to the highest seed.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas

from drift.files import read_jsonl
from pipelines.layout import CHECKPOINT
from pipelines.report.numbers import Evidence
from pipelines.report.sources import Source

matplotlib.use("Agg")
from matplotlib import pyplot

Runs = Mapping[str, Sequence[Source]]


def curves(evidence: Evidence, folder: Path) -> list[str]:
    """Draws the rows that the table names in `curves` into `folder`; the names of the figures."""
    table = evidence.table
    if not table.curves:
        return []
    trained = evidence.by_row("checkpoint")
    runs = {label: trained[label] for label in table.curves}
    return [loss_curves(runs, folder / f"{table.name}_loss"), layer_shares(runs, folder / f"{table.name}_layers")]


def loss_curves(runs: Runs, stem: Path) -> str:
    """`stem`.png and .csv: training loss against the optimizer step, log scale, a line per row."""
    data = _collect(runs, ["step", "loss"], lambda folder: read_jsonl(folder / "metrics.jsonl", "training metrics"))
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for label in runs:
        loss = data[data["row"] == label].groupby("step")["loss"]
        (line,) = axes.plot(loss.mean().index, loss.mean(), label=label, linewidth=1.5)
        axes.fill_between(loss.mean().index, loss.min(), loss.max(), color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xlabel="optimizer step", ylabel="training loss", yscale="log")
    axes.legend(frameon=False, fontsize="small")
    return save(figure, data, stem)


def layer_shares(runs: Runs, stem: Path) -> str:
    """`stem`.png and .csv: w_eff of every layer and module at the end of training, a panel per row."""
    data = _collect(runs, ["layer", "module", "w_eff"], _weights)
    figure, panels = pyplot.subplots(
        1, len(runs), figsize=(2.2 * len(runs) + 1, 3), layout="constrained", sharey=True, squeeze=False
    )
    limit = data.groupby(["row", "module", "layer"])["w_eff"].mean().abs().max()
    for panel, label in zip(panels[0], runs, strict=True):
        mine = data[data["row"] == label]
        grid = mine.pivot_table(index="module", columns="layer", values="w_eff", aggfunc="mean", sort=False)
        image = panel.imshow(grid, vmin=-limit, vmax=limit, cmap="RdBu", aspect="auto")
        panel.set_xticks(range(len(grid.columns)), [str(layer) for layer in grid.columns])
        panel.set_yticks(range(len(grid.index)), grid.index)
        panel.set_title(label.replace(", ", "\n"), fontsize="small")
        panel.set_xlabel("layer")
    figure.colorbar(image, ax=panels[0].tolist(), label="w_eff")
    return save(figure, data, stem)


def _weights(checkpoint: Path) -> list[dict[str, Any]]:
    table = json.loads((checkpoint / "injection.json").read_text())["layers"]
    return [entry for entry in table if entry["name"].endswith(".weight")]


def _collect(runs: Runs, columns: list[str], read: Callable[[Path], list[dict[str, Any]]]) -> pandas.DataFrame:
    """What `read` finds beside each trained checkpoint, with its row and its place among the row's seeds."""
    return pandas.concat(
        pandas.DataFrame(read(source.path / CHECKPOINT))[columns].assign(row=label, run=seed)
        for label, sources in runs.items()
        for seed, source in enumerate(sources)
    )


def save(figure: pyplot.Figure, data: pandas.DataFrame, stem: Path) -> str:
    """`stem`.png and `stem`.csv; their name."""
    data.to_csv(stem.with_suffix(".csv"), index=False)
    figure.savefig(stem.with_suffix(".png"), dpi=120)
    pyplot.close(figure)
    return stem.name
