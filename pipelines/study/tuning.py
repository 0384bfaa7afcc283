"""Every arm's knob chosen alike: as many trials each, in worlds that nobody reports on, by their validation draw.

An arm first tries its values; what is left of its trials goes where the best one stands: beyond the end of the values
where it is at one, else between it and its better neighbour. A best value that is an end all the same is
marked. An arm that comes after another takes over what that one chose.
"""

import csv
import io
import json
import logging
import math
import statistics
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drift.files import write_whole
from pipelines.scheduler import Scheduler
from pipelines.scored import read_scores
from pipelines.study.spec import Arm, Study, Tune
from pipelines.study.words import trial_call

log = logging.getLogger(__name__)
Scores = dict[float, float]  # value -> mean validation score over the tuning worlds, in percent


@dataclass(frozen=True)
class Tuned:
    """What came of an arm's trials: the chosen value, its overrides, whether it is an end of what was tried.

    `none` is the validation score without it (`Arm.none`).
    """

    value: float
    words: tuple[str, ...]
    score: float
    none: float | None
    is_end: bool
    trials: tuple[tuple[float, float], ...]


def proposals(tune: Tune, tried: Scores, trials: int) -> list[float]:
    """The values to try next: the given ones, then one at a time; none when the trials are used up."""
    if missing := [value for value in tune.values if value not in tried]:
        return missing
    if len(tried) >= trials:
        return []
    known = sorted(tried)
    place = known.index(best(tried))
    if place == len(known) - 1 and known[-1] < tune.most:
        return [min(tune.most, known[-1] ** 2 / known[-2])]
    if place == 0:
        return [known[0] ** 2 / known[1]]
    neighbours = [known[at] for at in (place - 1, place + 1) if at < len(known)]
    return [math.sqrt(known[place] * max(neighbours, key=tried.__getitem__))]


def best(tried: Scores) -> float:
    """The value with the highest score; of equal ones the smallest, which does the least."""
    return min(tried, key=lambda value: (-tried[value], value))


def chosen(tune: Tune, tried: Scores, none: float | None = None) -> Tuned:
    """The outcome of all trials; `none` is the score without the knob."""
    value = best(tried)
    is_end = value == min(tried) or (value == max(tried) and value < tune.most)
    return Tuned(value, tune.overrides(value), tried[value], none, is_end, tuple(sorted(tried.items())))


def tune(study: Study, scheduler: Scheduler) -> dict[str, Tuned]:
    """Chooses every arm's value, for the first pair; what the store holds is not run again."""
    arms = study.arms
    tried: dict[str, Scores] = {name: {} for name, arm in arms.items() if arm.tune}
    found: dict[str, Tuned] = {}
    bare = _untuned(study, {arm.none for arm in arms.values() if arm.none} - set(tried), scheduler)
    while len(found) < len(tried):
        open_arms = [
            name for name in tried if name not in found and {arms[name].after, arms[name].none} <= {"", *found, *bare}
        ]
        asked = {name: proposals(_knob(arms[name]), tried[name], study.trials) for name in open_arms}
        calls = {
            (name, value): [trial_call(study, words_of(study, name, found, value), seed) for seed in study.tuning]
            for name, values in asked.items()
            for value in values
        }
        outcome = scheduler.execute([call for each in calls.values() for call in each])
        for (name, value), made in calls.items():
            tried[name][value] = statistics.fmean(_average(outcome[call].path) for call in made)
        for name in open_arms:
            if not proposals(_knob(arms[name]), tried[name], study.trials):
                none = arms[name].none
                without = found[none].score if none in found else bare.get(none)
                found[name] = chosen(_knob(arms[name]), tried[name], without)
                log.info("%s: %g gives %.1f", name, found[name].value, found[name].score)
    return {name: found[name] for name in tried}


def save(tuned: Mapping[str, Tuned], folder: Path) -> None:
    """`tuned.json`, part of the pre-registration, and every trial as `tuning.csv`."""
    write_whole(
        folder / "tuned.json", json.dumps({name: asdict(each) for name, each in tuned.items()}, indent=1) + "\n"
    )
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(("arm", "value", "validation", "chosen"))
    for name, each in tuned.items():
        rows.writerows((name, f"{v:.6g}", f"{s:.2f}", int(v == each.value)) for v, s in each.trials)
    write_whole(folder / "tuning.csv", stream.getvalue())


def load(folder: Path) -> dict[str, Tuned]:
    """What `save` wrote; empty where nothing was tuned yet."""
    path = folder / "tuned.json"
    return {name: _typed(**each) for name, each in json.loads(path.read_text()).items()} if path.exists() else {}


def words_of(study: Study, name: str, tuned: Mapping[str, Tuned], value: float | None = None) -> tuple[str, ...]:
    """An arm's overrides: what it takes over, its own, and its strength: tried (`value`), tuned or borrowed."""
    arm = study.arms[name]
    taken = tuned[arm.after].words if arm.after else ()
    own: tuple[str, ...] = ()
    if arm.tune:
        own = tuned[name].words if value is None else arm.tune.overrides(value)
    if arm.borrows:
        own = Tune(arm.borrows.words, (1, 2)).overrides(tuned[arm.borrows.of].value * arm.borrows.by)
    return (*taken, *arm.overrides, *own)


def _typed(words: Sequence[str], trials: Sequence[Sequence[float]], **rest: Any) -> Tuned:
    return Tuned(words=tuple(words), trials=tuple((v, s) for v, s in trials), **rest)


def _knob(arm: Arm) -> Tune:
    if arm.tune is None:
        raise TypeError("an arm without a knob is not tuned")
    return arm.tune


def _untuned(study: Study, names: Set[str], scheduler: Scheduler) -> dict[str, float]:
    """The validation scores of arms that have nothing to tune."""
    calls = {
        name: [trial_call(study, study.arms[name].overrides, seed) for seed in study.tuning] for name in sorted(names)
    }
    outcome = scheduler.execute([call for each in calls.values() for call in each])
    return {name: statistics.fmean(_average(outcome[call].path) for call in made) for name, made in calls.items()}


def _average(path: Path) -> float:
    return statistics.fmean(scored.score.value for scored in read_scores(path).values())
