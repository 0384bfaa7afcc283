"""All tables from nothing: drift reproduce [--plan] [--table NAME]... [overrides]

Plans every row of every table over all seeds as one DAG, runs what the store does not hold, and copies the report into
`results/<profile>`. `drift plan` runs nothing and says what would; `drift table NAME...` makes these tables alone. The
same as `python -m pipelines.reproduce`, and as `make reproduce`.

Example:
    drift plan profile=paper
    drift table table4 seeds=[0]
    drift reproduce profile=smoke tracker=disabled
"""

import logging
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from drift.errors import closest
from pipelines import compose, effects, preflight, tables
from pipelines.errors import ConfigError
from pipelines.partial import SUFFIX, salvaged
from pipelines.plan import targets
from pipelines.report.publish import publish
from pipelines.report.spec import Table
from pipelines.scheduler import Outcome, Scheduler, resolve
from pipelines.schema import Native
from pipelines.session import guarded, rooted, scheduler
from pipelines.stage import Call, ordered
from pipelines.store import Artifact, Store

log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """The command `drift reproduce`; the exit status."""
    return guarded(lambda: reproduce(words), words, __doc__)


def plan(words: Sequence[str]) -> int:
    """The command `drift plan`: `drift reproduce --plan`."""
    return main(["--plan", *words])


def table(words: Sequence[str]) -> int:
    """The command `drift table NAME... [overrides]`: `drift reproduce --table NAME ...`."""
    names = [word for word in words if word.isidentifier()]

    def run() -> int:
        if not names:
            raise ConfigError(f"name a table, as in `drift table table4`; known: {', '.join(tables.names())}")
        return reproduce([f"--table={name}" for name in names] + [word for word in words if word not in names])

    return guarded(run, words, __doc__)


def reproduce(words: Sequence[str]) -> int:
    """Plans or runs.

    Raises:
        ConfigError: an unknown option, table or override, or scores that tables don't hold.
    """
    is_plan, names, overrides = _asked(words)
    config, _ = compose.load_fitting([], overrides)
    if not isinstance(config.evaluator, Native):
        raise ConfigError(f"tables hold our own scores; for {config.evaluator.name}'s beside them use pipelines.run")
    specs = [tables.load(name) for name in names] or tables.standard()
    effects.refuse_idle(overrides, _of_one_run, partial(_of_tables, specs))
    target, variant = tables.as_asked(specs, overrides, online=not is_plan)
    if is_plan:
        show(target, Store(rooted(config.store)))
        return 0
    preflight.check(config, [target])
    whole, folder = bool(variant) or not names, rooted(config.results + variant)
    partly = folder.with_name(folder.name + SUFFIX)
    outcome = _made(scheduler(config), target, partly)
    log.info("%s", publish(outcome[target], folder, whole))
    if whole:
        shutil.rmtree(partly, ignore_errors=True)
    log.info("%d stages were run, the rest was in the store. Read %s", outcome.executed, folder)
    return 0


def _made(executing: Scheduler, target: Call, partly: Path) -> Outcome:
    """The report's artifact; where something failed, the report of the rest goes into `partly`.

    Raises:
        StageError: something failed; says what.
    """
    outcome = executing.attempt([target])
    try:
        if rest := salvaged(target, outcome):
            publish(executing.execute([rest])[rest], partly, whole=True)
            log.info("The report as far as it could be made, with what failed and why: %s", partly / "report.md")
    finally:
        outcome.check()
    return outcome


def _of_one_run(words: Sequence[str]) -> tuple[Any, Any]:
    config, foreign = compose.load_fitting([], words)
    return (config, foreign), (effects.effect(config, targets(config)), config.seeds, config.results)


def _of_tables(specs: Sequence[Table], words: Sequence[str]) -> tuple[Any, Any]:
    config, _ = compose.load_fitting([], words)
    done = effects.effect(config, [tables.report(specs, words, online=False)])
    return words, (done, config.results)


def _asked(words: Sequence[str]) -> tuple[bool, list[str], list[str]]:
    """Whether --plan, the name after each --table, and everything else as Hydra overrides."""
    found: list[str] = []
    overrides: list[str] = []
    rest = iter(words)
    for word in rest:
        option, _, name = word.partition("=")
        if option == "--table":
            found.append(name or next(rest, ""))
        elif word.startswith("-") and word != "--plan":
            raise ConfigError(f"unknown option {word!r}: {closest(word, ('--plan', '--table', '--help'))}")
        elif word != "--plan":
            overrides.append(word)
    return "--plan" in words, found, overrides


def show(target: Call, store: Store) -> None:
    """Prints each call, whether it is in the store, and how much is left to run."""
    done: dict[str, Artifact] = {}
    open_values: dict[str, bool] = {}
    counts: Counter[str] = Counter()
    hours = gpu_hours = 0.0
    for call in ordered([target]):
        state, mark = "after", "a value that is chosen on the way"
        open_values[call.key] = any(open_values[s.key] for s in call.sources) or any(
            bind.source.key not in done for bind in call.binds.values()
        )
        if not open_values[call.key]:
            state, mark = "run", call.key
            if all(source.key in done for source in call.sources):
                mark = resolve(call, done).fingerprint
                if (artifact := store.usable(call.stage.name, mark)) is not None:
                    state, done[call.key] = "store", artifact
        counts[state] += 1
        print(f"{state:6} {call.stage.name:10} {mark:20.20} {call.label}  [{call.needs}]")
        if state != "store":
            gpu_hours += call.needs.gpus * call.needs.seconds / 3600
            hours += call.needs.seconds / 3600
    print(f"\nabout {hours:.1f} h of work one after another, {gpu_hours:.0f} GPU hours in it")
    print(f"{counts['store']} in the store, {counts['run']} to run, {counts['after']} that wait for a chosen value")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
