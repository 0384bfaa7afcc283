"""The tables of conf/table: which runs each needs, and which cell each run fills."""

import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from drift.errors import closest
from pipelines import compose, effects, plan, revisions, stages
from pipelines.errors import ConfigError
from pipelines.overrides import parse
from pipelines.report.kinds import KINDS
from pipelines.report.numbers import paper_entry, paper_number, published_rows
from pipelines.report.spec import AVERAGE, Cell, Row, Table
from pipelines.schema import Config
from pipelines.stage import Call

log = logging.getLogger(__name__)
PUBLISHED = compose.ROOT / "results" / "published"
_PLANNED: Mapping[str, Callable[[Config], Call | None]] = {
    "geometry": plan.geometry,
    "score": plan.score,
    "checkpoint": plan.checkpoint,
    "responses": plan.generate,
    "start": plan.merged_start,  # None where a training starts from the MLLM
    "choice": plan.choice,  # None where nothing was chosen
    "published": plan.published_score,
    "official": plan.official_score,
    "semantic": plan.semantic_score,
    "judged": plan.judged_score,  # None where rules alone decide
    "judge": plan.judging,  # None where nobody is asked
    "items": plan.benchmarks,
    "all": plan.score_of_all,  # None where nothing is left out
    "all_items": plan.all_benchmarks,
    "rules": plan.score_by_rules,  # None where rules alone decide
}

Configured = tuple[Table, Row, Config]
_TABLE = TypeAdapter(Table)
# What a variant's name leaves out: where it is kept and how it is recorded; and what a folder's name can't hold.
_NAMELESS = ("profile", "store", "results", "tracker", "answers", "trust", "force")
_UNSAFE = re.compile(r"[^\w.,=+\[\]-]")
_LONGEST_NAME = 150
_DEFAULT_PAIR = "qwen2_5_vl_r1"


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
        table = _TABLE.validate_python({"name": name, **_mapping(path)})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ConfigError(f"{path} is no table: {faults}") from None
    if table.published and not (PUBLISHED / table.published).exists():
        raise ConfigError(f"{path}: published is {table.published}, and {PUBLISHED} holds no such file")
    if table.kind not in KINDS:
        raise ConfigError(f"{path}: unknown kind of table {table.kind!r}: {closest(table.kind, KINDS)}")
    return table


def _mapping(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is no table: expected keys with values, as in conf/table/example_ablation.yaml")
    return found


def report(tables: Sequence[Table], overrides: Sequence[str], online: bool) -> Call:
    """The report over those tables that the profile makes: one call that needs every cell, and knows which is which.

    Raises:
        ConfigError: the profile makes none of them, or an override leaves every row as it is.
    """
    profile, _ = compose.load_fitting([], overrides)
    made = made_in(profile.profile, tables)
    return over(profile, made, configured(made, overrides, online))


def made_in(profile: str, tables: Sequence[Table]) -> list[Table]:
    """Those of the tables that a profile makes.

    Raises:
        ConfigError: it makes none of them.
    """
    made = [table for table in tables if not table.profiles or profile in table.profiles]
    if not made:
        raise ConfigError(
            f"profile {profile} makes none of {', '.join(t.name for t in tables)}: it is made in "
            f"{', '.join(sorted({name for t in tables for name in t.profiles}))}"
        )
    return made


def configured(
    tables: Sequence[Table], overrides: Sequence[str], online: bool, lock: Path | None = None
) -> list[Configured]:
    """Every row that runs something, with its config, revisions resolved (`revisions.resolve` says what `lock` is).

    Raises:
        ConfigError: an override leaves every row as it is, or a column is none of the suite's.
    """
    profile, _ = compose.load_fitting([], overrides)
    run = [(table, row) for table in tables for row in table.rows if row.overrides]
    settings = [[*row.overrides, *table.in_profile.get(profile.profile, ())] for table, row in run]
    configs = compose.load_all(settings, overrides)
    for word in overrides:
        takers = [place for place, (_, left_out) in enumerate(configs) if word not in left_out]
        kept = len(run) - len(takers)
        if kept and not any(_matters(word, run[at][0], configs[at][0], settings[at], overrides) for at in takers):
            raise ConfigError(
                f"{word} would change nothing here: every row says it itself, or can't, or has no use for it; see "
                "conf/table"
            )
        if kept:
            log.info("%s leaves %d of %d rows as they are: they say it themselves or can't", word, kept, len(run))
    found = []
    for (table, row), (composed, _) in zip(run, configs, strict=True):
        config = _gated(revisions.resolve(composed, online, lock))
        _check_columns(table, config)
        found.append((table, row, config))
    return found


def over(profile: Config, tables: Sequence[Table], rows: Sequence[Configured]) -> Call:
    """The report over tables whose rows, in every seed, are these."""
    inputs: dict[str, Call] = {}
    cells: list[Cell] = []
    for table, row, config in rows:
        inputs.update({f"gate-{gate.key[:12]}": gate for gate in plan.gates(config)})
        inputs.update({f"data-{config.data.name}-{seed}": call for seed, call in _funnels(config).items()})
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


def _funnels(config: Config) -> dict[int, Call]:
    """By seed, what a filter left of the answers that a trained row's data is made of."""
    if config.data.distil is None or config.method.stage != "train":
        return {}
    return {seed: plan.distilled(replace(config, seed=seed)) for seed in config.seeds}


def planned(table: Table, config: Config) -> dict[str, Call]:
    """What a row's cell is read from in the config's seed, by role."""
    found = {role: _PLANNED[role](config) for role in KINDS[table.kind].roles}
    return {role: call for role, call in found.items() if call is not None}


def _matters(word: str, table: Table, config: Config, own: Sequence[str], overrides: Sequence[str]) -> bool:
    """Whether a row that takes an override would be another row without it."""
    other, _ = compose.load_fitting(own, [each for each in overrides if each != word])

    def done(each: Config) -> tuple[Any, ...]:
        return effects.effect(each, list(planned(table, each).values())), each.seeds, each.results

    return done(config) != done(other)


def as_asked(tables: Sequence[Table], overrides: Sequence[str], online: bool) -> tuple[Call, str]:
    """The report under a command's overrides, and what its results' folder is called beyond the profile's name.

    Results that the bare command would make have no such name. All others are a variant's, which says so on its first
    line and never overwrites them; an override that names the folder (results=...) has the last word.
    """
    asked = report(tables, overrides, online)
    standard = [word for word in overrides if parse(word).get_key_element() == "profile"]
    words = naming(overrides)
    if not words or asked.key == report(tables, standard, online).key:
        return asked, ""
    named = replace(asked, params=replace(asked.params, variant=words))
    return named, "" if names_folder(overrides) else suffix(words)


def names_folder(overrides: Sequence[str]) -> bool:
    """Whether an override says where results go."""
    return any(parse(word).get_key_element() == "results" for word in overrides)


def apart(tables: Sequence[Table]) -> str:
    """How the folder of tables that no bare command makes goes on behind the profile's name; empty of any others."""
    return suffix([table.name for table in tables]) if all(table.asked_only for table in tables) else ""


def naming(overrides: Sequence[str]) -> tuple[str, ...]:
    """The overrides that say what is computed, and not where it is kept and how it is recorded."""
    return tuple(word for word in overrides if parse(word).get_key_element().partition(".")[0] not in _NAMELESS)


def suffix(words: Sequence[str]) -> str:
    """What the folder of a command's results is called behind the profile's name; cut where it would be too long."""
    name = _UNSAFE.sub("_", "+".join(["", *words]))
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _gated(config: Config) -> Config:
    """The config with the published scores of its untouched MLLM, from whichever tables have them."""
    if config.pair.source != "hub":
        return config
    known = {name: tuple(values) for name, values in _published_baselines().get(config.pair.mllm.repo, {}).items()}
    return replace(config, gate=replace(config.gate, published={**known, **config.gate.published}))


@cache
def _published_baselines() -> Mapping[str, Mapping[str, list[float]]]:
    """By repository and column what is published of the MLLM as it is: every table's rows of method=baseline."""
    found: dict[str, dict[str, list[float]]] = {}
    for table in map(load, names()):
        if not table.published:
            continue
        entries = published_rows((PUBLISHED / table.published).read_text())
        for row in table.rows:
            entry = paper_entry(row, entries, table.name) if "method=baseline" in row.overrides else {}
            values = {column: paper_number(entry, column) for column in table.columns if column != AVERAGE}
            columns = found.setdefault(_mllm_of(row), {}) if entry else {}
            for column, value in values.items():
                if value is not None and value not in columns.setdefault(column, []):
                    columns[column].append(value)
    return found


def _mllm_of(row: Row) -> str:
    """The repository of a row's MLLM, by the pair that it names, else the default one."""
    named = (word.removeprefix("pair=") for word in row.overrides if word.startswith("pair="))
    path = compose.CONF / "pair" / f"{next(named, _DEFAULT_PAIR)}.yaml"
    return str(yaml.safe_load(path.read_text())["mllm"]["repo"])


def _check_columns(table: Table, config: Config) -> None:
    """Every column of scores is one of the suite's.

    Raises:
        ConfigError: it is not; names the closest.
    """
    known = [*config.columns, AVERAGE]
    for column in table.columns if KINDS[table.kind].has_scores else ():
        if column.partition("_")[0] not in known:
            raise ConfigError(f"{table.name}: suite {config.suite.name} has no {column!r}; {closest(column, known)}")


def _cell(table: Table, row: Row, config: Config, inputs: dict[str, Call]) -> Cell:
    """Adds the calls behind one row and seed to the inputs and names them."""
    calls = planned(table, config)
    names = {role: f"{role}-{call.key[:12]}" for role, call in calls.items()}
    inputs.update({names[role]: call for role, call in calls.items()})
    return Cell(table.name, row.label, config.seed, names)
