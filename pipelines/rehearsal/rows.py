"""Which rows of a plan a rehearsal runs: one for each way that a row can go, and what then costs nothing more."""

from collections.abc import Sequence
from dataclasses import replace

from pipelines.report.kinds import KINDS
from pipelines.report.spec import Row, Table
from pipelines.schema import Config
from pipelines.stage import ordered
from pipelines.tables import Configured, planned


def asked(table: Table, config: Config) -> frozenset[tuple[str, ...]]:
    """The ways on which a row's checkpoint is asked: by whom, about what, and how its like was made."""
    if not KINDS[table.kind].has_scores:
        return frozenset({(table.kind, config.pair.name)})
    found: set[tuple[str, ...]] = {("suite", config.pair.mllm.repo, config.engine.name, config.suite.name)}
    found |= {("asked", config.pair.name, config.method.stage)}
    if config.method.stage == "merge":
        found |= {("choice of a merge", config.merge.coefficient)}
    return frozenset(found)


def made(config: Config) -> frozenset[tuple[str, ...]]:
    """The ways on which a row's checkpoint is made; a number makes no other way."""
    pair, injection = config.pair.name, config.injection
    if config.method.stage == "merge":
        return frozenset({("merge", pair, config.merge.method)})
    if config.method.stage == "none":
        return frozenset()
    found: set[tuple[str, ...]] = {("train", pair, injection.scale, config.method.start)}
    if "lm_head" in config.selection.groups:
        found |= {("train the head", pair)}
    return frozenset(found)


def chosen(rows: Sequence[Configured]) -> list[Configured]:
    """One row for each way of asking, and every row that needs nothing that these don't."""
    taken = set(_covering([asked(table, config) for table, _, config in rows]))
    needed = [set(_keys(table, config)) for table, _, config in rows]
    there = set().union(*(needed[place] for place in taken))
    return [row for place, row in enumerate(rows) if place in taken or needed[place] <= there]


def makers(rows: Sequence[Configured]) -> list[Config]:
    """One config for each way of making a checkpoint, asked or not."""
    configs = [config for _, _, config in rows if config.merge.coefficient != "auto"]
    return [configs[place] for place in _covering([made(config) for config in configs])]


def _covering(ways: Sequence[frozenset[tuple[str, ...]]]) -> list[int]:
    """Places whose ways are all the ways there are: those with several first."""
    taken, seen = [], set[tuple[str, ...]]()
    for place in sorted(range(len(ways)), key=lambda place: -len(ways[place])):
        if ways[place] - seen:
            taken.append(place)
            seen |= ways[place]
    return taken


def fitting(tables: Sequence[Table], rows: Sequence[Configured]) -> list[Table]:
    """The tables with these rows and those that nobody runs, compared with each other alone."""
    kept = {table.name: {row.label for other, row, _ in rows if other.name == table.name} for table in tables}
    return [_cut(table, kept[table.name]) for table in tables if kept[table.name]]


def _cut(table: Table, labels: set[str]) -> Table:
    def there(label: str) -> str:
        return label if label in labels else ""

    rows: list[Row] = [row for row in table.rows if row.label in labels or not row.overrides]
    return replace(
        table,
        rows=tuple(replace(row, against=there(row.against)) for row in rows),
        against=there(table.against),
        curves=tuple(label for label in table.curves if label in labels),
        groups=tuple(label for label in table.groups if label in labels),
    )


def _keys(table: Table, config: Config) -> list[str]:
    asked = replace(config, seed=config.seeds[0])
    return [call.key for call in ordered(list(planned(table, asked).values()))]
