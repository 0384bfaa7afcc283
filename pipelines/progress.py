"""How far a plan is, and what a person sees of it: one screen on a terminal, a line a minute elsewhere.

What is left is estimated from measured times, of this run and of what the store held, and from what a call says that it
needs where its stage has none.
"""

import json
import logging
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pipelines.layout import CHECKPOINT
from pipelines.stages import TrainParams
from pipelines.store import Artifact

log = logging.getLogger(__name__)
METRICS = "metrics.jsonl"
_TAIL_BYTES = 4096
_FINDINGS = 3
_STATES = ("running", "queued", "done", "failed")


@dataclass
class Running:
    """A call that runs: since when, and where it writes."""

    stage: str
    label: str
    partial: Path
    params: Any
    since: float = field(default_factory=time.monotonic)
    first: tuple[float, int] | None = None  # when a step of its training was first seen, and which

    def training(self) -> str:
        """`step 120 of 300, loss 0.412, 2 min left`, from the end of its metrics; empty where it has none."""
        line = _last_line(self.partial / CHECKPOINT / METRICS) if isinstance(self.params, TrainParams) else {}
        if not line:
            return ""
        step, now = line["step"], time.monotonic()
        self.first = self.first or (now, step)
        total = round(step / line["epoch"] * self.params.training.epochs)
        (then, before), said = self.first, f"step {step} of {total}, loss {line['loss']:.3g}"
        if step == before:
            return said
        return f"{said}, {duration((now - then) / (step - before) * (total - step))} left"


def _last_line(path: Path) -> dict[str, Any]:
    """The last whole line of a file that is being written; empty where there is none yet."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            whole = [line for line in file.read().split(b"\n")[:-1] if line.startswith(b"{")]
    except FileNotFoundError:
        return {}
    return json.loads(whole[-1]) if whole else {}


@dataclass(frozen=True)
class State:
    """A plan on its way: counts by stage and state in the plan's order, what runs, and the seconds left by stage."""

    counts: Mapping[str, Counter[str]]
    running: Sequence[Running]
    left: Mapping[str, float]
    seconds: float


class Times:
    """Wall times by stage: measured, else guessed."""

    def __init__(self, guesses: Mapping[str, float]) -> None:
        self.guesses, self.seen = guesses, dict[str, list[float]]()

    def add(self, stage: str, seconds: float) -> None:
        """Takes a measured time."""
        self.seen.setdefault(stage, []).append(seconds)

    def each(self, stage: str) -> float:
        """Seconds that one call of a stage takes."""
        times = self.seen.get(stage)
        return sum(times) / len(times) if times else self.guesses[stage]


class View(Protocol):
    """Shows how far a plan is.

    Attributes:
        seconds: between two looks at it.
    """

    seconds: float

    def show(self, state: State) -> None:
        """The state as it is now."""

    def finished(self, found: str) -> None:
        """A stage was made, and what it found; empty where that is nothing to look at."""

    def close(self) -> None:
        """The plan has ended."""


class Lines:
    """A line a minute, for a log or a pipe; of a plan that is done before, nothing."""

    seconds = 60.0

    def __init__(self) -> None:
        self._said, self._found = time.monotonic(), ""

    def show(self, state: State) -> None:
        """Logs how far it is, what runs and what was found last."""
        if time.monotonic() - self._said >= self.seconds:
            self._said = time.monotonic()
            log.info("%s", line(state, self._found))

    def finished(self, found: str) -> None:
        """Keeps it for the next line."""
        self._found = found or self._found

    def close(self) -> None:
        """Nothing is open."""


class Screen:
    """One table that is drawn over and over, with what runs below it; warnings and errors go above it."""

    seconds = 0.5

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
        self._is_open = False
        self._found: deque[str] = deque(maxlen=_FINDINGS)

    def show(self, state: State) -> None:
        """Draws it; a plan of which nothing is to run never opens a screen."""
        if not self._is_open:
            if not state.running:
                return
            self._is_open = True
            self._live.start()
        self._live.update(screen(state, self._live.console.height, list(self._found)), refresh=True)

    def finished(self, found: str) -> None:
        """Shows it below what runs."""
        if found:
            self._found.append(found)

    def close(self) -> None:
        """Gives the terminal back."""
        if self._is_open:
            self._live.stop()


def view() -> View:
    """A screen where a person watches, else lines."""
    return Screen() if sys.stderr.isatty() else Lines()


def finding(artifact: Artifact) -> str:
    """What an artifact says that a person waits for: a score, how a training ended, what was chosen; then of what.

    A narrow screen cuts the end of a long label, and not the number.
    """
    label, values = artifact.manifest["label"], artifact.values
    if scores := values.get("scores"):
        if not isinstance(scores, dict) or any(isinstance(score, dict) for score in scores.values()):
            return ""  # a second opinion's are rows of several figures
        return f"{sum(scores.values()) / len(scores):.1f} on average, {label}"
    if "chosen" in values:
        chosen = values["chosen"]
        said = " ".join(f"{name}={value}" for name, value in chosen.items()) if isinstance(chosen, dict) else chosen
        return f"{said} was chosen, {label}"
    if values.get("w_eff") is not None:
        return f"loss {values['loss']:.3g}, w_eff {values['w_eff']:.3g}, {label}"
    return ""


def line(state: State, found: str) -> str:
    """`412 of 1094, about 12 min left; runs: train SFT seed=0 step 120 of 300, loss 0.412; found: ...`."""
    every = sum(state.counts.values(), Counter[str]())
    failed = f", {every['failed']} failed" if every["failed"] else ""
    said = f"{every['done']} of {every.total()}{failed}, about {duration(state.seconds)} left"
    running = [f"{call.stage} {call.label} {call.training()}".rstrip() for call in state.running]
    return "; ".join(
        [said, *(["runs: " + ", ".join(running)] if running else []), *([f"found: {found}"] if found else [])]
    )


def screen(state: State, height: int, findings: Sequence[str] = ()) -> Any:
    """The table, the running calls, as many as fit below it, and what was found last."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("stage")
    for name in (*_STATES, "left"):
        table.add_column(name, justify="right")
    for stage, counts in state.counts.items():
        left = duration(state.left[stage]) if state.left[stage] else ""
        table.add_row(stage, *(str(counts[name] or "·") for name in _STATES), left)
    every = sum(state.counts.values(), Counter[str]())
    table.add_row("all", *(str(every[name]) for name in _STATES), f"about {duration(state.seconds)}", style="bold")
    now, room = time.monotonic(), max(1, height - len(state.counts) - 4 - len(findings))
    # How a training goes stands before its long label, of which a narrow screen cuts the end.
    lines = [
        "  ".join(filter(None, (call.stage, call.training(), call.label, duration(now - call.since))))
        for call in state.running[:room]
    ]
    if len(state.running) > room:
        lines.append(f"and {len(state.running) - room} more")
    lines += [f"found: {each}" for each in findings]
    return Group(table, *(Text(line, no_wrap=True, overflow="ellipsis", style="dim") for line in lines))


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
