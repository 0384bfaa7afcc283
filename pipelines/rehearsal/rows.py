"""Which rows of a plan a rehearsal runs: one for each way that a row can go, and what then costs nothing more."""

from collections.abc import Sequence
from dataclasses import replace

from pipelines.report.kinds import KINDS
from pipelines.report.spec import Row, Table
from pipelines.schema import Config
from pipelines.stage import ordered
from pipelines.tables import Configured, planned


def steps(table: Table, config: Config) -> frozenset[tuple[str, ...]]:
    """The ways that a row takes: which model is made how, and what answers what; numbers make no other way."""
    pair, chosen = config.pair.name, config.merge
    if not KINDS[table.kind].has_scores:
        return frozenset({(table.kind, pair)})
    found: set[tuple[str, ...]] = {("answer", config.pair.mllm.repo, config.engine.name, config.suite.name)}
    if config.method.stage == "merge":
        found |= {("merge", pair, chosen.method), ("choice of a merge", chosen.coefficient)}
    elif config.method.stage == "train":
        found |= {("train", pair, config.injection.scale, config.method.start)}
        if "lm_head" in config.selection.groups:
            found |= {("train the head", pair)}
    return frozenset(found)


def chosen(rows: Sequence[Configured]) -> list[Configured]:
    """The first row of each way, those with several ways first, and every row that needs nothing that these don't."""
    ways = [steps(table, config) for table, _, config in rows]
    taken: set[int] = set()
    seen: set[tuple[str, ...]] = set()
    for place in sorted(range(len(rows)), key=lambda place: -len(ways[place])):
        if ways[place] - seen:
            taken.add(place)
            seen |= ways[place]
    needed = [set(_keys(table, config)) for table, _, config in rows]
    made = set().union(*(needed[place] for place in taken))
    return [row for place, row in enumerate(rows) if place in taken or needed[place] <= made]


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
    )


def _keys(table: Table, config: Config) -> list[str]:
    asked = replace(config, seed=config.seeds[0])
    return [call.key for call in ordered(list(planned(table, asked).values()))]
