"""The whole plan on small random weights of the real shapes: drift rehearse [--all] [overrides]

Same config, plan, stages and store as `drift reproduce`; the hub is a folder that is made here (`hub`: two layers of
each published model, its real config, processor class and chat template), two processes on the CPU stand for the GPUs,
and everything is short. What vLLM serves there, answers and a judge's replies, transformers and the rules alone give
here. A training of each MLLM is killed after a checkpoint and goes on. Every prior is extracted, and a checkpoint is
made in each way that the plan has; one of those made alike is asked, `--all` asks every row's. The report is written to
results/rehearsal, each number marked.

Example:
    drift rehearse profile=paper image_backend=pil
    drift rehearse profile=paper pair=llava_next_dart
"""

import json
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drift.files import write_whole
from drift.selection import GEOMETRY_GROUPS
from pipelines import compose, plan, preflight, revisions, stages, tables
from pipelines import job as jobs
from pipelines.errors import RehearsalError
from pipelines.layout import CHECKPOINT
from pipelines.outcome import Outcome
from pipelines.overrides import parse
from pipelines.rehearsal import checks, hub, marks
from pipelines.rehearsal.facts import FOLDER, facts
from pipelines.rehearsal.rows import chosen, fitting, makers
from pipelines.scheduler import resolve
from pipelines.schema import Config
from pipelines.session import guarded, rooted, runtime, scheduler
from pipelines.stage import Call, Runtime, ordered
from pipelines.store import LOG, Artifact, Store
from pipelines.tables import Configured

log = logging.getLogger(__name__)

ITEMS = 4  # of a benchmark, to be reported on
STEPS = 3
PROCESSES = 2
FLOOR = 4 * 28 * 28  # pixels; at VLMEvalKit's 1280 patches a picture costs a CPU a second
RESULTS = "results/rehearsal"
_PATIENCE = 300.0
_LOOK_SECONDS = 0.02
# What a training leaves behind on its way (drift.training, which imports torch).
CHECKPOINTS, MARKER, WORKER_LOG, RESUMED = "checkpoints", "complete.json", "worker.log", "going on after step"


@dataclass(frozen=True)
class Place:
    """Where a rehearsal keeps what it makes: its hub, its benchmarks, its store; never the full run's."""

    root: Path

    @property
    def hub(self) -> Path:
        return self.root / "hub"

    @property
    def benchmarks(self) -> Path:
        return self.root / "benchmarks"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def lock(self) -> Path:
        return self.root / "revisions.lock.json"

    def overlay(self) -> list[str]:
        """The overrides that make a run short, and take it from here."""
        folders = [f"++{suite}.{word}" for suite in ("suite", "validation") for word in self._suite()]
        return [
            *folders,
            f"store={self.store}",
            "seeds=[0]",
            "tracker=disabled",
            "keep=all",
            "gate.mode=warn",
            "launcher=torchrun",
            f"launcher.processes={PROCESSES}",
            "launcher.gpus=0",
            "launcher.workers=2",
            "launcher.threads=2",
            "launcher.offline=true",
            "train.epochs=1",
            f"train.global_batch={PROCESSES}",
            "train.save_steps=1",
            "train.logging_steps=1",
            "engine=transformers",
            "engine.device=cpu",
            "engine.settings.max_new_tokens=8",
            f"engine.settings.batch_size={2 * ITEMS}",
            "judge=rules",
            "judge.mode=vlmevalkit",
        ]

    def _suite(self) -> list[str]:
        return ["source=folder", f"root={self.benchmarks}"]


def main(words: Sequence[str]) -> int:
    """The command `drift rehearse`; the exit status."""
    return guarded(lambda: rehearse(words), words, __doc__)


def rehearse(words: Sequence[str]) -> int:
    """Rehearses; 0 where all of it went through.

    Raises:
        DriftError: the first fault, by its name.
    """
    started = time.monotonic()
    given = [word for word in words if word != "--all"]
    place = Place(rooted(compose.load_fitting([], given)[0].store) / ".rehearsal")
    checks.check_room(place.root)
    overrides = [*given, *place.overlay()]
    profile, _ = compose.load_fitting([], overrides)
    shutil.rmtree(place.store, ignore_errors=True)
    place.benchmarks.mkdir(parents=True, exist_ok=True)
    made = tables.made_in(profile.profile, [tables.load(name) for name in profile.tables] or tables.standard())
    rows = _of_pairs(tables.configured(made, overrides, online=False, lock=_lock_all(place, profile.data.repo)), given)
    _refuse_faults([config for _, _, config in rows])
    folders = _write_hub(place, [config for _, _, config in rows])
    rows = [(table, row, _small_pictures(revisions.resolve(config, online=False))) for table, row, config in rows]
    taken = rows if "--all" in words else chosen(rows)
    report = tables.over(profile, fitting(made, taken), taken)
    outcome = _run(report, _unasked(rows), profile)
    marks.publish(outcome[report].path, rooted(RESULTS))
    log.info(
        "%d of %d rows, %d stages and %d checkpoints in %.0f s; %s has the marked tables",
        len(taken),
        len(rows),
        outcome.executed,
        len(folders),
        time.monotonic() - started,
        rooted(RESULTS),
    )
    return 0


def _lock_all(place: Place, data: str) -> Path:
    """A lock file that says of each known repository which commit the hub made here has."""
    repos = [path.stem.replace("--", "/", 1) for path in sorted(FOLDER.glob("*.json"))]
    locked = {f"model:{repo}": hub.commit_of(repo) for repo in repos} | {f"dataset:{data}": hub.commit_of(data)}
    write_whole(place.lock, json.dumps(locked, indent=1))
    return place.lock


def _small_pictures(config: Config) -> Config:
    """Where pictures are enlarged to an area while they are asked about, to a smaller one."""
    settings = config.engine.settings
    if settings.min_pixels is None:
        return config
    return replace(config, engine=replace(config.engine, settings=replace(settings, min_pixels=FLOOR)))


def _of_pairs(rows: Sequence[Configured], given: Sequence[str]) -> list[Configured]:
    """The rows of the pairs that were asked for; all where none was."""
    pairs = {parse(word).value() for word in given if parse(word).get_key_element() == "pair"}
    return [row for row in rows if not pairs or row[2].pair.name in pairs]


def _refuse_faults(configs: Sequence[Config]) -> None:
    calls = _calls(configs)
    faults = [*checks.planned_faults(configs), *preflight.revision_faults(calls), *preflight.torchvision_faults(calls)]
    if faults:
        raise RehearsalError("\n".join(faults))


def _calls(configs: Sequence[Config]) -> list[Call]:
    return ordered([call for config in configs for call in plan.targets(config)])


def _write_hub(place: Place, configs: Sequence[Config]) -> dict[str, Path]:
    """Every repository of the plan in the hub's layout, looked at before anything runs; the models' folders by name."""
    os.environ |= {"HF_HUB_CACHE": str(place.hub), "HF_HUB_OFFLINE": "1"}
    pairs = {config.pair.name: config.pair for config in configs}
    refs = {ref.repo: ref for pair in pairs.values() for ref in (getattr(pair, role) for role in checks.ROLES)}
    folders = {repo: hub.write_model(place.hub, repo, ref.revision) for repo, ref in refs.items()}
    for repo, folder in folders.items():
        checks.check_folder(folder, facts(repo))
    for pair in pairs.values():
        checks.check_fit(folders, pair, GEOMETRY_GROUPS)
    for source in {config.data.repo: config.data for config in configs if config.data.source == "hub"}.values():
        hub.write_data(hub.snapshot_folder(place.hub, source.repo, source.revision, "dataset"), STEPS * PROCESSES)
    names = dict.fromkeys(
        name for c in configs for suite in (c.suite, c.validation) for name in suite.benchmarks.values()
    )
    real = os.environ.get("DRIFT_BENCHMARKS")
    hub.write_benchmarks(place.benchmarks, list(names), ITEMS, Path(real) if real else None)
    return folders


def _unasked(rows: Sequence[Configured]) -> list[Call]:
    """Every prior of the plan, and a checkpoint made each way, also of the rows that another one stands for."""
    trained = [config for _, _, config in rows if config.method.stage == "train"]
    calls = [plan.prior(_at_first_seed(config)) for config in trained]
    return ordered([*calls, *(plan.checkpoint(_at_first_seed(config)) for config in makers(rows))])


def _at_first_seed(config: Config) -> Config:
    return replace(config, seed=config.seeds[0])


def _run(report: Call, unasked: Sequence[Call], profile: Config) -> Outcome:
    """Sources first, then what is to be killed, then everything."""
    runner, calls = scheduler(profile), ordered([report, *unasked])
    fetched = [call for call in calls if call.stage in (stages.MODEL, stages.DATA, stages.QUESTIONS, stages.BENCHMARKS)]
    done = runner.execute(fetched)
    _check_draws([call for call in fetched if call.stage is stages.BENCHMARKS], done)
    halved = _one_for_each_mllm([call for call in calls if call.stage is stages.TRAIN])
    done = runner.execute([source for call in halved for source in call.sources])
    for call in halved:
        _kill_after_a_checkpoint(resolve(call, done.artifacts), runtime(profile))
    outcome = runner.execute([report, *unasked])
    for call in halved:
        _check_resumed(outcome[call], call.label)
    for call in calls:
        if call.stage is stages.TRAIN:
            checks.check_trained(outcome[call].values, call.label, STEPS)
    return outcome


def _check_draws(calls: Sequence[Call], done: Outcome) -> None:
    by_split: dict[str, list[Call]] = {}
    for call in calls:
        by_split.setdefault(call.params.split, []).append(call)
    for validation in by_split.get("validation", []):
        for test in by_split.get("test", []):
            both = [name for name in validation.params.names if name in test.params.names]
            checks.check_splits(done[validation].path, done[test].path, both)


def _one_for_each_mllm(trainings: Sequence[Call]) -> list[Call]:
    """Of each MLLM a training that injects, where one does, and whose parameters are all known."""
    found: dict[str, Call] = {}
    for call in sorted(trainings, key=lambda call: call.params.injection.scale == "none"):
        if not call.binds and call.inputs["model"].stage is stages.MODEL:
            found.setdefault(call.inputs["model"].key, call)
    return list(found.values())


def _kill_after_a_checkpoint(job: jobs.Job, own: Runtime) -> None:
    """Starts a training as a cluster would, and kills it as soon as it has a checkpoint to go on from."""
    path = jobs.write(job, own)
    partial = Store(own.store).partial(job.stage.name, job.fingerprint)
    process = subprocess.Popen(jobs.command(path), env=os.environ | jobs.environment())
    deadline = time.monotonic() + _PATIENCE
    try:
        while not list(partial.glob(f"{CHECKPOINT}/{CHECKPOINTS}/*/{MARKER}")):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RehearsalError(f"{job.label} saved no checkpoint; the end of {partial / LOG} says why")
            time.sleep(_LOOK_SECONDS)
    finally:
        process.kill()
        process.wait()
    log.info("killed %s after its first checkpoint", job.label)


def _check_resumed(artifact: Artifact, label: str) -> None:
    if RESUMED not in (artifact.path / CHECKPOINT / WORKER_LOG).read_text():
        raise RehearsalError(f"{label} was killed after a checkpoint and began anew; see {artifact.path}")
