"""Figures of how far experts lie from their MLLMs: the paper's Figure 2, and the gain of a merge against that distance.

Each figure has its data beside it as CSV. Points are means over seeds; bars are sample standard deviations. In the
figure of gains lines join means, and small dots are single worlds.
"""

import json
import statistics
from pathlib import Path

import pandas
from matplotlib import pyplot
from matplotlib.axes import Axes

from evaluation.statistics import seeds_interval
from pipelines.layout import GEOMETRY
from pipelines.report.figures import Runs
from pipelines.report.numbers import Numbers
from pipelines.report.spec import Table
from pipelines.report.style import COLOURS, Figure, look, save

_HATCHES = ("", "//", "..", "xx")  # told apart in grey


def figure2(pairs: Runs, stem: Path) -> Figure:
    """L2 and cosine of each layer, mean L2 of FFN and norms, mean L2 of Q, K, V and O."""
    data = _geometry(pairs)
    figure, axes = pyplot.subplots(1, 4, figsize=(12, 3.2), layout="constrained")
    for panel, measure, title in ((axes[0], "l2", "L2 distance"), (axes[1], "cosine", "cosine")):
        layers = data[data["panel"] == "layers"]
        for place, label in enumerate(pairs):
            values = layers[layers["pair"] == label].groupby("place", sort=False)[measure]
            mean = values.mean()
            panel.errorbar(mean.index, mean, values.std().fillna(0.0), capsize=2, label=label, **look(place))
        panel.set(xlabel="layer", title=f"{title} per layer")
    _bars(axes[2], data[data["panel"] == "ffn_norm"], pairs, "average L2: FFN and norms")
    _bars(axes[3], data[data["panel"] == "attention"], pairs, "average L2: Q, K, V, O")
    axes[0].legend()
    return save(figure, data, stem, "How far each expert lies from its MLLM, by layer and by kind of weight")


def _geometry(pairs: Runs) -> pandas.DataFrame:
    """A line per pair, seed, panel and place on its axis: l2, relative_l2, cosine."""
    lines = []
    for label, sources in pairs.items():
        for seed, source in enumerate(sources):
            for panel, rows in json.loads((source.path / GEOMETRY).read_text()).items():
                for row in rows:
                    place = row.get("layer", row.get("bar", "all"))
                    lines.append((label, seed, panel, str(place), row["l2"], row["relative_l2"], row["cosine"]))
    return pandas.DataFrame(lines, columns=["pair", "run", "panel", "place", "l2", "relative_l2", "cosine"])


def _bars(axes: Axes, data: pandas.DataFrame, pairs: Runs, title: str) -> None:
    """A group of bars per place, a bar per pair."""
    places, width = list(dict.fromkeys(data["place"])), 0.8 / len(pairs)
    for number, label in enumerate(pairs):
        values = data[data["pair"] == label].groupby("place", sort=False)["l2"]
        left = [place + (number - (len(pairs) - 1) / 2) * width for place in range(len(places))]
        axes.bar(left, values.mean(), width, yerr=values.std().fillna(0.0), label=label, color=COLOURS[number],
                 hatch=_HATCHES[number % len(_HATCHES)], edgecolor="white", error_kw={"lw": 0.8})  # fmt: skip
    axes.set_xticks(range(len(places)), places)
    axes.set_title(title)


def slopes(table: Table, pairs: Runs, numbers: Numbers) -> pandas.DataFrame:
    """Per series: what 0.1 of relative L2 costs in the table's last column, fitted in each world, mean over worlds.

    A least-squares line through a world's rows of the series; the interval is Student's t over worlds.
    """
    lines = []
    for series in dict.fromkeys(row.series for row in table.rows if row.series):
        rows = [row.label for row in table.rows if row.series == series]
        fitted = []
        for seed in range(len(pairs[rows[0]])):
            distances = [pairs[label][seed].manifest["values"]["relative_l2"] for label in rows]
            scores = [numbers[label][-1].values[seed] for label in rows]
            fitted.append(0.1 * statistics.linear_regression(distances, scores).slope)
        interval = seeds_interval(fitted) if len(fitted) > 1 else None
        spread = f" ({interval.low:+.1f}, {interval.high:+.1f})" if interval else ""
        lines.append((series, len(rows), len(fitted), f"{statistics.fmean(fitted):+.1f}{spread}"))
    return pandas.DataFrame(lines, columns=["series", "experts", "worlds", "points per 0.1 of distance"])


def gain_against_distance(table: Table, pairs: Runs, numbers: Numbers, stem: Path) -> Figure:
    """The gain of each row and world in the table's last column over the pair's relative L2."""
    lines = []
    for row in table.rows:
        if row.label not in table.pairings:
            continue
        mine, other = numbers[row.label][-1].values, numbers[table.pairings[row.label]][-1].values
        for seed, source in enumerate(pairs[row.label]):
            distance = source.manifest["values"]["relative_l2"]
            lines.append((row.series, row.label, seed, distance, mine[seed] - other[seed]))
    data = pandas.DataFrame(lines, columns=["series", "row", "run", "relative_l2", "gain"])
    figure, axes = pyplot.subplots(figsize=(7.5, 4.2), layout="constrained")
    for place, (series, points) in enumerate(data.groupby("series", sort=False)):
        means = points.groupby("row", sort=False)[["relative_l2", "gain"]].mean().sort_values("relative_l2")
        axes.plot(means["relative_l2"], means["gain"], label=series, **look(place))
        axes.scatter(points["relative_l2"], points["gain"], s=10, color=COLOURS[place], alpha=0.4, linewidths=0)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set(
        xlabel="relative L2 distance of expert and MLLM", ylabel=f"gain of the merge, {table.columns[-1]} (points)"
    )
    axes.legend(ncols=2)
    title = f"Gain of a merge over its MLLM ({table.columns[-1]}) against how far the expert lies from it"
    return save(figure, data, stem, title)
