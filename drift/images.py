"""Pictures that somebody else made: opened in RGB, or an error; a bomb is refused before it is unpacked."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from drift.errors import DataError

# What Pillow raises over broken files; its own limit (twice 89 million pixels) stands against bombs.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def open_rgb(source: Path | BytesIO) -> Image.Image:
    """The picture, unpacked.

    Raises:
        DataError: it can't be read, or is larger than a picture is.
    """
    try:
        with Image.open(source) as image:
            return image.convert("RGB")
    except UNREADABLE as error:
        raise DataError(f"is no readable image ({error})") from error
