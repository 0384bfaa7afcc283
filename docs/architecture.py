"""Draws docs/architecture.svg from the imports in the code: python docs/architecture.py

A module or sub-package stands in the row above the highest thing of its layer that it imports, so that in a layer every
import goes down. What is drawn is also written into the SVG as data, which a test compares with the code. An import
that only a type checker reads is none.
"""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "architecture.svg"
LAYERS = ("pipelines", "evaluation", "drift")
FILLS = {"pipelines": "#e8eef7", "evaluation": "#e9f3ea", "drift": "#faf0e1"}
EDGES = {"pipelines": "#3b5f94", "evaluation": "#3d7a48", "drift": "#a5701a"}
ABOUT = {
    "pipelines": "composes conf/, plans, keeps the store, runs stages, writes results/",
    "evaluation": "responses to verdicts, scores and statistics",
    "drift": "the method: priors, injection, merging, training",
}
# Inches: the picture and a row of it, a sub-package's box, the axis of these boxes and how far they stand beside it,
# where the other modules begin, what lies between layers.
WIDTH, ROW, BOX, PACKAGES, SIDE, MODULES, BETWEEN = 9.6, 0.43, (1.2, 0.28), 1.75, 0.7, 3.55, 0.45

Picture = dict[str, Any]


def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module of the three layers; a package is its __init__.py."""
    files = (path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py")))
    names = ((".".join(path.relative_to(ROOT).with_suffix("").parts), path) for path in files)
    return {name.removesuffix(".__init__"): path for name, path in names}


def imported(tree: ast.AST) -> Iterator[str]:
    """The dotted names that a module imports, wherever in it; what stands under TYPE_CHECKING is left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imported(node)


def edges() -> set[tuple[str, str]]:
    """(part, part that it imports); a part is a sub-package, or a module that lies in no sub-package."""
    known, found = modules(), set[tuple[str, str]]()
    for name, path in known.items():
        for target in imported(ast.parse(path.read_text(encoding="utf-8"))):
            while target and target not in known:
                target = target.rpartition(".")[0]
            if target and _part(name) != _part(target):
                found.add((_part(name), _part(target)))
    return found


def picture() -> Picture:
    """Rows of each layer from its top, arrows between sub-packages of a layer, and which layer imports which."""
    found = edges()
    parts = sorted({_part(name) for name in modules()} - set(LAYERS))
    packages = {part for part in parts if (ROOT / Path(*part.split("."))).is_dir()}
    inside = {pair for pair in found if _layer_of(pair[0]) == _layer_of(pair[1])}
    return {
        "rows": {layer: _rows([part for part in parts if _layer_of(part) == layer], inside) for layer in LAYERS},
        "packages": sorted(packages),
        "arrows": sorted(list(pair) for pair in inside if packages.issuperset(pair)),
        "layers": sorted({(_layer_of(a), _layer_of(b)) for a, b in found - inside}),
    }


def committed() -> Picture:
    """The data of the picture that is there."""
    text = PICTURE.read_text(encoding="utf-8")
    found = re.search(r"<dc:description>(.*?)</dc:description>", text, re.DOTALL)
    return dict(json.loads(found[1])) if found else {}


def _part(name: str) -> str:
    return ".".join(name.split(".")[:2])


def _layer_of(part: str) -> str:
    return part.partition(".")[0]


def _rows(parts: list[str], found: set[tuple[str, str]]) -> list[list[str]]:
    """The parts of a layer by how many others they stand on at most, the highest first.

    Raises:
        ValueError: parts import each other in a circle, which has no top.
    """

    @cache
    def height(part: str) -> int:
        below = [target for source, target in found if source == part and target in parts]
        return 1 + max((height(target) for target in below), default=-1)

    try:
        heights = {part: height(part) for part in parts}
    except RecursionError:
        raise ValueError(f"imports go round in a circle among {', '.join(parts)}") from None
    return [[part for part in parts if heights[part] == level] for level in sorted(set(heights.values()), reverse=True)]


def write(data: Picture) -> None:
    """Writes the SVG; the same data give the same bytes."""
    metadata = {"Date": None, "Creator": None, "Title": "Layers and imports", "Description": json.dumps(data)}
    drawn(data).savefig(PICTURE, metadata=metadata)
    lines = PICTURE.read_text(encoding="utf-8").splitlines()
    PICTURE.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")


def drawn(data: Picture) -> "Figure":
    """The three layers below each other, with what imports what."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "architecture", "font.family": "sans-serif"}
    heights = {layer: ROW * len(rows) + 0.45 for layer, rows in data["rows"].items()}
    total = sum(heights.values()) + 2 * BETWEEN + 0.2
    figure = Figure(figsize=(WIDTH, total))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, total))
    axes.axis("off")
    top = total - 0.1
    for place, layer in enumerate(LAYERS):
        _layer(axes, layer, data, top, heights[layer])
        top -= heights[layer]
        if place < len(LAYERS) - 1:
            _between(axes, WIDTH / 2, top, BETWEEN, EDGES[layer])
            top -= BETWEEN
    upper = total - 0.1 - heights["pipelines"]
    _between(axes, WIDTH - 0.3, upper, 2 * BETWEEN + heights["evaluation"], EDGES["pipelines"])
    return figure


def _layer(axes: Any, layer: str, data: Picture, top: float, height: float) -> None:
    """A layer's frame with its rows: on the left sub-packages as boxes that arrows join, on the right other modules."""
    right = 0.6 if layer == "evaluation" else 0.1  # the arrow past evaluation goes there
    _box(axes, (0.1, top - height, WIDTH - 0.1 - right, height), layer, fill=FILLS[layer], zorder=0)
    axes.text(0.28, top - 0.26, f"{layer}/", fontsize=13, fontweight="bold", color=EDGES[layer], va="center")
    axes.text(MODULES, top - 0.26, ABOUT[layer], fontsize=10, fontstyle="italic", color=EDGES[layer], va="center")
    places: dict[str, tuple[float, float]] = {}
    for level, row in enumerate(data["rows"][layer]):
        y = top - 0.36 - ROW * (level + 0.5)
        packages = [part for part in row if part in data["packages"]]
        side = -SIDE if len(places) % 2 == 0 else SIDE
        for part, x in zip(packages, (-SIDE, SIDE) if len(packages) == 2 else (side,) * len(packages), strict=True):
            places[part] = PACKAGES + x, y
        names = [part.partition(".")[2] for part in row if part not in packages]
        axes.text(MODULES, y, "  ·  ".join(names), fontsize=9.5, color="#333333", va="center")
    for part, (x, y) in places.items():
        _box(axes, (x - BOX[0] / 2, y - BOX[1] / 2, *BOX), layer, fill="white", zorder=3)
        axes.text(
            x, y, f"{part.partition('.')[2]}/", fontsize=10, fontweight="bold", ha="center", va="center", zorder=4
        )
    for source, target in _shortest(data["arrows"]):
        if source in places:
            _arrow(axes, places[source], places[target], EDGES[layer])


def _shortest(arrows: list[list[str]]) -> list[list[str]]:
    """The arrows that no longer way says too."""
    pairs = {(source, target) for source, target in arrows}
    reached = set(pairs)
    while more := {(a, d) for a, b in reached for c, d in pairs if b == c} - reached:
        reached |= more
    return [[a, c] for a, c in arrows if not any((a, b) in pairs and (b, c) in reached for b in {x for _, x in pairs})]


def _box(axes: Any, place: tuple[float, float, float, float], layer: str, *, fill: str, zorder: int) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y, width, height = place
    box = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.08", zorder=zorder)
    box.set(facecolor=fill, edgecolor=EDGES[layer], linewidth=1.2)
    axes.add_patch(box)


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    """From the lower edge of one box to the upper edge of another."""
    ends = {"xy": (end[0], end[1] + BOX[1] / 2), "xytext": (start[0], start[1] - BOX[1] / 2)}
    axes.annotate("", **ends, arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.2, "shrinkA": 0, "shrinkB": 0})


def _between(axes: Any, x: float, top: float, length: float, color: str) -> None:
    """A broad arrow from layer to layer."""
    line = {"arrowstyle": "simple,head_width=0.9,head_length=0.8,tail_width=0.35", "color": color}
    ends = {"xy": (x, top - length + 0.02), "xytext": (x, top - 0.02)}
    axes.annotate("", **ends, arrowprops=line | {"shrinkA": 0, "shrinkB": 0})


if __name__ == "__main__":
    write(picture())
    print(PICTURE)
