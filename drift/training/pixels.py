"""The image tensors of a data set in one file of this machine: written by its first process, mapped by all of them.

What does not fit in the limit is made again from the picture whenever it is asked for. The file has no name once all
have opened it, so it goes when they do. All processes must know its name, so others can too: it lies in a folder that
only this user can enter, since TMPDIR is often one for all users of a machine.
"""

import mmap
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from drift.errors import TrainingError
from drift.training import distributed
from drift.training.disk import is_disk_full

_ALIGNED = 64


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in the file."""

    start: int
    shape: torch.Size
    dtype: torch.dtype


class PixelFile:
    """Tensors by place; first all are kept, in the same order in every process, then they are read."""

    def __init__(self, limit: float, name: str) -> None:
        """Args:
        limit: bytes that may be kept.
        name: tells the file from those of other trainings; the same in all processes of one.
        """
        node = os.environ.get("GROUP_RANK", "0")  # torchrun's agent: two of one training may share a machine
        self._path = _own_folder() / f"{name}-{node}.pixels"
        self._is_writer = os.environ.get("LOCAL_RANK", "0") == "0"
        self._writer = self._path.open("wb") if self._is_writer else None
        self._limit, self._size = limit, 0
        self._map: mmap.mmap | None = None

    def keep(self, tensors: Mapping[str, Tensor]) -> dict[str, Place] | None:
        """Where the tensors will lie; None where they would pass the limit.

        Raises:
            TrainingError: the disk is full before the limit is reached.
        """
        starts, end = [], self._size
        for tensor in tensors.values():
            starts.append(end)
            end += -(-tensor.nbytes // _ALIGNED) * _ALIGNED
        if end > self._limit:
            return None
        self._size = end
        for start, tensor in zip(starts, tensors.values(), strict=True):
            self._write(start, tensor, end)
        return {n: Place(start, t.shape, t.dtype) for start, (n, t) in zip(starts, tensors.items(), strict=True)}

    def _write(self, start: int, tensor: Tensor, end: int) -> None:
        if self._writer is None:
            return
        try:
            self._writer.seek(start)
            self._writer.write(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
            self._writer.truncate(end)
        except OSError as error:
            if not is_disk_full(error):
                raise
            raise TrainingError(
                f"no space left for image tensors in {self._path.parent}; lower image_cache_gb, or name another disk "
                "by the variable TMPDIR"
            ) from error

    def open(self) -> None:
        """Nothing more is kept; all processes call this together."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        distributed.barrier()
        if self._size:
            with self._path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), self._size, access=mmap.ACCESS_COPY)
        distributed.barrier()
        if self._is_writer:
            self._path.unlink()

    def read(self, places: Mapping[str, Place]) -> dict[str, Tensor]:
        """The tensors at their places."""
        assert self._map is not None
        return {
            name: torch.frombuffer(self._map, dtype=place.dtype, count=place.shape.numel(), offset=place.start).view(
                place.shape
            )
            for name, place in places.items()
        }


def _own_folder() -> Path:
    """A folder in TMPDIR that is this user's alone.

    Raises:
        TrainingError: what lies in its place is no folder, somebody else's, or open to others.
    """
    path = Path(tempfile.gettempdir()) / f"drift-{os.geteuid()}"
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise TrainingError(
            f"{path} is {stat.filemode(found.st_mode)} of user {found.st_uid}, expected drwx------ of user "
            f"{os.geteuid()}: others could write what is trained on. Remove it, or name another folder by TMPDIR"
        )
    return path
