"""One safetensors file: its header, read with bounds checks, and flat slices of its tensors.

Format: 8 bytes little-endian header length h, h bytes of JSON {name: {dtype, shape, data_offsets}}, then the data.
Written here and not taken from `safetensors.safe_open`, because three things are needed that it does not offer: a flat
slice of a tensor, a byte count in the error for a truncated file, and a header written ahead of its data.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path

import torch
from torch import Tensor

from drift.errors import CheckpointError, closest

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}
_HEADER_LIMIT = 100_000_000  # the format's own


@dataclass(frozen=True)
class TensorSpec:
    """What a tensor is, without its data."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def numel(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size on disk."""
        return self.numel * self.dtype.itemsize


class Shard:
    """A safetensors file, lazily read: opening it reads the header and nothing else."""

    def __init__(self, path: Path):
        """Raises:
        CheckpointError: the file is missing, truncated or no safetensors file.
        """
        self.path = Path(path)
        self.specs: dict[str, TensorSpec] = {}
        self._offsets: dict[str, int] = {}
        self._parse(*_read_header(self.path))

    def _parse(self, header: dict, start: int, size: int) -> None:
        self.metadata: dict[str, str] = header.pop("__metadata__", {})
        if not isinstance(self.metadata, dict):
            raise CheckpointError(f"{self.path} has a corrupt header: its metadata is {str(self.metadata)[:80]}")
        end, offsets = start, []
        for name, entry in header.items():
            spec, first, last = _parse_entry(self.path, name, entry)
            offsets.append((first, last, name))
            if last - first != spec.nbytes:
                raise CheckpointError(
                    f"{self.path}: {name!r} of shape {spec.shape} takes {spec.nbytes} bytes, "
                    f"its header says {last - first}"
                )
            self.specs[name], self._offsets[name] = spec, start + first
            end = max(end, start + last)
        for (_, last, name), (first, _, other) in pairwise([(0, 0, "the header"), *sorted(offsets)]):
            if last != first:
                raise CheckpointError(f"{self.path}: {name!r} ends at byte {last} and {other!r} begins at {first}")
        if end != size:
            raise CheckpointError(
                f"{self.path} is {'truncated' if size < end else 'too long'}: expected {end} bytes, found {size}; "
                "download or write it again"
            )

    def read_slice(self, name: str, start: int, stop: int) -> Tensor:
        """Elements [start, stop) of the flattened tensor, as a new 1-D tensor; reads only those bytes.

        Raises:
            CheckpointError: no such tensor, a slice outside it, or a file that shrank since it was opened.
        """
        spec = self.spec(name)
        if not 0 <= start <= stop <= spec.numel:
            raise CheckpointError(
                f"slice [{start}, {stop}) is outside {name!r} of {spec.numel} elements in {self.path}"
            )
        data = torch.empty(stop - start, dtype=spec.dtype)
        with open(self.path, "rb", buffering=0) as file:
            _read_into(file.fileno(), data, self._offsets[name] + start * spec.dtype.itemsize, self.path)
        return data

    def spec(self, name: str) -> TensorSpec:
        """Shape and dtype of a tensor.

        Raises:
            CheckpointError: no such tensor.
        """
        if name not in self.specs:
            raise CheckpointError(
                f"no tensor {name!r} in {self.path} ({len(self.specs)} tensors); {closest(name, self.specs)[:300]}"
            )
        return self.specs[name]

    def sha256(self) -> str:
        """sha256 of the whole file, in hex; taken from the name where the file is a blob of the Hugging Face cache."""
        target = self.path.resolve()
        if target.parent.name == "blobs" and len(target.name) == 64:
            return target.name
        with open(self.path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            return hashlib.sha256(data).hexdigest()


def header_bytes(specs: Sequence[TensorSpec], metadata: Mapping[str, str]) -> tuple[bytes, dict[str, int]]:
    """The head of a safetensors file for tensors laid out in the given order, and each tensor's absolute offset.

    Raises:
        CheckpointError: a dtype that the format does not know.
    """
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    offsets: dict[str, int] = {}
    end = 0
    for spec in specs:
        if spec.dtype not in _CODES:
            raise CheckpointError(
                f"{spec.name!r} has dtype {spec.dtype}, which safetensors can't store; {sorted(DTYPES)}"
            )
        offsets[spec.name] = end
        end += spec.nbytes
        entries[spec.name] = {
            "dtype": _CODES[spec.dtype],
            "shape": list(spec.shape),
            "data_offsets": [offsets[spec.name], end],
        }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    head = len(text).to_bytes(8, "little") + text
    return head, {name: len(head) + offset for name, offset in offsets.items()}


def write_at(file: int, data: Tensor, offset: int) -> None:
    """Writes a 1-D tensor's bytes at an offset of an open file descriptor."""
    view = memoryview(_as_bytes(data.contiguous()))
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


def _read_into(file: int, data: Tensor, offset: int, path: Path) -> None:
    view = memoryview(_as_bytes(data))
    while view:
        found = os.preadv(file, [view], offset)
        if found == 0:
            raise CheckpointError(
                f"{path} ended at byte {offset}; {len(view)} more bytes were expected. Was it rewritten?"
            )
        view, offset = view[found:], offset + found


def _as_bytes(data: Tensor):
    return data.view(torch.uint8).numpy()


def _read_header(path: Path) -> tuple[dict, int, int]:
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _HEADER_LIMIT):
                raise CheckpointError(
                    f"{path} is truncated or no safetensors file: expected a header of {length} bytes, "
                    f"found {max(size - 8, 0)} bytes after the first 8"
                )
            header = json.loads(file.read(length))
    except FileNotFoundError as error:
        raise CheckpointError(f"no file {path}; the checkpoint is incomplete: download or write it again") from error
    except OSError as error:
        raise CheckpointError(f"can't read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # of JSON and of Unicode
        raise CheckpointError(f"{path} has a corrupt header ({error}); download or write it again") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} has a corrupt header: expected a JSON object, found {type(header).__name__}")
    return header, 8 + length, size


def _parse_entry(path: Path, name: str, entry: dict) -> tuple[TensorSpec, int, int]:
    try:
        code, shape, (first, last) = entry["dtype"], tuple(map(_count, entry["shape"])), entry["data_offsets"]
        first, last, code = _count(first), _count(last), str(code)[:40]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} has a corrupt header: the entry of {name[:80]!r} is {str(entry)[:200]}"
        ) from error
    if code not in DTYPES:
        raise CheckpointError(f"{path}: {name!r} has dtype {code!r}, which is not supported; {closest(code, DTYPES)}")
    if not first <= last:
        raise CheckpointError(f"{path} has a corrupt header: {name!r} lies at bytes {first} to {last}")
    return TensorSpec(name, shape, DTYPES[code]), first, last


def _count(value: object) -> int:
    """A whole number from 0, as JSON has it; else a ValueError."""
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
