"""Stages that cost nothing, for tests of the machinery."""

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drift.errors import DataError
from drift.processes import run_guarded
from pipelines.stage import Bind, Call, Needs, Runtime, Stage


@dataclass(frozen=True)
class Toy:
    value: float
    behaviour: str = "write"
    gpus: int = 0
    retries: int = 0


def run(params: Toy, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Writes the sum of its value and its inputs'; or fails, crashes, or waits to be killed, as told."""
    if params.behaviour == "fail":
        raise DataError("found 0 rows, expected at least 1; look at the file")
    if params.behaviour == "crash":
        raise RuntimeError("a defect")
    if params.behaviour == "die-once" and not (out / "half").exists():
        (out / "half").write_text("kept over the kill")
        os.kill(os.getpid(), 9)
    if params.behaviour == "sleep":
        (runtime.store / "sleeping").touch()
        time.sleep(60)
    if params.behaviour == "sleep-once" and not (out / "half").exists():
        (out / "half").write_text("kept over the kill")
        (runtime.store / "sleeping").touch()
        time.sleep(600)
    if params.behaviour == "busy":
        time.sleep(3)
    if params.behaviour == "slow":
        time.sleep(0.5)
    if params.behaviour == "two-ranks":
        ranks = [str(Path(__file__).with_name("toy_ranks.py")), str(runtime.store)]
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *ranks]
        with open(out / "ranks.log", "w") as log:
            run_guarded(torchrun, os.environ, log)
    drawn = float((runtime.store / "drawn.txt").read_text()) if params.behaviour == "drawn" else 0.0
    total = params.value + drawn + sum(float((path / "sum.txt").read_text()) for path in inputs.values())
    (out / "sum.txt").write_text(str(total))
    with open(runtime.store / "runs.log", "a") as log:
        log.write(f"{params.value}\n")
    return {"total": total}


def needs(call: Call) -> Needs:
    return Needs(gpus=call.params.gpus, retries=call.params.retries)


STAGE = Stage("toy", 1, "toy_stages:run", 1, needs)


def toy(
    value: float, *sources: Call, behaviour: str = "write", bound: Call | None = None, gpus: int = 0, retries: int = 0
) -> Call:
    inputs = {str(place): source for place, source in enumerate(sources)}
    binds = {"value": Bind(bound, "total")} if bound else {}
    return Call(STAGE, Toy(value, behaviour, gpus, retries), inputs, binds, label=f"toy {value}")
