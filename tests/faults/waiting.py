"""A plan of stages that wait and add up, to kill processes of: python tests/faults/waiting.py STORE WORD...

The words are those of the launcher. It is scheduled, placed, leased, sealed and found again as any plan is; without
models a kill costs seconds, so that many of them fit into the moments at which work changes hands.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from runs import WAITS
from toy_stages import Toy

from pipelines import compose, executors
from pipelines.scheduler import Scheduler
from pipelines.session import guarded
from pipelines.stage import Call, Runtime, Stage

_WIDTH, _DEPTH = 4, 2
_STAGE = Stage(WAITS, 1, "toy_stages:run", 60.0)  # long enough for an engine to be given it


def _call(value: int, inputs: Sequence[Call]) -> Call:
    named = {str(place): call for place, call in enumerate(inputs)}
    return Call(_STAGE, Toy(float(value), "busy"), named, label=f"{WAITS} {value}")


def last() -> Call:
    """What all others are added up in."""
    layer: list[Call] = []
    for depth in range(_DEPTH):
        layer = [_call(depth * _WIDTH + place, layer[place : place + 2]) for place in range(_WIDTH)]
    return _call(_DEPTH * _WIDTH, layer)


def main() -> int:
    runtime = Runtime(Path(sys.argv[1]))
    launcher = compose.load(["profile=smoke", *sys.argv[2:]]).launcher
    Scheduler(runtime, executors.make(launcher, runtime), lambda artifact: None).execute([last()])
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
