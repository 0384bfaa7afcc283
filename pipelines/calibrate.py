"""What this machine's time is worth, learnt from what its store has made: drift calibrate [gpu=CHECK.json] [overrides]

Fits the constants behind the plan's prices (`pipelines.rates`) to what the store holds of the plan, and to what a GPU
check has measured where its JSON file is given. They are kept in the store, and `drift plan` and the time left of a run
go by them from then on. Nothing is run.

Example:
    drift calibrate
    drift calibrate gpu=gpu-check.json profile=paper
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from pipelines import compose, rates, tables
from pipelines.held import states
from pipelines.rates import STANDARD, Device, Measurement, Rates, Work
from pipelines.session import guarded, rooted
from pipelines.stage import Call, ordered
from pipelines.store import Store

log = logging.getLogger(__name__)
_GPU = "gpu="


def main(words: Sequence[str]) -> int:
    """The command `drift calibrate`; the exit status."""
    return guarded(lambda: calibrate(words), words, __doc__)


def calibrate(words: Sequence[str]) -> int:
    """Fits, saves and says how far off the prices were before and are now.

    Raises:
        ConfigError: an override that is none, or a file that is no GPU check.
    """
    checks = [Path(word.removeprefix(_GPU)) for word in words if word.startswith(_GPU)]
    overrides = [word for word in words if not word.startswith(_GPU)]
    config, _ = compose.load_fitting([], overrides)
    target = tables.report([tables.load(name) for name in tables.names()], overrides, online=False)
    store = rooted(config.store)
    measured = measurements([target], Store(store))
    before = rates.load(store)
    fitted = rates.fit(measured, Rates(before.rates))
    for check in checks:
        fitted = rates.with_gpu_check(fitted, rates.read_gpu_check(check))
    rates.save(fitted, store)
    for line in summary(measured, before, fitted):
        print(line)
    log.info("kept in %s", store / rates.FILE)
    return 0


def measurements(targets: Sequence[Call], store: Store) -> list[Measurement]:
    """What the calls that the store holds have taken."""
    calls = ordered(list(targets))
    found = states(calls, store)
    measured = []
    for call in calls:
        artifact = store.usable(call.stage.name, found[call.key].mark) if found[call.key].word == "store" else None
        work = work_of(call)
        if artifact is not None and work is not None:
            stage, device, done = work
            measured.append(Measurement(stage, device, done, artifact.manifest["seconds"]))
    return measured


@dataclass(frozen=True)
class _Asked(Rates):
    """Rates that remember what they were asked about."""

    questions: list[tuple[str, Device, Work]] = field(default_factory=list)

    def seconds(self, stage: str, device: Device, work: Work) -> float:
        self.questions.append((stage, device, work))
        return super().seconds(stage, device, work)


def work_of(call: Call) -> tuple[str, Device, Work] | None:
    """What a call's cost function counts; None for one that has none."""
    asked = _Asked(STANDARD.rates)
    call.needs_on(asked)
    return asked.questions[0] if asked.questions else None


def summary(measured: Iterable[Measurement], before: Rates, after: Rates) -> list[str]:
    """Per stage and device how many were measured, and the median error of the rates before and after."""
    groups: dict[str, list[Measurement]] = defaultdict(list)
    for each in measured:
        groups[f"{each.stage}/{each.device}"].append(each)
    return [
        f"{name:16} {len(group):4} measured, median {median(m.seconds for m in group):8.2f} s, "
        f"off by {error(group, before):4.0%} before, {error(group, after):4.0%} now"
        for name, group in sorted(groups.items())
    ]


def error(measured: Sequence[Measurement], machine: Rates) -> float:
    """The median relative error of the rates themselves, what was measured of the same work left aside."""
    rate = machine.rates
    return median(abs(rate[f"{m.stage}/{m.device}"].seconds(m.work) / max(m.seconds, 0.01) - 1) for m in measured)
