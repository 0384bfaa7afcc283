"""What is left of a plan, in seconds: from measured times where a stage has run, else from what its calls need."""

import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Progress:
    """Counts what is done and estimates what is left from the wall times seen so far, per stage."""

    left: Counter[str]
    guess: dict[str, float]
    workers: int
    seen: dict[str, list[float]] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def finished(self, stage: str, seconds: float) -> None:
        self.left[stage] -= 1
        self.seen.setdefault(stage, []).append(seconds)

    def seconds_left(self) -> float:
        """Seconds of wall time, taking all workers as busy."""
        each = {name: sum(times) / len(times) for name, times in self.seen.items()}
        return sum(count * each.get(name, self.guess[name]) for name, count in self.left.items()) / self.workers
