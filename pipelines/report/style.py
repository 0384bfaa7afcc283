"""How every figure looks, and how it is kept: vector (SVG, PDF) and PNG, with its numbers beside it as CSV.

`figures.mplstyle` has the rest of the look. The same numbers give the same bytes.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib
import pandas

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure as Canvas

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (7, 2)))
DIVERGING = "PuOr"  # as light in grey at zero, and as dark at both ends
_WHEN = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}


@dataclass(frozen=True)
class Figure:
    """A figure that was drawn: its files' common name (`figures/table4_loss`), and what it shows, in one sentence."""

    file: str
    title: str


@contextmanager
def styled() -> Iterator[None]:
    """Within, figures are drawn in the project's style."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # else each glyph that a PDF leaves out is a line
    rules = resources.files("pipelines.report") / "figures.mplstyle"
    with resources.as_file(rules) as path, pyplot.style.context(path):
        yield


def look(place: int) -> dict[str, Any]:
    """Colour, marker and line of the series at a place."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": LINES[place % len(LINES)],
    }


def save(canvas: Canvas, data: pandas.DataFrame, stem: Path, title: str) -> Figure:
    """`stem` as .svg, .pdf, .png and .csv."""
    data.to_csv(stem.with_suffix(".csv"), index=False)
    for kind, metadata in _WHEN.items():
        canvas.savefig(stem.with_suffix(f".{kind}"), metadata=metadata)
    pyplot.close(canvas)
    return Figure(f"{stem.parent.name}/{stem.name}", title)
