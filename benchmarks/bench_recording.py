"""What recording costs: the same command with tracker=offline and with tracker=disabled, in turn: make bench-recording

    python benchmarks/bench_recording.py                           # three pairs of a lab-sized SFT and its score
    python benchmarks/bench_recording.py --models artifacts table table4 seeds=[0]     # of a table, its models at hand
    python benchmarks/bench_recording.py --store artifacts         # and everything that a store holds, recorded at once

Models are made once, outside the clock, or taken from a store; each run of a pair gets a store of its own that holds
them. The order within a pair alternates. CPU seconds are of all processes that a command leaves behind, the sidecar
and wandb's own among them: orphans come back to this one, which waits for them. A short command pays for the start of
the recorder as a long one does, so its share says little of a lab's; a table's trainings, without the time that its
models took, say more. One command's own CPU seconds vary by some percent from minute to minute, most of it within its
stages: what is left of the pair's difference without them is the recorder's, to a second. `--store` sets what
recording all of a store takes against what, by its manifests, making it took.
"""

import argparse
import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

_ROOT = Path(__file__).parents[1]
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
_WORDS = ("run", "method=sft", "profile=smoke", "seeds=[0]", "train.epochs=30")
_OFF, _ON = "tracker=disabled", "tracker=offline"


@dataclass(frozen=True)
class Took:
    """Seconds of a command: on the clock, of all processors, and of those what no stage of its store accounts for."""

    wall: float
    cpu: float
    beside: float = 0.0


def measured(words: Sequence[str]) -> Took:
    """What one command takes with all that it starts.

    Raises:
        RuntimeError: it failed; says what it said.
    """
    before, start = _cpu(), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *words], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    wall = time.monotonic() - start
    while _one_more():
        pass
    if done.returncode:
        raise RuntimeError(f"drift {' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return Took(wall, _cpu() - before)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _one_more() -> bool:
    """Waits for a process that its own parent has left behind."""
    try:
        os.wait()
    except ChildProcessError:
        return False
    return True


def pairs(count: int, words: Sequence[str], models: Path | None, folder: Path) -> Iterator[tuple[Took, Took]]:
    """The command without and with recording, so many times in turn, in stores that hold the models alone."""
    made = folder / "made"
    if models:
        shutil.copytree(models / "model", made / "model", symlinks=True)
    elif count:
        settings = [word for word in words if "=" in word]
        measured(["run", *settings, "method=baseline", _OFF, f"store={made}", f"results={folder / 'results'}"])
    for place in range(count):
        took = {
            tracker: _one(words, tracker, made, folder / f"{place}-{tracker.partition('=')[2]}")
            for tracker in ((_OFF, _ON) if place % 2 == 0 else (_ON, _OFF))
        }
        yield took[_OFF], took[_ON]


def _one(words: Sequence[str], tracker: str, made: Path, store: Path) -> Took:
    shutil.copytree(made, store, symlinks=True)
    own = [f"store={store}", f"results={store}-results"]
    recorded = [f"tracker.folder={store}-recordings"] if tracker == _ON else []
    took, before = measured([*words, tracker, *own, *recorded]), _of_stages(made)
    return replace(took, beside=took.cpu - (_of_stages(store) - before))


def of_store(store: Path, profile: str, folder: Path) -> tuple[float, float, int]:
    """CPU seconds that recording a whole store takes, those that making it took, and how many runs it is."""
    took = measured(["track", "--backfill", f"profile={profile}", f"store={store}", f"tracker.folder={folder}"])
    return took.cpu, _of_stages(store), len(list((folder / "wandb").glob("offline-run-*")))


def _of_stages(store: Path) -> float:
    """CPU seconds of all that a store holds, by its manifests."""
    return float(sum(json.loads(path.read_text())["cpu_seconds"] for path in store.glob("*/*/manifest.json")))


def main() -> None:
    """Prints a line a pair, and the shares."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--models", type=Path, help="a store whose models each run of a pair has at hand")
    parser.add_argument("--store", type=Path, help="a store to record as a whole")
    parser.add_argument("--profile", default="lab", help="whose tables the store is of")
    parser.add_argument("words", nargs="*", default=_WORDS, help="of `drift`")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = []
        for off, on in pairs(asked.pairs, asked.words, asked.models, Path(place)):
            found.append((off, on))
            print(
                f"without {off.cpu:6.2f} CPU s ({off.beside:.2f} beside the stages), {off.wall:6.2f} s; "
                f"with {on.cpu:6.2f} CPU s ({on.beside:.2f}), {on.wall:6.2f} s"
            )
        if found:
            more, base = mean(on.cpu - off.cpu for off, on in found), mean(off.cpu for off, _ in found)
            print(f"recording: {more:.2f} CPU s more ({more / base:.1%} of a command of {base:.0f})")
            beside = mean(on.beside - off.beside for off, on in found)
            print(f"of it beside the stages, whose own time varies: {beside:.2f} CPU s ({beside / base:.1%})")
        if asked.store:
            cpu, made, runs = of_store(asked.store.resolve(), asked.profile, Path(place) / "recordings")
            print(f"{asked.store}: {runs} runs recorded in {cpu:.1f} CPU s, {cpu / made:.2%} of the {made:.0f} it took")


if __name__ == "__main__":
    main()
