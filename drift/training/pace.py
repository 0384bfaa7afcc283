"""How fast a training goes and what memory it takes: a line in pace.jsonl beside each one in metrics.jsonl.

Apart from the metrics, because no two runs share a time: metrics.jsonl is the same bytes in every run.
"""

import json
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from drift.files import read_jsonl, write_jsonl
from drift.injection.shards import rank
from drift.training import distributed

PACE = "pace.jsonl"


class Tokens:
    """Counts what a process reads on the device where it lies, so that no step waits for the count."""

    def __init__(self) -> None:
        self._count: torch.Tensor | int = 0

    def add(self, inputs: Mapping[str, Any]) -> None:
        """Counts a batch, without its padding; a packed one has none, and no mask."""
        mask = inputs.get("attention_mask")
        self._count = self._count + (inputs["input_ids"].numel() if mask is None else mask.sum())

    def take(self) -> int:
        """Those since the last time."""
        count, self._count = int(self._count), 0
        return count


class Pace:
    """Writes pace.jsonl on rank 0: seconds over all starts, tokens a second of all processes, peak memory of rank 0."""

    def __init__(self, out: Path, tokens: Tokens) -> None:
        self._path, self._tokens, self._last = out / PACE, tokens, time.monotonic()

    def begin(self) -> None:
        """What follows is measured from now on."""
        self._tokens.take()
        self._last = time.monotonic()

    def add(self, step: int, seconds: float) -> None:
        """The line of a step; all ranks call this together."""
        read = distributed.total(self._tokens.take())
        now = time.monotonic()
        rate, self._last = read / max(now - self._last, 1e-9), now
        if rank() == 0:
            line = {"step": step, "seconds": round(seconds, 2), "tokens_per_second": round(rate, 1)}
            with self._path.open("a") as file:
                file.write(json.dumps(line | {"memory_gb": round(memory_gb(), 3)}) + "\n")


def cut(out: Path, step: int) -> None:
    """pace.jsonl keeps the lines up to `step`."""
    path = out / PACE
    lines = read_jsonl(path, "pace", allow_torn_end=True) if path.is_file() else []
    write_jsonl(path, (line for line in lines if line["step"] <= step))


def memory_gb() -> float:
    """The most that this process has held so far: of its GPU where it has one, else of this machine."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
