"""All tables from nothing: drift reproduce [--plan [--all]] [--table NAME]... [--trust] [--force STAGE] [overrides]

Plans every row of every table over all seeds as one DAG, runs what the store does not hold, and copies the report into
`results/<profile>`. `drift plan` runs nothing and says what would, table by table with its price (`--all`: call by
call); `drift table NAME...` makes these tables alone, and those that nothing else makes (table13, crossed) a report of
their own. What other code made than is here is made again, and named; `--trust` takes it as it is, `--force STAGE`
makes a stage's artifacts again. The same as `python -m pipelines.reproduce`, and as `make reproduce`.

Example:
    drift plan profile=paper
    drift table table4 seeds=[0]
    drift reproduce profile=smoke tracker=disabled
"""

import logging
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from drift.errors import closest
from pipelines import compose, effects, preflight, tables, timeline
from pipelines.errors import ConfigError
from pipelines.outcome import Outcome
from pipelines.outline import show
from pipelines.overrides import spelled
from pipelines.page.kept import keep_page
from pipelines.partial import SUFFIX, salvaged
from pipelines.plan import targets
from pipelines.report.publish import publish
from pipelines.report.spec import Table
from pipelines.scheduler import Scheduler
from pipelines.schema import Native
from pipelines.session import guarded, rooted, scheduler, writable
from pipelines.stage import Call

log = logging.getLogger(__name__)
_SWITCHES = ("--plan", "--all")
_OPTIONS = ("--table", "--trust", "--force", "--help")


@dataclass(frozen=True)
class Asked:
    """A command's words: whether it plans, and call by call; the name after each --table; all else as overrides."""

    plans: bool
    whole: bool
    tables: Sequence[str]
    overrides: Sequence[str]

    @classmethod
    def of(cls, words: Sequence[str]) -> "Asked":
        """The words apart.

        Raises:
            ConfigError: an unknown option, a table without its option, or --all of what is no plan.
        """
        names: list[str] = []
        overrides: list[str] = []
        rest = iter(words)
        for word in rest:
            option, _, name = word.partition("=")
            if option == "--table":
                names.append(name or next(rest, ""))
            elif word.startswith("-") and word not in _SWITCHES:
                raise ConfigError(f"unknown option {word!r}: {closest(word, (*_SWITCHES, *_OPTIONS))}")
            elif word in tables.names():
                raise ConfigError(f"{word} is a table: write --table {word}, or drift table {word} to make it")
            elif word not in _SWITCHES:
                overrides.append(word)
        if "--all" in words and "--plan" not in words:
            raise ConfigError("--all lists every call of a plan: drift plan --all")
        return cls("--plan" in words, "--all" in words, names, overrides)


def main(words: Sequence[str]) -> int:
    """The command `drift reproduce`; the exit status."""
    return guarded(lambda: reproduce(spelled(words)), words, __doc__)


def plan(words: Sequence[str]) -> int:
    """The command `drift plan`: `drift reproduce --plan`."""
    return main(["--plan", *words])


def table(words: Sequence[str]) -> int:
    """The command `drift table NAME... [overrides]`: `drift reproduce --table NAME ...`."""

    def run() -> int:
        asked = spelled(words)
        names = [word for word in asked if word.isidentifier()]
        if not names:
            raise ConfigError(f"name a table, as in `drift table table4`; known: {', '.join(tables.names())}")
        return reproduce([f"--table={name}" for name in names] + [word for word in asked if word not in names])

    return guarded(run, words, __doc__)


def reproduce(words: Sequence[str]) -> int:
    """Plans or runs.

    Raises:
        ConfigError: an unknown option, table or override, or scores that tables don't hold.
    """
    asked = Asked.of(words)
    names, overrides = asked.tables, asked.overrides
    config, _ = compose.load_fitting([], overrides)
    if not isinstance(config.evaluator, Native):
        raise ConfigError(f"tables hold our own scores; for {config.evaluator.name}'s beside them use pipelines.run")
    specs = [tables.load(name) for name in names or config.tables] or tables.standard()
    effects.refuse_idle(overrides, _of_one_run, partial(_of_tables, specs))
    target, variant = tables.as_asked(specs, overrides, online=not asked.plans)
    if names and not variant and not tables.names_folder(overrides):
        variant = tables.apart(specs)
    if asked.plans:
        show(target, config, asked.whole)
        return 0
    whole, folder = bool(variant) or not names, writable(rooted(config.results + variant))
    preflight.check(config, [target])
    partly = folder.with_name(folder.name + SUFFIX)
    executing = scheduler(config)
    outcome = _made(executing, target, partly)
    log.info("%s", publish(outcome[target], folder, whole))
    where = folder
    if whole:
        shutil.rmtree(partly, ignore_errors=True)
        if outcome.executed:
            timeline.of_run(outcome.artifacts.values(), folder / timeline.STEM)
        where = keep_page(folder, executing.store.root, executing.fresh.code.mark)
    log.info("%d stages were run, the rest was in the store. Open %s", outcome.executed, where)
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
