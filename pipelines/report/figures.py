"""Figures of trained rows: loss curves (the paper's Figures 5 and 6), and where each training moved the weights.

Each figure is a function of what lies beside the trained checkpoints. Lines are means over seeds, bands run from the
lowest to the highest seed.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas
from matplotlib import pyplot
from matplotlib.axes import Axes

from drift.files import read_jsonl
from pipelines.layout import CHECKPOINT
from pipelines.report.findings import EARLY
from pipelines.report.numbers import Evidence
from pipelines.report.sources import Source
from pipelines.report.style import DIVERGING, Figure, look, save

Runs = Mapping[str, Sequence[Source]]


def curves(evidence: Evidence, folder: Path) -> list[Figure]:
    """Draws the rows that the table names in `curves` and `groups` into `folder`."""
    table, drawn = evidence.table, []
    trained = evidence.by_row("checkpoint") if table.curves or table.groups else {}
    if table.curves:
        runs = {label: trained[label] for label in table.curves}
        title = f"Training loss: {'; '.join(table.curves)}"
        drawn.append(loss_curves(runs, folder / f"{table.name}_loss", title))
        drawn.append(moved(runs, folder / f"{table.name}_layers"))
    if table.groups:
        runs = {label: trained[label] for label in table.groups}
        drawn.append(zoomed_loss(runs, folder / f"{table.name}_groups"))
    return drawn


def loss_curves(runs: Runs, stem: Path, title: str) -> Figure:
    """Training loss against the optimizer step, log scale, a line per row (the paper's Figure 5)."""
    data = _losses(runs)
    figure, axes = pyplot.subplots(figsize=(6.4, 3.8), layout="constrained")
    _draw_losses(axes, data, runs)
    axes.set(xlabel="optimizer step", ylabel="training loss", yscale="log")
    axes.legend()
    return save(figure, data, stem, title)


def zoomed_loss(runs: Runs, stem: Path) -> Figure:
    """Training loss by module group, log scale, with the first quarter beside it, enlarged (the paper's Figure 6)."""
    data = _losses(runs)
    figure, (whole, early) = pyplot.subplots(1, 2, figsize=(9, 3.8), layout="constrained", width_ratios=[3, 2])
    _draw_losses(whole, data, runs)
    _draw_losses(early, data[data["step"] <= EARLY * data["step"].max()], runs)
    whole.set(xlabel="optimizer step", ylabel="training loss", yscale="log")
    early.set(xlabel="optimizer step", yscale="log", title=f"the first {EARLY:.0%}")
    whole.legend()
    return save(figure, data, stem, f"Training loss by module group: {'; '.join(runs)}")


def _losses(runs: Runs) -> pandas.DataFrame:
    return collect(runs, ["step", "loss"], lambda folder: read_jsonl(folder / "metrics.jsonl", "training metrics"))


def _draw_losses(axes: Axes, data: pandas.DataFrame, runs: Runs) -> None:
    for place, label in enumerate(runs):
        loss = data[data["row"] == label].groupby("step")["loss"]
        steps, shown = loss.mean().index, look(place)
        axes.plot(steps, loss.mean(), label=label, markevery=max(1, len(steps) // 8), **shown)
        axes.fill_between(steps, loss.min(), loss.max(), color=shown["color"], alpha=0.15, linewidth=0)


def moved(runs: Runs, stem: Path) -> Figure:
    """How far every layer and module went along Delta (w_eff) by the end of training, a panel per row."""
    data = collect(runs, ["layer", "module", "w_eff"], _weights)
    figure, panels = pyplot.subplots(
        1, len(runs), figsize=(1.7 * len(runs) + 1.6, 3), layout="constrained", sharey=True, squeeze=False
    )
    limit = data.groupby(["row", "module", "layer"])["w_eff"].mean().abs().max()
    for panel, label in zip(panels[0], runs, strict=True):
        mine = data[data["row"] == label]
        grid = mine.pivot_table(index="module", columns="layer", values="w_eff", aggfunc="mean", sort=False)
        drawn = panel.pcolormesh(grid, vmin=-limit, vmax=limit, cmap=DIVERGING, edgecolors="white", linewidth=0.5)
        for (y, x), value in _cells(grid):
            panel.text(x + 0.5, y + 0.5, f"{value:.1f}", ha="center", va="center", fontsize=6,
                       color="white" if abs(value) > 0.7 * limit else "black")  # fmt: skip
        panel.set_xticks([x + 0.5 for x in range(len(grid.columns))], [str(layer) for layer in grid.columns])
        panel.set_yticks([y + 0.5 for y in range(len(grid.index))], grid.index)
        panel.set_title(label.replace(", ", "\n"), fontsize=7)
        panel.set(xlabel="layer")
        panel.grid(False)
        panel.invert_yaxis()
    figure.colorbar(drawn, ax=panels[0].tolist(), label="w_eff (1: as far as the expert)")
    return save(figure, data, stem, f"Where the weights moved along Delta, by layer and module: {'; '.join(runs)}")


def _cells(grid: pandas.DataFrame) -> list[tuple[tuple[int, int], float]]:
    if grid.size > 200:
        return []
    return [((y, x), float(value)) for y, row in enumerate(grid.to_numpy()) for x, value in enumerate(row)]


def _weights(checkpoint: Path) -> list[dict[str, Any]]:
    table = json.loads((checkpoint / "injection.json").read_text())["layers"]
    return [entry for entry in table if entry["name"].endswith(".weight")]


def collect(runs: Runs, columns: list[str], read: Callable[[Path], list[dict[str, Any]]]) -> pandas.DataFrame:
    """What `read` finds beside each trained checkpoint, with its row and its place among the row's seeds."""
    return pandas.concat(
        pandas.DataFrame(read(source.path / CHECKPOINT))[columns].assign(row=label, run=seed)
        for label, sources in runs.items()
        for seed, source in enumerate(sources)
    )
