"""All tables from nothing: python -m pipelines.reproduce [--plan] [--table NAME]... [overrides], or `make reproduce`.

Plans every row of every table over all seeds as one DAG, runs what the store does not hold, and copies the report into
`results/<profile>`.
"""

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from pipelines import compose, effects, plan, tables
from pipelines.errors import ConfigError
from pipelines.report.publish import publish
from pipelines.report.spec import Table
from pipelines.scheduler import resolve
from pipelines.schema import Native
from pipelines.session import guarded, rooted, scheduler
from pipelines.stage import Call, ordered
from pipelines.store import Artifact, Store

log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """Plans or runs; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.reproduce", description=__doc__)
    parser.add_argument("--plan", action="store_true", help="print what would run and what is in the store")
    parser.add_argument("--table", action="append", choices=tables.names(), help="only this table (may be repeated)")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides for every run: profile=smoke seeds=[0]")
    asked = parser.parse_args(argv)
    config, _ = compose.load_fitting([], asked.overrides)
    if not isinstance(config.evaluator, Native):
        raise ConfigError(f"tables hold our own scores; for {config.evaluator.name}'s beside them use pipelines.run")
    specs = [tables.load(name) for name in asked.table or tables.names()]
    effects.refuse_idle(asked.overrides, _of_one_run, partial(_of_tables, specs))
    target = tables.report(specs, asked.overrides, online=not asked.plan)
    if asked.plan:
        show(target, Store(rooted(config.store)))
        return 0
    outcome = scheduler(config).execute([target])
    folder = rooted(config.results)
    log.info("%s", publish(outcome[target], folder, whole=asked.table is None))
    log.info("%d stages were run, the rest was in the store. Read %s", outcome.executed, folder)
    return 0


def _of_one_run(words: Sequence[str]) -> tuple[Any, Any]:
    config, foreign = compose.load_fitting([], words)
    return (config, foreign), (effects.effect(config, plan.targets(config)), config.seeds, config.results)


def _of_tables(specs: Sequence[Table], words: Sequence[str]) -> tuple[Any, Any]:
    config, _ = compose.load_fitting([], words)
    done = effects.effect(config, [tables.report(specs, words, online=False)])
    return words, (done, config.results)


def show(target: Call, store: Store) -> None:
    """Prints each call, whether it is in the store, and how much is left to run."""
    done: dict[str, Artifact] = {}
    open_values: dict[str, bool] = {}
    counts: Counter[str] = Counter()
    for call in ordered([target]):
        state, mark = "after", "a value that is chosen on the way"
        open_values[call.key] = any(open_values[s.key] for s in call.sources) or any(
            bind.source.key not in done for bind in call.binds.values()
        )
        if not open_values[call.key]:
            state, mark = _state(call, store, done)
        counts[state] += 1
        print(f"{state:6} {call.stage.name:10} {mark:20.20} {call.label}")
    print(f"\n{counts['store']} in the store, {counts['run']} to run, {counts['after']} that wait for a chosen value")


def _state(call: Call, store: Store, done: dict[str, Artifact]) -> tuple[str, str]:
    if all(source.key in done for source in call.sources):
        mark = resolve(call, done).fingerprint
        artifact = store.find(call.stage.name, mark)
        if artifact is not None:
            done[call.key] = artifact
            return "store", mark
        return "run", mark
    return "run", call.key


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
