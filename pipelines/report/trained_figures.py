"""Figures of what training bought: the paper's Figure 1, alpha's sensitivity, accuracy against w_eff, every difference.

Each is drawn where a table's rows have what it needs, by what lies in their artifacts and not by the table's name: a
sweep of alpha where one scaling has `ALPHAS` values of it, accuracy against w_eff where `TRAINED` rows moved weights.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pandas
from matplotlib import pyplot
from matplotlib.axes import Axes

from evaluation.statistics import paired_over_seeds
from pipelines.report.numbers import Evidence, Number, Numbers, column_value
from pipelines.report.page import Section
from pipelines.report.sources import Source
from pipelines.report.spec import AVERAGE
from pipelines.report.style import COLOURS, MARKERS, Figure, look, save

ALPHAS = 4  # a line through fewer says nothing of a shape
TRAINED = 8
_ACCURACY = "mean over columns (%)"


def trained(evidence: Evidence, numbers: Numbers, folder: Path) -> list[Figure]:
    """The figures that a table of scores has the rows for."""
    data = trainings(evidence, numbers)
    name, drawn = evidence.table.name, []
    for scale, rows in data.groupby("scale", sort=False):
        if scale != "none" and rows["alpha"].nunique() >= ALPHAS:
            drawn.append(alpha_sensitivity(rows, data[data["scale"] == "none"], folder / f"{name}_alpha_{scale}"))
    if data["row"].nunique() >= TRAINED:
        drawn.append(against_w_eff(data, folder / f"{name}_w_eff"))
    return drawn


def trainings(evidence: Evidence, numbers: Numbers) -> pandas.DataFrame:
    """A line per trained row and seed: scaling, alpha, prior, w_eff from the MLLM on, and the mean accuracy over the
    table's columns."""
    checkpoints, ways = (evidence.by_row("checkpoint"), evidence.w_eff()) if numbers else ({}, {})
    lines = [
        (label, run, *_injected(source), way, accuracy)
        for label, row in numbers.items()
        for run, (source, way, accuracy) in enumerate(zip(checkpoints[label], ways[label], _means(row), strict=False))
        if source.manifest["stage"] == "train"
    ]
    return pandas.DataFrame(lines, columns=["row", "run", "scale", "alpha", "prior", "w_eff", "accuracy"])


def _means(row: Sequence[Number]) -> list[float]:
    """A row's mean over columns in each run."""
    columns = [number.values for number in row if number.column != AVERAGE]
    return [statistics.fmean(values) for values in zip(*columns, strict=True)]


def _injected(source: Source) -> tuple[str, float, str]:
    injection = source.manifest["params"]["injection"]
    words = source.manifest["label"].split()
    named = [word for before, word in pairwise(words) if before.startswith("alpha=")]  # as pipelines.plan labels it
    return injection["scale"], injection["alpha"], named[0] if named else "direct"


def alpha_sensitivity(rows: pandas.DataFrame, plain: pandas.DataFrame, stem: Path) -> Figure:
    """Accuracy and w_eff against alpha, a line per prior; plain fine-tuning is the dashed level."""
    figure, panels = pyplot.subplots(1, 2, figsize=(8.4, 3.4), layout="constrained")
    for panel, measure, said in zip(panels, ("accuracy", "w_eff"), (_ACCURACY, "w_eff"), strict=True):
        for place, (prior, mine) in enumerate(rows.groupby("prior", sort=False)):
            _band(panel, mine.assign(size=mine["alpha"].abs()), "size", measure, str(prior), place)
        if len(plain):
            panel.axhline(plain[measure].mean(), color="black", linestyle="--", linewidth=1, label="no injection")
        panel.set(xscale="log", xlabel="|alpha|", ylabel=said)
    panels[0].legend()
    scale = rows["scale"].iloc[0]
    return save(figure, rows, stem, f"How sensitive {scale} injection is to alpha: accuracy and w_eff against alpha")


def _band(axes: Axes, data: pandas.DataFrame, along: str, measure: str, label: str, place: int) -> None:
    """Means over runs, and a band from the lowest to the highest."""
    by = data.groupby(along)[measure]
    axes.plot(by.mean().index, by.mean(), label=label, **look(place))
    axes.fill_between(by.mean().index, by.min(), by.max(), color=COLOURS[place], alpha=0.15, linewidth=0)


def against_w_eff(data: pandas.DataFrame, stem: Path) -> Figure:
    """Accuracy against how far each training went along its prior: a point a row, its worlds as small dots."""
    figure, axes = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
    kinds = data["scale"].where(data["prior"] == "direct", data["scale"] + ", " + data["prior"] + " prior")
    for place, (kind, mine) in enumerate(data.groupby(kinds, sort=False)):
        means = mine.groupby("row", sort=False)[["w_eff", "accuracy"]].mean()
        colour = COLOURS[place % len(COLOURS)]
        axes.scatter(means["w_eff"], means["accuracy"], s=42, color=colour, marker=MARKERS[place % 8], label=str(kind))
        axes.scatter(mine["w_eff"], mine["accuracy"], s=7, color=colour, alpha=0.45, linewidths=0)
    axes.set(xlabel="w_eff: 0 not moved, 1 as far along its prior as the expert", ylabel=_ACCURACY)
    axes.legend(title="scaling")
    return save(figure, data, stem, "Accuracy against how far each training moved along its prior (w_eff)")


def spent(evidence: Evidence) -> pandas.DataFrame:
    """A line per seed of each row with a score beside its training: its series, examples, cost and mean accuracy."""
    columns = ["row", "series", "run", "examples", "cpu_seconds", "suites", "accuracy"]
    return pandas.DataFrame(_spent(evidence), columns=columns)


def accuracy_for(data: pandas.DataFrame, stem: Path) -> list[Figure]:
    """Accuracy against the size of the training set and against the cost of training (the paper's Figure 1).

    The left panel needs two sizes. Rows of one series are joined by a line; the small dots are worlds.
    """
    if data.empty:
        return []
    axes_of = {"examples": "training examples", "cpu_seconds": "CPU seconds of the training"}
    shown = {key: said for key, said in axes_of.items() if key == "cpu_seconds" or data[key].nunique() > 1}
    figure, panels = pyplot.subplots(
        1, len(shown), figsize=(2.8 + 3.2 * len(shown), 3.6), layout="constrained", sharey=True, squeeze=False
    )
    for panel, (key, said) in zip(panels[0], shown.items(), strict=True):
        for place, (label, mine) in enumerate(data.groupby("series", sort=False)):
            means = mine.groupby("row")[[key, "accuracy"]].mean().sort_values(key)
            panel.scatter(mine[key], mine["accuracy"], s=9, color=look(place)["color"], alpha=0.5, linewidths=0)
            panel.plot(means[key], means["accuracy"], markersize=7, label=label, **look(place))
        panel.set(xlabel=said, xlim=(0, None))
    panels[0][0].set_ylabel(f"mean over {data['suites'].max()} suites (%)")
    panels[0][0].legend()
    return [save(figure, data, stem, f"Accuracy against {' and '.join(shown.values())} (the paper's Figure 1)")]


def _spent(evidence: Evidence) -> Iterator[tuple[str, str, int, float, float, int, float]]:
    series = {row.label: row.series or row.label for row in evidence.table.rows}
    for cell in evidence.cells:
        if {"score", "checkpoint"} <= set(cell.artifacts):
            scores = evidence.sources[cell.artifacts["score"]].scores
            made = evidence.sources[cell.artifacts["checkpoint"]].manifest
            accuracy = statistics.fmean(column_value(scores, column, ()) for column in scores)
            cost = made["values"]["examples"], made["cpu_seconds"]
            yield cell.row, series[cell.row], cell.seed, *cost, len(scores), accuracy


def forest(tables: Sequence[Section], stem: Path) -> list[Figure]:
    """Every comparison of every table, with its interval: its average, or the mean over columns world by world."""
    lines = [line for section in tables for line in _comparisons(section)]
    data = pandas.DataFrame(lines, columns=["table", "difference", "points", "low", "high"])
    if data.empty:
        return []
    figure, axes = pyplot.subplots(figsize=(8, 1 + 0.19 * (len(data) + data["table"].nunique())), layout="constrained")
    height, labels = 0, []
    for table, mine in data.groupby("table", sort=False):
        labels.append((height, table))
        for line in mine.to_dict("records"):
            height += 1
            _interval(axes, height, line)
            labels.append((height, line["difference"]))
        height += 1
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks([place for place, _ in labels], [text for _, text in labels], fontsize=6)
    for text in axes.get_yticklabels():
        if " minus " not in text.get_text():
            text.set_fontweight("bold")
    axes.set(
        xlabel="points on average over columns, with 95% intervals; filled where zero is outside", ylim=(height, -1)
    )
    return [save(figure, data, stem, "Every comparison of every table, on average over its columns")]


def _comparisons(section: Section) -> Iterator[tuple[str, str, float, float, float]]:
    table = section.table.title.partition(".")[0]
    for label, row in section.differences.items():
        name, means = f"{label} minus {row[0].against}", _means(section.numbers[label])
        average = next((each.interval for each in row if each.column == AVERAGE), None)
        if average is None and row[0].varies == "worlds":
            average = paired_over_seeds(_means(section.numbers[row[0].against]), means)
        if average is not None and math.isfinite(average.low):
            yield table, name, average.mean, average.low, average.high


def _interval(axes: Axes, height: int, line: dict[str, float]) -> None:
    is_open = not (line["low"] > 0 or line["high"] < 0)
    colour = COLOURS[7] if is_open else COLOURS[0] if line["points"] > 0 else COLOURS[1]
    axes.plot([line["low"], line["high"]], [height, height], color=colour, linewidth=1.1)
    marker = "o" if is_open else "^" if line["points"] > 0 else "v"
    axes.plot(line["points"], height, marker=marker, color=colour, markerfacecolor="white" if is_open else colour)
