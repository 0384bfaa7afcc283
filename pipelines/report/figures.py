"""Figures of trained rows: loss curves (the paper's Figures 5 and 6), and how far each layer moved along Delta.

Each figure has its data beside it as CSV. Lines are means over seeds, bands run from the lowest to the highest seed.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import pandas

from drift.files import read_jsonl
from pipelines.layout import CHECKPOINT
from pipelines.report.numbers import Evidence, Source

matplotlib.use("Agg")
from matplotlib import pyplot

Runs = Mapping[str, Sequence[Source]]


def curves(evidence: Evidence, folder: Path) -> list[str]:
    """Draws the rows that the table names in `curves` into `folder`; the names of the figures."""
    name, trained = evidence.table.name, evidence.by_row("checkpoint") if evidence.table.curves else {}
    runs = {label: trained[label] for label in evidence.table.curves}
    drawn = {f"{name}_loss": loss_curves, f"{name}_layers": layer_shares} if runs else {}
    for stem, draw in drawn.items():
        draw(runs, folder / stem)
    return list(drawn)


def loss_curves(runs: Runs, stem: Path) -> None:
    """`stem`.png and .csv: training loss against the optimizer step, log scale, a line per row."""
    frames = []
    for label, sources in runs.items():
        for seed, source in enumerate(sources):
            lines = read_jsonl(source.path / CHECKPOINT / "metrics.jsonl", "training metrics")
            frame = pandas.DataFrame(lines)[["step", "loss"]]
            frames.append(frame.assign(row=label, run=seed))
    data = pandas.concat(frames)
    data.to_csv(stem.with_suffix(".csv"), index=False)
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for label in runs:
        loss = data[data["row"] == label].groupby("step")["loss"]
        (line,) = axes.plot(loss.mean().index, loss.mean(), label=label, linewidth=1.5)
        axes.fill_between(loss.mean().index, loss.min(), loss.max(), color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xlabel="optimizer step", ylabel="training loss", yscale="log")
    axes.legend(frameon=False, fontsize="small")
    save(figure, stem)


def layer_shares(runs: Runs, stem: Path) -> None:
    """`stem`.png and .csv: w_eff of every layer and module at the end of training, a panel per row."""
    frames = []
    for label, sources in runs.items():
        for seed, source in enumerate(sources):
            table = json.loads((source.path / CHECKPOINT / "injection.json").read_text())["layers"]
            weights = [entry for entry in table if entry["name"].endswith(".weight")]
            frame = pandas.DataFrame(weights)[["layer", "module", "w_eff"]]
            frames.append(frame.assign(row=label, run=seed))
    data = pandas.concat(frames)
    data.to_csv(stem.with_suffix(".csv"), index=False)
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
    save(figure, stem)


def save(figure: pyplot.Figure, stem: Path) -> None:
    """`stem`.png."""
    figure.savefig(stem.with_suffix(".png"), dpi=120)
    pyplot.close(figure)
