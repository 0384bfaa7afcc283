"""Recorded runs read back from this disk, by wandb's own reader (what `wandb leet inspect --json` starts)."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.util import get_core_path


def segments(folder: Path, run: str, second: str = "*") -> list[Path]:
    """The folders of one run, the oldest first: one for each time that it was taken up."""
    return sorted((folder / "wandb").glob(f"offline-run-{second}-{run}"))


def records(segment: Path) -> Iterator[dict[str, Any]]:
    """What was recorded, in order; nothing of a segment that was not begun, and of a torn end nothing."""
    for log in segment.glob("*.wandb"):
        command = [get_core_path(), "leet", "inspect", "--no-observability", "--json"]
        said = subprocess.run(
            [*command, "--run-file", str(log), str(segment.parent)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        yield from (json.loads(line) for line in said.stdout.splitlines() if line.startswith(b"{"))


def history(segment: Path) -> list[dict[str, Any]]:
    """The steps of a curve."""
    return [record["history"]["item"] for record in records(segment) if record["type"] == "history"]


def last_step(folder: Path, run: str) -> int:
    """The last step that a run holds in all its segments; -1 where it holds none."""
    return max((row["_step"] for segment in segments(folder, run) for row in history(segment)), default=-1)
