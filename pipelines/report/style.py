"""How every figure looks, and how it is kept: vector (SVG, PDF) and PNG, with its numbers beside it as CSV.

Colours are Okabe and Ito's, told apart by colour-blind readers; each goes with a line style and a marker of its own, so
that a grey print says the same. The same numbers give the same bytes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pandas

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure as Canvas

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (7, 2)))
DIVERGING = "PuOr"  # as light in grey at zero, and as dark at both ends
RULES = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "savefig.bbox": "tight",
    "svg.fonttype": "none",  # text stays text: small, searchable, read aloud
    "svg.hashsalt": "drift",
    "pdf.fonttype": 42,
}
_WHEN = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}


@dataclass(frozen=True)
class Figure:
    """A figure that was drawn: its files' common name (`figures/table4_loss`), and what it shows, in one sentence."""

    file: str
    title: str


@contextmanager
def styled() -> Iterator[None]:
    """Within, figures are drawn in the project's style."""
    with pyplot.rc_context(RULES):
        yield


def look(place: int) -> dict[str, object]:
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
        canvas.savefig(stem.with_suffix(f".{kind}"), dpi=150, metadata=metadata)
    pyplot.close(canvas)
    return Figure(f"{stem.parent.name}/{stem.name}", title)
