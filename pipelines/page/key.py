"""How an item of the laboratory is read, each line by an example from the functions that draw and answer problems."""

import base64
from dataclasses import dataclass

import numpy as np

from pipelines.lab import language
from pipelines.lab.images import CELL, CELLS, encode_png, glyph
from pipelines.lab.language import FOLDS, SYMBOLS, Problem

_WORKED = language.calc((3, 8, 5), ("sum", "sub"))
_ASKED: tuple[tuple[str, Problem], ...] = (
    (
        "add up the digits; sub: take each from what there is; max, min: the greatest, the least",
        language.fold((3, 8, 5), "sum"),
    ),
    ("the same, by the sign in the picture, which the chain names first", language.icon_fold((3, 8, 5), "sum")),
    ("calculate with these signs between the digits", _WORKED),
    ("count one digit among the digits", language.count((3, 8, 3), 3)),
    ("go on with the progression", language.following((3, 5, 7))),
    ("read the digits", language.reading((3, 8, 5))),
    ("the digit at this place, counted from 1", language.position((3, 8, 5), 2)),
    ("name the sign in the picture", language.icon_name((3, 8, 5), "max")),
)


@dataclass(frozen=True)
class Key:
    """What the page says beside the items.

    Attributes:
        size: of a picture, its cells and a cell's pixels each way.
        example: a chain of thought that leaves the digits 0 to 9 and comes back.
        signs: each operation's name, how chains write it, and its sign in pictures as an address that holds it.
        asked: what each question means, with an example.
    """

    size: tuple[int, int]
    example: str
    signs: tuple[tuple[str, str, str], ...]
    asked: tuple[tuple[str, Problem], ...]


def key() -> Key:
    """The key to the items of every laboratory world."""
    signs = tuple((name, SYMBOLS[name], _drawn(name)) for name in FOLDS)
    return Key((CELLS, CELL), _WORKED.chain, signs, _ASKED)


def _drawn(name: str) -> str:
    strip = (glyph(name) * 255).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(encode_png(strip)).decode()
