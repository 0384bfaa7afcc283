"""One world of a study: every arm made and scored, and what remains of it, a parquet of verdicts and a JSON of runs.

`verdicts/<pair>-<seed>.parquet` has a row for each arm, column and unit (an item, or a group where the metric scores
groups): its question and its value in [0, 1]. `worlds/<pair>-<seed>.json` names the registration, and for each arm its
words, artifacts, w_eff and steps. Both are written when the world has ended; a world that has both is never run again.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drift.files import replacing, write_whole
from pipelines.errors import StoreError
from pipelines.outcome import Outcome
from pipelines.report.outcomes import Outcomes, outcomes
from pipelines.report.sources import Run, Source
from pipelines.scheduler import Scheduler
from pipelines.stage import Call, ordered
from pipelines.study.spec import Study
from pipelines.study.tuning import Tuned, words_of
from pipelines.study.words import score_call

Verdicts = Mapping[str, Mapping[str, Outcomes]]  # arm -> column -> outcomes
_GATE = "; the gate is "  # of the error of pipelines.lab.gates
_COLUMNS = ("arm", "column", "unit", "question", "value")


@dataclass(frozen=True)
class World:
    """A world that has ended: what was recorded of each arm, and why it counts for nothing where it does not.

    `recipe` is the sha256 of what every arm's score is made from, at seed 0: worlds, schedules, stages' versions.
    `excluded` is the gate that the models of its pair missed, empty for none; `missing` are the arms that it lacks
    because another expert that they take missed its gate, each with that gate.
    """

    pair: str
    seed: int
    registration: str
    recipe: str
    arms: Mapping[str, Mapping[str, Any]]
    git: Mapping[str, Any]
    excluded: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)


def place(folder: Path, pair: str, seed: int) -> Path:
    """Where a world's record lies."""
    return folder / "worlds" / f"{pair}-{seed}.json"


def run(
    study: Study, pair: str, seeds: Sequence[int], tuned: Mapping[str, Tuned], scheduler: Scheduler, out: Path
) -> None:
    """Makes the worlds as one plan and writes each.

    The models of the pair come first, and a world in which one of them missed its gate ends there, as excluded.

    Raises:
        StageError: something else than a gate failed.
    """
    digest, recipe = study.digest(tuned), _recipe(study, pair, tuned)
    calls = {seed: dict(_calls(study, pair, seed, tuned)) for seed in seeds}
    own = {seed: _models(study, named) for seed, named in calls.items()}
    gates = _missed(scheduler.attempt([model for models in own.values() for model in models]))
    for seed, models in own.items():
        if missed := next((gates[model.key] for model in models if model.key in gates), None):
            write(World(pair, seed, digest, recipe, {}, {}, missed), {}, out)
            del calls[seed]
    outcome = scheduler.attempt([call for named in calls.values() for call in named.values()])
    gates = _missed(outcome)
    for seed, named in calls.items():
        missing = {
            name: gates[source.key]
            for (name, _), call in named.items()
            for source in ordered([call])
            if source.key in gates
        }
        arms, verdicts, git = _read({key: call for key, call in named.items() if key[0] not in missing}, outcome)
        for name, record in arms.items():
            record["words"] = list(words_of(study, name, tuned))
        write(World(pair, seed, digest, recipe, arms, git, missing=missing), verdicts, out)


def _models(study: Study, named: Mapping[tuple[str, str], Call]) -> list[Call]:
    """The models that every arm of the pair needs: without them a world says nothing."""
    own = [call for (name, _), call in named.items() if not study.arms[name].brings_an_expert]
    return [call for call in ordered(own) if call.stage.name == "model"]


def _missed(outcome: Outcome) -> dict[str, str]:
    """The gates that were missed, by call key; raises where anything else failed."""
    gates = {key: each.reason.removeprefix(": ") for key, each in outcome.failures.items() if _GATE in each.reason}
    if len(gates) < len(outcome.failures):
        outcome.check()
    return gates


def _recipe(study: Study, pair: str, tuned: Mapping[str, Tuned]) -> str:
    keys = sorted((name, role, call.key) for (name, role), call in _calls(study, pair, 0, tuned))
    return hashlib.sha256(json.dumps(keys).encode()).hexdigest()


def _calls(study: Study, pair: str, seed: int, tuned: Mapping[str, Tuned]) -> Iterator[tuple[tuple[str, str], Call]]:
    for name, arm in study.arms_of(pair).items():
        words = words_of(study, name, tuned)
        yield (name, "score"), score_call(study, pair, words, seed)
        if arm.perceives:
            yield (name, "perception"), score_call(study, pair, (*study.perception, *words), seed)


def _read(
    named: Mapping[tuple[str, str], Call], outcome: Outcome
) -> tuple[dict[str, dict[str, Any]], Verdicts, Mapping[str, Any]]:
    """What was recorded of each arm, its verdicts, and the commit that scored the last."""
    verdicts: dict[str, dict[str, Outcomes]] = {}
    arms: dict[str, dict[str, Any]] = {}
    for (name, role), call in named.items():
        run = Run(Source.open(outcome[call].path), Source.open(outcome[call.inputs["benchmarks"]].path))
        for column in run.score.scores:
            verdicts.setdefault(name, {})[column] = outcomes(run, column)
            if "loose" in run.score.scores[column].score.metrics:
                verdicts[name][f"{column}_loose"] = outcomes(run, f"{column}_loose")
        made = outcome[call.inputs["responses"].inputs["model"]]
        record = arms.setdefault(name, {})
        record |= {"checkpoint": made.fingerprint, role: run.mark}
        record |= {key: made.values[key] for key in ("w_eff", "steps") if key in made.values}
        git = run.score.manifest["git"]
    return arms, verdicts, git


def write(world: World, verdicts: Verdicts, folder: Path) -> None:
    """The verdicts first, the record last: what has a record is whole."""
    import pyarrow
    from pyarrow import parquet

    rows = [
        (arm, column, unit, found.questions[unit], value)
        for arm, columns in verdicts.items()
        for column, found in columns.items()
        for unit, value in found.values.items()
    ]
    if rows:
        table = pyarrow.table(dict(zip(_COLUMNS, map(list, zip(*rows, strict=True)), strict=True)))
        table = table.set_column(4, "value", table["value"].cast(pyarrow.float32()))
        with replacing(folder / "verdicts" / f"{world.pair}-{world.seed}.parquet") as stream:
            parquet.write_table(table, stream, compression="zstd")
    write_whole(place(folder, world.pair, world.seed), json.dumps(vars(world), indent=1) + "\n")


def ended(folder: Path, pair: str) -> dict[int, World]:
    """A pair's worlds that have ended, those that count for nothing among them, by seed."""
    paths = sorted((folder / "worlds").glob(f"{pair}-*.json"))
    return {world.seed: world for world in (World(**json.loads(path.read_text())) for path in paths)}


def read(folder: Path, pair: str, seed: int) -> tuple[World, Verdicts]:
    """What `write` wrote.

    Raises:
        StoreError: a record without its verdicts.
    """
    from pyarrow import parquet

    world = World(**json.loads(place(folder, pair, seed).read_text()))
    path = folder / "verdicts" / f"{pair}-{seed}.parquet"
    if world.excluded:
        return world, {}
    if not path.exists():
        raise StoreError(f"{place(folder, pair, seed)} says that this world has ended, and {path} is not there")
    columns = parquet.read_table(path).to_pydict()
    found: dict[str, dict[str, tuple[dict[str, float], dict[str, str]]]] = {}
    for arm, column, unit, question, value in zip(*(columns[name] for name in _COLUMNS), strict=True):
        values, questions = found.setdefault(arm, {}).setdefault(column, ({}, {}))
        values[unit], questions[unit] = value, question
    return world, {arm: {c: Outcomes(*each) for c, each in by_column.items()} for arm, by_column in found.items()}
