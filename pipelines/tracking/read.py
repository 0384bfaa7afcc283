"""Recorded runs read back from this disk, by wandb's own reader (`wandb leet inspect --json`)."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def segments(folder: Path, run: str) -> list[Path]:
    """The folders of one run, the oldest first: one for each time that it was taken up."""
    return sorted((folder / "wandb").glob(f"offline-run-*-{run}"))


def records(segment: Path) -> Iterator[dict[str, Any]]:
    """What was recorded, in order; nothing of a segment that was not begun, and of a torn end nothing."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(segment)]
    said = subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, env=os.environ | {"WANDB_SILENT": "true"}, check=False
    )
    yield from (json.loads(line) for line in said.stdout.splitlines() if line.startswith(b"{"))


def history(segment: Path) -> list[dict[str, Any]]:
    """The steps of a curve."""
    return [record["history"]["item"] for record in records(segment) if record["type"] == "history"]


def last_step(folder: Path, run: str) -> int:
    """The last step that a run holds in all its segments; -1 where it holds none."""
    return max((row["_step"] for segment in segments(folder, run) for row in history(segment)), default=-1)
