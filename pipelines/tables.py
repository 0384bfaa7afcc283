"""The tables of conf/table: which runs each needs, and which cell each run fills."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from drift.errors import closest
from pipelines import compose, plan, revisions, stages
from pipelines.errors import ConfigError
from pipelines.report.kinds import KINDS
from pipelines.report.spec import Cell, Row, Table
from pipelines.schema import Config
from pipelines.stage import Call

log = logging.getLogger(__name__)
PUBLISHED = compose.ROOT / "results" / "published"
_PLANNED: Mapping[str, Callable[[Config], Call | None]] = {
    "geometry": plan.geometry,
    "score": plan.score,
    "checkpoint": plan.checkpoint,
    "choice": plan.choice,  # None where nothing was chosen
}

_TABLE = TypeAdapter(Table)


def names() -> list[str]:
    """The tables there are, a YAML each in conf/table: the paper's tables, then figures."""
    found = (path.stem for path in (compose.CONF / "table").glob("*.yaml"))
    return sorted(found, key=lambda name: (not name.startswith("table"), len(name), name))


def load(name: str) -> Table:
    """The spec of one table.

    Raises:
        ConfigError: unknown table or kind, or a YAML that does not fit.
    """
    path: Path = compose.CONF / "table" / f"{name}.yaml"
    if not path.exists():
        raise ConfigError(f"unknown table {name!r}: {closest(name, names())}")
    try:
        table = _TABLE.validate_python({"name": name, **yaml.safe_load(path.read_text())})
    except ValidationError as error:
        raise ConfigError(f"{path} is no table: {error}") from None
    if table.kind not in KINDS:
        raise ConfigError(f"{path}: unknown kind of table {table.kind!r}: {closest(table.kind, KINDS)}")
    return table


def report(tables: Sequence[Table], overrides: Sequence[str], online: bool) -> Call:
    """The report over those tables that the profile makes: one call that needs every cell, and knows which is which.

    Raises:
        ConfigError: the profile makes none of them.
    """
    inputs: dict[str, Call] = {}
    cells: list[Cell] = []
    profile, _ = compose.load_fitting([], overrides)
    made = [table for table in tables if not table.profiles or profile.profile in table.profiles]
    if not made:
        raise ConfigError(
            f"profile {profile.profile} makes none of {', '.join(t.name for t in tables)}: it is made in "
            f"{', '.join(sorted({name for t in tables for name in t.profiles}))}"
        )
    tables = made
    run = [(table, row) for table in tables for row in table.rows if row.overrides]
    settings = [[*row.overrides, *table.in_profile.get(profile.profile, ())] for table, row in run]
    configs = compose.load_all(settings, overrides)
    for (table, row), (composed, foreign) in zip(run, configs, strict=True):
        if foreign:
            log.info("%s, %s: without %s, which it has no use for", table.name, row.label, " ".join(foreign))
        config = revisions.resolve(composed, online)
        cells += [_cell(table, row, replace(config, seed=seed), inputs) for seed in config.seeds]
    params = stages.ReportParams(
        profile=profile.profile,
        seeds=profile.seeds,
        tables=tuple(tables),
        published={t.published: (PUBLISHED / t.published).read_text() for t in tables if t.published},
        cells=tuple(cells),
    )
    return Call(stages.REPORT, params, inputs, label=", ".join(t.name for t in tables))


def _cell(table: Table, row: Row, config: Config, inputs: dict[str, Call]) -> Cell:
    """Adds the calls behind one row and seed to the inputs and names them."""
    planned = {role: _PLANNED[role](config) for role in KINDS[table.kind].roles}
    calls = {role: call for role, call in planned.items() if call is not None}
    names = {role: f"{role}-{call.key[:12]}" for role, call in calls.items()}
    inputs.update({names[role]: call for role, call in calls.items()})
    return Cell(table.name, row.label, config.seed, names)
