"""Figures of how far experts lie from their MLLMs: the paper's Figure 2, and the gain of a merge against that distance.

Each figure has its data beside it as CSV. Points are means over seeds; bars are sample standard deviations, and in the
figure of gains 95% intervals.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas
from matplotlib import pyplot
from matplotlib.axes import Axes

from pipelines.report.figures import save
from pipelines.report.numbers import Difference, Source
from pipelines.report.spec import Table
from pipelines.stages.checkpoints import GEOMETRY

Pairs = Mapping[str, Sequence[Source]]


def figure2(pairs: Pairs, stem: Path) -> None:
    """`stem`.png and .csv: L2 and cosine of each layer, mean L2 of FFN and norms, mean L2 of Q, K, V and O."""
    data = _geometry(pairs)
    data.to_csv(stem.with_suffix(".csv"), index=False)
    figure, axes = pyplot.subplots(1, 4, figsize=(15, 3.4), layout="constrained")
    for panel, measure, title in ((axes[0], "l2", "L2 distance"), (axes[1], "cosine", "cosine")):
        layers = data[data["panel"] == "layers"]
        for label in pairs:
            values = layers[layers["pair"] == label].groupby("place", sort=False)[measure]
            panel.errorbar(values.mean().index, values.mean(), values.std().fillna(0.0), marker="o", ms=3, label=label)
        panel.set(xlabel="layer", title=f"{title} per layer")
    _bars(axes[2], data[data["panel"] == "ffn_norm"], pairs, "average L2: FFN and norms")
    _bars(axes[3], data[data["panel"] == "attention"], pairs, "average L2: Q, K, V, O")
    axes[0].legend(frameon=False, fontsize="small")
    save(figure, stem)


def _geometry(pairs: Pairs) -> pandas.DataFrame:
    """A line per pair, seed, panel and place on its axis: l2, relative_l2, cosine."""
    lines = []
    for label, sources in pairs.items():
        for seed, source in enumerate(sources):
            for panel, rows in json.loads((source.path / GEOMETRY).read_text()).items():
                for row in rows:
                    place = row.get("layer", row.get("bar", "all"))
                    lines.append((label, seed, panel, str(place), row["l2"], row["relative_l2"], row["cosine"]))
    return pandas.DataFrame(lines, columns=["pair", "run", "panel", "place", "l2", "relative_l2", "cosine"])


def _bars(axes: Axes, data: pandas.DataFrame, pairs: Pairs, title: str) -> None:
    """A group of bars per place, a bar per pair."""
    places, width = list(dict.fromkeys(data["place"])), 0.8 / len(pairs)
    for number, label in enumerate(pairs):
        values = data[data["pair"] == label].groupby("place", sort=False)["l2"]
        left = [place + (number - (len(pairs) - 1) / 2) * width for place in range(len(places))]
        axes.bar(left, values.mean(), width, yerr=values.std().fillna(0.0), label=label)
    axes.set_xticks(range(len(places)), places)
    axes.set_title(title)


def gain_against_distance(table: Table, pairs: Pairs, gains: Mapping[str, Sequence[Difference]], stem: Path) -> None:
    """`stem`.png and .csv: each row's gain in the table's last column over the relative L2 of its pair."""
    lines = []
    for row in table.rows:
        if row.label not in gains:
            continue
        distances = [source.manifest["values"]["relative_l2"] for source in pairs[row.label]]
        interval = gains[row.label][-1].interval
        distance = sum(distances) / len(distances)
        lines.append((row.series, row.label, distance, interval.mean, interval.low, interval.high, interval.n))
    names = ["series", "row", "relative_l2", "gain", "ci_low", "ci_high", "seeds"]
    data = pandas.DataFrame(lines, columns=names).sort_values(["series", "relative_l2"])
    data.to_csv(stem.with_suffix(".csv"), index=False)
    figure, axes = pyplot.subplots(figsize=(7.5, 4.2), layout="constrained")
    for series, points in data.groupby("series", sort=False):
        half = (points["ci_high"] - points["ci_low"]) / 2
        bars = half if (points["seeds"] > 1).all() else None
        axes.errorbar(points["relative_l2"], points["gain"], bars, marker="o", capsize=2, linewidth=1.2, label=series)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set(
        xlabel="relative L2 distance of expert and MLLM", ylabel=f"gain of the merge, {table.columns[-1]} (points)"
    )
    axes.legend(frameon=False, fontsize="small")
    save(figure, stem)
