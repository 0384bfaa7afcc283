"""The tables of conf/table: which runs each needs, and which cell each run fills."""

import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from drift.errors import closest
from pipelines import compose, plan, revisions, stages
from pipelines.errors import ConfigError
from pipelines.overrides import parse
from pipelines.report.kinds import KINDS
from pipelines.report.spec import AVERAGE, Cell, Row, Table
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
# What a variant's name leaves out: where it is kept and how it is recorded; and what a folder's name can't hold.
_NAMELESS = ("profile", "store", "results", "tracker")
_UNSAFE = re.compile(r"[^\w.,=+\[\]-]")
_LONGEST_NAME = 150


def names() -> list[str]:
    """The tables there are, a YAML each in conf/table: the paper's tables, then figures."""
    found = (path.stem for path in (compose.CONF / "table").glob("*.yaml"))
    return sorted(found, key=lambda name: (not name.startswith("table"), len(name), name))


def standard() -> list[Table]:
    """The tables that a reproduction makes."""
    return [table for table in map(load, names()) if not table.asked_only]


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
        ConfigError: the profile makes none of them, or an override leaves every row as it is.
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
    for word in overrides:
        kept = sum(word in left_out for _, left_out in configs)
        if kept == len(run):
            raise ConfigError(f"{word} would change nothing here: every row says it itself, or can't; see conf/table")
        if kept:
            log.info("%s leaves %d of %d rows as they are: they say it themselves or can't", word, kept, len(run))
    for (table, row), (composed, _) in zip(run, configs, strict=True):
        config = revisions.resolve(composed, online)
        _check_columns(table, config)
        cells += [_cell(table, row, replace(config, seed=seed), inputs) for seed in config.seeds]
    params = stages.ReportParams(
        profile=profile.profile,
        seeds=profile.seeds,
        tables=tuple(tables),
        published={t.published: (PUBLISHED / t.published).read_text() for t in tables if t.published},
        cells=tuple(cells),
        variant=(),
    )
    return Call(stages.REPORT, params, inputs, label=", ".join(t.name for t in tables))


def as_asked(tables: Sequence[Table], overrides: Sequence[str], online: bool) -> tuple[Call, str]:
    """The report under a command's overrides, and what its results' folder is called beyond the profile's name.

    Results that the bare command would make have no such name. All others are a variant's, which says so on its first
    line and never overwrites them; an override that names the folder (results=...) has the last word.
    """
    asked = report(tables, overrides, online)
    keys = {word: parse(word).get_key_element() for word in overrides}
    standard = [word for word, key in keys.items() if key == "profile"]
    words = naming(overrides)
    if not words or asked.key == report(tables, standard, online).key:
        return asked, ""
    named = replace(asked, params=replace(asked.params, variant=words))
    return named, "" if "results" in keys.values() else suffix(words)


def naming(overrides: Sequence[str]) -> tuple[str, ...]:
    """The overrides that say what is computed, and not where it is kept and how it is recorded."""
    return tuple(word for word in overrides if parse(word).get_key_element().partition(".")[0] not in _NAMELESS)


def suffix(words: Sequence[str]) -> str:
    """What the folder of a command's results is called behind the profile's name; cut where it would be too long."""
    name = _UNSAFE.sub("_", "+".join(["", *words]))
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _check_columns(table: Table, config: Config) -> None:
    """Every column of scores is one of the suite's.

    Raises:
        ConfigError: it is not; names the closest.
    """
    known = [*config.suite.benchmarks, AVERAGE]
    for column in table.columns if KINDS[table.kind].has_scores else ():
        if column.partition("_")[0] not in known:
            raise ConfigError(f"{table.name}: suite {config.suite.name} has no {column!r}; {closest(column, known)}")


def _cell(table: Table, row: Row, config: Config, inputs: dict[str, Call]) -> Cell:
    """Adds the calls behind one row and seed to the inputs and names them."""
    planned = {role: _PLANNED[role](config) for role in KINDS[table.kind].roles}
    calls = {role: call for role, call in planned.items() if call is not None}
    names = {role: f"{role}-{call.key[:12]}" for role, call in calls.items()}
    inputs.update({names[role]: call for role, call in calls.items()})
    return Cell(table.name, row.label, config.seed, names)
