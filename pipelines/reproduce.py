"""All tables from nothing: python -m pipelines.reproduce [--plan] [--table NAME]... [overrides], or `make reproduce`.

Plans every row of every table over all seeds as one DAG, runs what the store does not hold, and copies the report into
`results/<profile>`.
"""

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Sequence

from pipelines import compose, tables
from pipelines.errors import ConfigError
from pipelines.report.publish import publish
from pipelines.scheduler import resolve
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
    config = compose.load(asked.overrides)
    if config.evaluator.name != "native":
        raise ConfigError(f"tables hold our own scores; for {config.evaluator.name}'s beside them use pipelines.run")
    specs = [tables.load(name) for name in asked.table or tables.names()]
    target = tables.report(specs, asked.overrides, online=not asked.plan)
    if asked.plan:
        show(target, Store(rooted(config.store)))
        return 0
    outcome = scheduler(config).execute([target])
    folder = rooted(config.results)
    log.info("%s", publish(outcome[target], folder, whole=asked.table is None))
    log.info("%d stages were run, the rest was in the store. Read %s", outcome.executed, folder)
    return 0


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
            state, mark = _state(call, store, done)
        counts[state] += 1
        print(f"{state:6} {call.stage.name:10} {mark:20.20} {call.label}  [{call.needs}]")
        if state != "store":
            gpu_hours += call.needs.gpus * call.needs.seconds / 3600
            hours += call.needs.seconds / 3600
    print(f"\nabout {hours:.1f} h of work one after another, {gpu_hours:.0f} GPU hours in it")
    print(f"{counts['store']} in the store, {counts['run']} to run, {counts['after']} that wait for a chosen value")


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
