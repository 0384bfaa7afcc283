"""The tables of conf/table: which runs each needs, and which cell each run fills."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from drift.errors import closest
from pipelines import compose, plan, revisions, stages
from pipelines.errors import ConfigError
from pipelines.report.spec import Cell, Row, Table
from pipelines.schema import Config
from pipelines.stage import Call

PUBLISHED = compose.ROOT / "results" / "published"


_TABLE = TypeAdapter(Table)


def names() -> list[str]:
    """The tables there are: a YAML each in conf/table."""
    return sorted(path.stem for path in (compose.CONF / "table").glob("*.yaml"))


def load(name: str) -> Table:
    """The spec of one table.

    Raises:
        ConfigError: unknown table, or a YAML that does not fit.
    """
    path: Path = compose.CONF / "table" / f"{name}.yaml"
    if not path.exists():
        raise ConfigError(f"unknown table {name!r}: {closest(name, names())}")
    try:
        return _TABLE.validate_python({"name": name, **yaml.safe_load(path.read_text())})
    except ValidationError as error:
        raise ConfigError(f"{path} is no table: {error}") from None


def report(tables: Sequence[Table], overrides: Sequence[str], online: bool) -> Call:
    """The report over these tables: one call that needs every cell's scores, and knows which is which."""
    inputs: dict[str, Call] = {}
    cells: list[Cell] = []
    profile = compose.load(overrides)
    for table in tables:
        for row in table.rows:
            if not row.overrides:
                continue
            config = revisions.resolve(compose.load([*row.overrides, *overrides]), online)
            for seed in config.seeds:
                cells.append(_cell(table, row, replace(config, seed=seed), inputs))
    params = stages.ReportParams(
        profile=profile.profile,
        seeds=profile.seeds,
        tables=tuple(tables),
        published={t.published: (PUBLISHED / t.published).read_text() for t in tables},
        cells=tuple(cells),
    )
    return Call(stages.REPORT, params, inputs, label=", ".join(t.name for t in tables))


def _cell(table: Table, row: Row, config: Config, inputs: dict[str, Call]) -> Cell:
    """Adds the calls behind one row and seed to the inputs and returns their names."""
    scores, made = plan.score(config), plan.checkpoint(config)
    chosen = plan.choice(config)
    calls = {"score": scores, "checkpoint": made} | ({"choice": chosen} if chosen else {})
    names = {kind: f"{kind}-{call.key[:12]}" for kind, call in calls.items()}
    inputs.update({names[kind]: call for kind, call in calls.items()})
    return Cell(table.name, row.label, config.seed, **names)
