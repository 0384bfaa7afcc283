"""Digit strips: eight cells of 8x8 pixels with real handwritten digits, and an operator glyph in the last one.

The digits are scikit-learn's `load_digits` (1797 drawings, UCI optical recognition of handwritten digits). They are
split once and for all into four pools, so that no drawing seen in training is ever asked about. A strip is quantised
to 8 bits before anybody sees it: training, data files and benchmarks hold the same pixels.
"""

import io
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from pipelines.lab.config import sub_seed
from pipelines.lab.language import FOLDS, Problem

CELL = 8
CELLS = 8
NOISE = 0.05
POOLS = {"mllm": 1150, "sft": 200, "validation": 150, "test": 297}
GLYPHS = {
    "sum": ("........", "...##...", "...##...", ".######.", ".######.", "...##...", "...##...", "........"),
    "sub": ("........", "........", "........", ".######.", ".######.", "........", "........", "........"),
    "max": ("...##...", "..####..", ".##..##.", "##....##", "........", "........", "########", "########"),
    "min": ("########", "########", "........", "........", "##....##", ".##..##.", "..####..", "...##..."),
}

Strip = NDArray[np.uint8]
Pool = tuple[NDArray[np.float32], ...]  # by digit the drawings of one pool: (drawings, 8, 8), in [0, 1]


@cache
def pool_indices(name: str) -> tuple[int, ...]:
    """Which of the 1797 drawings are in a pool; fixed for every world."""
    order = np.random.default_rng(sub_seed(0, "digit pools")).permutation(sum(POOLS.values()))
    pools = dict(zip(POOLS, np.split(order, np.cumsum(list(POOLS.values()))[:-1]), strict=True))
    return tuple(int(i) for i in pools[name])


@cache
def load_pool(name: str) -> Pool:
    """The drawings of a pool, grouped by digit, in a fixed order."""
    digits = load_digits()
    indices = np.array(pool_indices(name))
    pixels = (digits.images[indices] / 16.0).astype(np.float32)
    labels = digits.target[indices]
    return tuple(pixels[labels == d] for d in range(10))


@cache
def glyph(name: str) -> NDArray[np.float32]:
    """An operator's glyph, (8, 8), 0 or 1; the same in every world."""
    return np.array([[float(c == "#") for c in row] for row in GLYPHS[name]], dtype=np.float32)


def draw_strip(problem: Problem, pool: Pool, rng: np.random.Generator) -> Strip:
    """A strip of (8, 64) 8-bit pixels: a random drawing per digit, the glyph in cell 8, noise N(0, .05) everywhere."""
    strip = rng.standard_normal((CELL, CELL * CELLS), dtype=np.float32) * np.float32(NOISE)
    for place, digit in enumerate(problem.digits):
        drawings = pool[digit]
        strip[:, place * CELL : (place + 1) * CELL] += drawings[int(rng.integers(len(drawings)))]
    if problem.icon is not None:
        strip[:, -CELL:] += glyph(problem.icon)
    return np.rint(strip.clip(0.0, 1.0) * 255.0).astype(np.uint8)


def cell_classes(problem: Problem) -> list[int]:
    """What each of the eight cells shows: 0-9 a digit, 10-13 a glyph of FOLDS, 14 nothing."""
    classes = [*problem.digits, *[14] * (CELLS - len(problem.digits))]
    if problem.icon is not None:
        classes[-1] = 10 + FOLDS.index(problem.icon)
    return classes


def encode_png(strip: Strip) -> bytes:
    """The strip as a greyscale PNG; decoding gives the same pixels back."""
    buffer = io.BytesIO()
    Image.fromarray(strip, mode="L").save(buffer, format="PNG")
    return buffer.getvalue()


def to_pixels(strips: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Strips (b, 8, 64) as the image processors normalise them: (x/255 - .5)/.5, one channel of three."""
    return (strips.astype(np.float32) / np.float32(255.0) - np.float32(0.5)) / np.float32(0.5)
