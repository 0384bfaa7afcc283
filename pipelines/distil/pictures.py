"""Pictures that somebody else made: which can be learnt from, and what makes two of them nearly the same.

A picture's marks are two perceptual hashes of imagehash (the signs of its lowest frequencies, and whether it grows
brighter to the right), of the whole picture and of what is left without a plain margin. Sizes and encodings leave them
nearly as they are, a crop moves them: so what is searched is indexed with its own crops too. Measured on LogicVista
and We-Math: docs/data.md.
"""

import warnings
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drift.images import UNREADABLE
from pipelines.distil.config import Near, PictureLimits
from pipelines.distil.records import Fault

HASH = 12  # a side: 144 bits each
_SIDE = 256  # more says nothing about frequencies so low
_MARGIN = 32  # grey levels from the edge's own
_FORMATS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp"}
_WORDS = -(-HASH * HASH // 64)
_REAL = np.arange(_WORDS * 64).reshape(_WORDS, 64) < HASH * HASH  # the last word is filled up
Marks = NDArray[np.uint64]  # (views, 2, _WORDS)


def find_picture(source: bytes | str, folder: Path) -> bytes | Fault:
    """A picture's bytes by its path below `folder`, judged by the path's words, or as they are given."""
    if isinstance(source, bytes):
        return source
    path = PurePath(source)
    if path.is_absolute() or ".." in path.parts or "\0" in source:
        return Fault("image outside", f"{source!r} leaves the folder of the questions")
    try:
        return (folder / path).read_bytes() if (folder / path).is_file() else Fault("image missing", repr(source))
    except OSError as error:
        return Fault("image missing", f"{source!r}: {error.strerror}")


def check_picture(data: bytes, limits: PictureLimits) -> str | Fault:
    """The suffix of a picture that can be learnt from; its size is looked at before it is unpacked."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data)) as image:
                if fault := _size_fault(image.size, limits):
                    return fault
                image.load()
                return _FORMATS.get(image.format or "", ".png")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return Fault("image bomb", str(error)[:200])
    except UNREADABLE as error:
        return Fault("image unreadable", str(error)[:200])


def _size_fault(size: tuple[int, int], limits: PictureLimits) -> Fault | None:
    low, high = sorted(size)
    said = f"{size[0]}x{size[1]} pixels"
    if low < limits.least_side:
        return Fault("image too small", f"{said}; least_side is {limits.least_side}")
    if high > limits.most_side:
        return Fault("image too large", f"{said}; most_side is {limits.most_side}")
    if high > limits.most_aspect * low:
        return Fault("image too long", f"{said}; most_aspect is {limits.most_aspect:g}")
    return None


def marks_of(data: bytes) -> Marks:
    """Of the whole picture, and of the picture without its margin: two views."""
    grey = _grey(data)
    return np.stack([_hashes(grey), _hashes(_trimmed(grey))])


def crop_marks(data: bytes, crops: Sequence[float]) -> Marks:
    """Of the whole picture, of its crops, and of the picture without its margin."""
    grey = _grey(data)
    return np.stack([_hashes(grey), *(_hashes(_cut(grey, share)) for share in crops), _hashes(_trimmed(grey))])


class PictureIndex:
    """Pictures by their marks; the last view of each is the one without a margin, and is compared with that alone."""

    def __init__(self, near: Near) -> None:
        self._limit = int(near.bits * HASH * HASH)
        self._views: dict[bool, _Views] = {False: _Views(), True: _Views()}

    def add(self, name: str, marks: Marks) -> None:
        """From now on `find` knows the picture."""
        for view in marks[:-1]:
            self._views[False].add(name, view)
        self._views[True].add(name, marks[-1])

    def find(self, marks: Marks) -> Iterator[str]:
        """The names of the pictures that are near, the first added first, some perhaps twice."""
        for view in marks[:-1]:
            yield from self._views[False].near(view, self._limit)
        yield from self._views[True].near(marks[-1], self._limit)


class _Views:
    """Hashes in one growing array, (n, 2, _WORDS)."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._bits = np.empty((256, 2, _WORDS), dtype=np.uint64)

    def add(self, name: str, view: Marks) -> None:
        if len(self._names) == len(self._bits):
            self._bits = np.concatenate([self._bits, np.empty_like(self._bits)])
        self._bits[len(self._names)] = view
        self._names.append(name)

    def near(self, view: Marks, limit: int) -> Iterator[str]:
        different = np.bitwise_count(self._bits[: len(self._names)] ^ view).sum(axis=2)
        yield from (self._names[place] for place in np.flatnonzero((different <= limit).all(axis=1)))


def _grey(data: bytes) -> Image.Image:
    """On a white page, no larger than the hashes need it."""
    with Image.open(BytesIO(data)) as image:
        image.draft("L", (_SIDE, _SIDE))  # a JPEG is unpacked no larger than that
        if image.has_transparency_data:
            drawn = image.convert("RGBA")
            page = Image.new("RGBA", drawn.size, "white")
            page.alpha_composite(drawn)
            grey = page.convert("L")
        else:
            grey = image.convert("L")
    if max(grey.size) > _SIDE:
        grey.thumbnail((_SIDE, _SIDE), reducing_gap=2.0)
    return grey


def _hashes(grey: Image.Image) -> Marks:
    import imagehash

    found = (imagehash.phash(grey, hash_size=HASH).hash, imagehash.dhash(grey, hash_size=HASH).hash)
    return np.stack([np.packbits(np.resize(bits, (_WORDS, 64)) & _REAL).view(np.uint64) for bits in found])


def _cut(grey: Image.Image, share: float) -> Image.Image:
    x, y = int(grey.width * share), int(grey.height * share)
    return grey.crop((x, y, grey.width - x, grey.height - y))


def _trimmed(grey: Image.Image) -> Image.Image:
    """Without the rows and columns at its edges that are as plain as the edge."""
    pixels = np.asarray(grey).astype(np.int16)
    edge = np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]))
    drawn = np.abs(pixels - edge) > _MARGIN
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if len(rows) < 2 or len(columns) < 2:
        return grey
    return grey.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
