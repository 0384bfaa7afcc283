"""Quality gates: a world that did not learn what it must know stops here, with the figure and the gate."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from drift.errors import DriftError

log = logging.getLogger(__name__)


class GateError(DriftError):
    """A model of a laboratory world missed its quality gate."""


@dataclass(frozen=True)
class Figure:
    """One measured share in [0, 1] and the range it must lie in; `low` 0 and `high` 1 mean that it is only recorded."""

    name: str
    value: float
    n: int
    low: float = 0.0
    high: float = 1.0

    @property
    def is_met(self) -> bool:
        """The gate is a closed range."""
        return self.low <= self.value <= self.high


def check_gates(out: Path, world: str, figures: list[Figure]) -> None:
    """Writes every figure to out/quality.json, then stops at the first one outside its range.

    Raises:
        GateError: a figure missed its gate.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = [asdict(figure) | {"is_met": figure.is_met} for figure in figures]
    (out / "quality.json").write_text(json.dumps({"world": world, "figures": rows}, indent=2) + "\n")
    for figure in figures:
        log.info("%s: %s %.3f, gate %.2f to %.2f", world, figure.name, figure.value, figure.low, figure.high)
    if missed := next((figure for figure in figures if not figure.is_met), None):
        raise GateError(
            f"{world}: {missed.name} is {missed.value:.3f} on {missed.n} problems; the gate is {missed.low:.2f} to "
            f"{missed.high:.2f}. Choose another seed, or train longer (steps of this stage in the config)"
        )
