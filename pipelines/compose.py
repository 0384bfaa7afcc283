"""From `conf/` and command-line overrides to a typed Config, with every fault of the overrides reported at once."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from drift.errors import closest
from drift.processes import die_with_parent
from drift.training.config import TrainingConfig
from pipelines.errors import ConfigError
from pipelines.lab.config import LAB, SMOKE
from pipelines.schema import Config, typed

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
# Choices whose values are a dataclass's own defaults: written once, in the code that they belong to.
IN_CODE: dict[tuple[str, str], Any] = {
    ("world", "lab"): LAB,
    ("world", "smoke"): SMOKE,
    ("train", "paper"): TrainingConfig(),
}


def register() -> None:
    """Makes the choices of `IN_CODE` known to Hydra."""
    for (group, name), node in IN_CODE.items():
        ConfigStore.instance().store(group=group, name=name, node=asdict(node))


def load(overrides: Sequence[str] = ()) -> Config:
    """Composes and types the config.

    Raises:
        ConfigError: unknown keys or choices, with the closest known ones; values of wrong types; missing values.
    """
    check(overrides)
    return to_config(_compose(tuple(overrides)))


def load_all(many: Sequence[Sequence[str]]) -> list[Config]:
    """`load` of each, on all cores: Hydra takes a tenth of a second a composition, and a report asks for a hundred.

    Raises:
        ConfigError: as `load`.
    """
    distinct = list(dict.fromkeys(tuple(overrides) for overrides in many))
    with ProcessPoolExecutor(mp_context=get_context("fork"), initializer=die_with_parent) as pool:
        found = dict(zip(distinct, pool.map(load, distinct, chunksize=4), strict=True))
    return [found[tuple(overrides)] for overrides in many]


def to_config(composed: DictConfig) -> Config:
    """A composed Hydra config as typed dataclasses."""
    try:
        raw: Any = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"the config is incomplete: {error}") from None
    return typed(raw)


def check(overrides: Sequence[str]) -> None:
    """Every override names a known group, choice or key.

    Raises:
        ConfigError: lists all that don't, each with the closest match.
    """
    faults = []
    keys = _keys()
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except OverrideParseException as error:
            faults.append(f"{text!r} is not of the form key=value: {error}")
            continue
        group, name = CONF / override.key_or_group, override.key_or_group
        if name.startswith("hydra") or override.is_force_add():
            continue
        if group.is_dir():
            choices = [path.stem for path in group.glob("*.yaml")] + [n for g, n in IN_CODE if g == name]
            values = override.sweep_string_iterator() if override.is_sweep_override() else [override.value()]
            faults += [
                f"{name} has no choice {v!r}: {closest(str(v), choices)}" for v in values if str(v) not in choices
            ]
        elif name not in keys and not any(name.startswith(f"{key}.") for key in _OPEN):
            faults.append(f"unknown key {name!r}: {closest(name, _near(name, keys))}")
    if faults:
        raise ConfigError("\n".join(faults))


# Mappings whose keys the chosen YAML names.
_OPEN = ("merge.hyperparameters", "suite.benchmarks", "validation.benchmarks", "launcher.options")


def _near(name: str, keys: set[str]) -> list[str]:
    """The keys beside `name`, so that the list in an error stays readable."""
    parent = name.rpartition(".")[0]
    siblings = [key for key in keys if key.rpartition(".")[0] == parent]
    return siblings or sorted({key.split(".")[0] for key in keys})


def _keys(node: Any = Config, prefix: str = "") -> set[str]:
    """Every dotted key of the schema."""
    found = set()
    for item in fields(node):
        found.add(f"{prefix}{item.name}")
        if isinstance(item.type, type) and is_dataclass(item.type):
            found |= _keys(item.type, f"{prefix}{item.name}.")
    return found


@cache
def _compose(overrides: tuple[str, ...]) -> DictConfig:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            return compose("config", overrides=list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(f"the config can't be composed: {error}") from None
