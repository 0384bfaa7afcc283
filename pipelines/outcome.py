"""What came of a plan: what was made, what failed, and why."""

from dataclasses import dataclass, field
from pathlib import Path

from pipelines.errors import StageError
from pipelines.stage import Call
from pipelines.store import Artifact


@dataclass(frozen=True)
class Failure:
    """A call that could not be made: why, and the log to read."""

    stage: str
    label: str
    reason: str
    log: Path | None = None

    def __str__(self) -> str:
        return f"stage {self.stage} ({self.label}){self.reason}" + (f"\n  log: {self.log}" if self.log else "")


@dataclass(frozen=True)
class Outcome:
    """The artifacts of a plan by call key, how many calls were run for it, and what failed, by call key.

    `blocked` counts the calls that were not run because something that they need failed.
    """

    artifacts: dict[str, Artifact]
    executed: int
    failures: dict[str, Failure] = field(default_factory=dict)
    blocked: int = 0

    def __getitem__(self, call: Call) -> Artifact:
        return self.artifacts[call.key]

    def check(self) -> None:
        """Raises StageError where calls failed: each with its reason, and how many were not run because of them."""
        if self.failures:
            lines = [str(failure) for failure in self.failures.values()]
            if self.blocked:
                lines.append(f"{self.blocked} more need what failed and were not run; everything else was")
            raise StageError("\n".join(dict.fromkeys(lines)))


def last_line(path: Path) -> str:
    """The last line of a log that is not empty: of a traceback, the error."""
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()] if path.exists() else []
    return lines[-1] if lines else "it left no log"
