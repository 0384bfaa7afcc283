"""Examples on their way to disk: a sharegpt JSON and its pictures, as LLaMA-Factory and drift.training read them."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from drift.files import replacing
from drift.training.conversations import IMAGE_MARK
from pipelines.distil.asking import shown
from pipelines.distil.rules import Sample

TRAIN = "train.json"
PICTURES = "images"


class SetWriter:
    """Takes examples one at a time; `count` is how many there are."""

    def __init__(self, stream: BinaryIO, folder: Path) -> None:
        self._stream, self._folder, self.count = stream, folder, 0

    def add(self, messages: Sequence[Mapping[str, str]], pictures: Sequence[Path]) -> None:
        """One more example, whose pictures are copied as they are."""
        names = [f"{PICTURES}/{self.count:06d}_{place}{path.suffix}" for place, path in enumerate(pictures)]
        for name, path in zip(names, pictures, strict=True):
            shutil.copyfile(path, self._folder / name)
        record = {"messages": list(messages), "images": names}
        self._stream.write(b",\n" if self.count else b"[\n")
        self._stream.write(json.dumps(record).encode("ascii"))
        self.count += 1

    def add_sample(self, sample: Sample, folder: Path) -> None:
        """An answer to a question whose pictures lie below `folder` and stand in front of it."""
        names = sample.question.images
        asked = {"role": "user", "content": IMAGE_MARK * len(names) + shown(sample.question)}
        self.add([asked, {"role": "assistant", "content": sample.response}], [folder / name for name in names])


@contextmanager
def writing(folder: Path) -> Iterator[SetWriter]:
    """A set in `folder`, whose JSON has its name when the block ends well."""
    shutil.rmtree(folder / PICTURES, ignore_errors=True)
    (folder / PICTURES).mkdir(parents=True)
    with replacing(folder / TRAIN) as stream:
        writer = SetWriter(stream, folder)
        yield writer
        stream.write(b"\n]\n" if writer.count else b"[]\n")


def read_set(folder: Path) -> list[dict[str, Any]]:
    """The records of a set: `messages` and `images`."""
    return list(json.loads((folder / TRAIN).read_text(encoding="utf-8")))
