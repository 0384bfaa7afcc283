"""A streaming writer of checkpoint folders, which publishes whole or not at all.

It knows every shape beforehand, writes each shard's header first and appends data in any order of tensors, so memory
follows the chunk and not the shard. It works in a temporary folder beside the target and renames at the end. With a
`resume_key` a killed run leaves that folder, and the next run goes on after the last finished tensor.
"""

import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from torch import Tensor

from drift.errors import CheckpointError, closest
from drift.safetensors_io import TensorSpec, header_bytes, write_at

log = logging.getLogger(__name__)

MAX_SHARD_BYTES = 5_000_000_000


class Writer:
    """Streams tensors into `folder`, which appears whole at the end of the `with` block or not at all.

    Files that belong beside the weights go into `writer.partial` before the block ends.
    """

    def __init__(
        self,
        folder: Path | str,
        specs: Iterable[TensorSpec],
        *,
        stem: str = "model",
        max_shard_bytes: int | None = MAX_SHARD_BYTES,
        metadata: Mapping[str, str] | None = None,
        resume_key: str | None = None,
    ):
        """Lays out the shards; nothing is written before the `with` block.

        Args:
            folder: must not exist or be empty.
            specs: every tensor, in the order the file(s) shall hold them.
            stem: the file name's stem: `model.safetensors`, or `model-00001-of-00003.safetensors` and an index.
            max_shard_bytes: largest shard; None for one file. A tensor is never split.
            metadata: the files' `__metadata__`.
            resume_key: identifies what is being written (method, sources, seed); None: a killed run can't be resumed.
        """
        self.folder = Path(folder)
        self.specs = {spec.name: spec for spec in specs}
        self.stem = stem
        self._metadata = {"format": "pt", **(metadata or {})}
        self._shards = _plan_shards(list(self.specs.values()), max_shard_bytes)
        self._resume_key = resume_key
        mark = os.getpid() if resume_key is None else "resumable"
        self.partial = self.folder.parent / f".{self.folder.name}.{mark}.partial"
        self._files: list[int] = []
        self._place: dict[str, tuple[int, int]] = {}
        self._filled = dict.fromkeys(self.specs, 0)

    @property
    def nbytes(self) -> int:
        """Bytes of tensor data in all."""
        return sum(spec.nbytes for spec in self.specs.values())

    @property
    def done(self) -> frozenset[str]:
        """Tensors written in full, those of an interrupted run included: skip them."""
        return frozenset(name for name, count in self._filled.items() if count == self.specs[name].numel)

    def __enter__(self) -> "Writer":
        """Raises:
        CheckpointError: `folder` holds files already, or the disk is too small.
        """
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise CheckpointError(f"{self.folder} exists and is not empty; remove it or choose another folder")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        plan = self.partial / "plan.sha256"
        is_resuming = self._resume_key is not None and plan.is_file() and plan.read_text() == self._plan()
        if not is_resuming:
            shutil.rmtree(self.partial, ignore_errors=True)
            free = shutil.disk_usage(self.folder.parent).free
            if free < self.nbytes:
                raise CheckpointError(
                    f"not enough disk at {self.folder.parent}: {self.nbytes:,} bytes are needed, {free:,} are free"
                )
            self.partial.mkdir()
        self._open_files(is_resuming)
        if is_resuming:
            self._read_journal()
        plan.write_text(self._plan())
        return self

    def append(self, name: str, data: Tensor) -> None:
        """The next elements of tensor `name`, cast to its dtype; any shape, flattened. Tensors may be interleaved.

        Raises:
            CheckpointError: an unknown tensor, or more elements than it has.
        """
        if name not in self.specs:
            raise CheckpointError(
                f"{name!r} was not announced to the writer of {self.folder}; {closest(name, self.specs)[:300]}"
            )
        spec, start = self.specs[name], self._filled[name]
        if start + data.numel() > spec.numel:
            raise CheckpointError(
                f"{name!r} of shape {spec.shape} has {spec.numel} elements, got {start + data.numel()}"
            )
        file, offset = self._place[name]
        write_at(self._files[file], data.reshape(-1).to(spec.dtype), offset + start * spec.dtype.itemsize)
        self._filled[name] = start + data.numel()
        if self._resume_key is not None and self._filled[name] == spec.numel:
            os.write(self._journal, f"{name}\n".encode())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Publishes the folder; after an error removes what was written, or keeps it for a resumable run.

        Raises:
            CheckpointError: some tensor was not written in full.
        """
        for file in self._files + ([self._journal] if self._resume_key is not None else []):
            os.close(file)
        done = self.done
        missing = [name for name in self.specs if name not in done]
        if kind is None and not missing:
            self._publish()
            return
        if self._resume_key is None:
            shutil.rmtree(self.partial, ignore_errors=True)
        if kind is None:
            name = missing[0]
            raise CheckpointError(
                f"{len(missing)} of {len(self.specs)} tensors were not written in full; first: {name!r}, "
                f"{self._filled[name]} of {self.specs[name].numel} elements"
            )

    def _publish(self) -> None:
        (self.partial / "plan.sha256").unlink()
        (self.partial / "journal.txt").unlink(missing_ok=True)
        if len(self._shards) > 1:
            files = {spec.name: self._file_name(i) for i, shard in enumerate(self._shards) for spec in shard}
            index = {"metadata": {"total_size": self.nbytes}, "weight_map": files}
            (self.partial / f"{self.stem}.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
        os.replace(self.partial, self.folder)

    def _file_name(self, i: int) -> str:
        count = len(self._shards)
        return f"{self.stem}.safetensors" if count == 1 else f"{self.stem}-{i + 1:05d}-of-{count:05d}.safetensors"

    def _open_files(self, is_resuming: bool) -> None:
        for i, shard in enumerate(self._shards):
            head, offsets = header_bytes(shard, self._metadata)
            file = os.open(self.partial / self._file_name(i), os.O_RDWR | os.O_CREAT, 0o644)
            if not is_resuming:
                os.pwrite(file, head, 0)
                os.truncate(file, len(head) + sum(spec.nbytes for spec in shard))
            self._files.append(file)
            self._place |= {name: (i, offset) for name, offset in offsets.items()}
        if self._resume_key is not None:
            self._journal = os.open(self.partial / "journal.txt", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)

    def _plan(self) -> str:
        layout = [[(s.name, s.shape, str(s.dtype)) for s in shard] for shard in self._shards]
        return hashlib.sha256(json.dumps([layout, self._metadata, self._resume_key]).encode()).hexdigest()

    def _read_journal(self) -> None:
        lines = (self.partial / "journal.txt").read_text().split("\n")[:-1]  # a torn last line is no finished tensor
        self._filled |= {name: self.specs[name].numel for name in lines if name in self.specs}
        log.info("resuming %s: %d of %d tensors are there", self.folder, len(self.done), len(self.specs))


def _plan_shards(specs: Sequence[TensorSpec], limit: int | None) -> list[list[TensorSpec]]:
    shards: list[list[TensorSpec]] = [[]]
    largest = math.inf if limit is None else limit
    room = largest
    for spec in specs:
        if spec.nbytes > room and shards[-1]:
            shards.append([])
            room = largest
        room -= spec.nbytes
        shards[-1].append(spec)
    # Wide dtypes first, so that every tensor starts at a multiple of its item size, as readers expect.
    return [sorted(shard, key=lambda spec: -spec.dtype.itemsize) for shard in shards]
