"""From `conf/` and command-line overrides to a typed Config."""

import copy
import hashlib
import json
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext, suppress
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import hydra
import omegaconf
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from drift.files import write_whole
from drift.processes import die_with_parent
from pipelines.errors import ConfigError, NoSuchKeyError
from pipelines.overrides import check_names, openly, parse, remedy
from pipelines.schema import Config, typed

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
KEPT = ROOT / "artifacts" / ".composed"
_NOT_THERE = re.compile(r"Could not override '(?P<key>[\w.@]+)'")


def groups() -> list[Path]:
    """The folders of `conf/` that a choice is made from: those that hold YAML, but for tables and studies."""
    folders = (path for path in CONF.iterdir() if path.is_dir() and path.name not in ("table", "study", "claims"))
    return sorted(path for path in folders if any(path.glob("*.yaml")))


def load(overrides: Sequence[str] = ()) -> Config:
    """Composes and types the config.

    Raises:
        ConfigError: unknown keys or choices, with the closest known ones; values of wrong types or out of range.
    """
    kept = _kept(overrides)
    if kept.exists():
        return typed(json.loads(kept.read_text()))
    check_names(overrides, CONF)
    raw = _plain(_compose(tuple(overrides)))
    config = typed(raw)
    if "${" not in "".join(overrides):  # whose value may change with the environment
        _keep(kept, raw)
    return config


def _kept(overrides: Sequence[str]) -> Path:
    """Where what these overrides compose to is kept: a name that changes with any of them and any file of `conf/`.

    Composing takes Hydra a tenth of a second, and a report asks for a hundred.
    """
    asked = hashlib.sha256("\n".join([_conf(CONF), *overrides]).encode()).hexdigest()
    return KEPT / f"{asked[:32]}.json"


def _keep(kept: Path, raw: Any) -> None:
    with suppress(OSError):  # a checkout that can't be written to composes every time
        write_whole(kept, json.dumps(raw))


@cache
def _conf(folder: Path) -> str:
    """The text of every file that Hydra may read, and the versions of what reads them."""
    texts = [f"{path}\n{path.read_text()}" for path in sorted(folder.rglob("*.yaml"))]
    return "\n".join([hydra.__version__, omegaconf.__version__, *texts])


def load_all(rows: Sequence[Sequence[str]], words: Sequence[str]) -> list[tuple[Config, list[str]]]:
    """`load_fitting` of each row, on all cores where they were not composed before.

    Raises:
        ConfigError: as `load_fitting`.
    """
    distinct = list(dict.fromkeys(tuple(row) for row in rows))
    fit = partial(load_fitting, words=words)
    if all(_kept([*_standing(row, words)[0], *row]).exists() for row in distinct):
        found = dict(zip(distinct, map(fit, distinct), strict=True))
    else:
        with ProcessPoolExecutor(mp_context=get_context("fork"), initializer=die_with_parent) as pool:
            found = dict(zip(distinct, pool.map(fit, distinct, chunksize=4), strict=True))
    return [found[tuple(row)] for row in rows]


def load_fitting(fixed: Sequence[str], words: Sequence[str]) -> tuple[Config, list[str]]:
    """The config of a table's row under a command's overrides, and those of them that leave the row as it is.

    What a row says itself stands, else its label would lie; and a row has no use for a key that its choices don't have.

    Raises:
        ConfigError: as `load`, but for a command's key that the row's own choices don't have.
    """
    kept, left_out = _standing(fixed, words)
    while True:
        try:
            return load([*kept, *fixed]), left_out
        except NoSuchKeyError as error:
            foreign = [word for word in kept if word.lstrip("+~").startswith(f"{error.key}=")]
            if not foreign:
                raise
            kept = [word for word in kept if word not in foreign]
            left_out += foreign


def _standing(fixed: Sequence[str], words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that say something else than a row does, and those that it says itself."""
    own = {parse(word).get_key_element() for word in fixed}
    left_out = [word for word in words if parse(word).get_key_element() in own]
    return [word for word in words if word not in left_out], left_out


def to_config(composed: DictConfig) -> Config:
    """A composed Hydra config as typed dataclasses."""
    return typed(_plain(composed))


def _plain(composed: DictConfig) -> Any:
    try:
        return OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} must be given: {error.full_key}=...") from None
    except OmegaConfBaseException as error:
        raise ConfigError(f"the config can't be resolved: {error}") from None


@cache
def _compose(overrides: tuple[str, ...]) -> DictConfig:
    """What Hydra composes: its choices, and then the plain values, which Hydra too sets last and one by one.

    Rows of a table and points of a sweep differ in values more than in choices, and setting one takes no time.
    """
    words = openly(overrides)
    if not all(_is_plain(parse(word)) for word in words):
        return _chosen(tuple(words), CONF)
    composed = copy.deepcopy(_chosen(tuple(word for word in words if _is_choice(parse(word))), CONF))
    for word in words:
        if not _is_choice(parse(word)):
            _set(composed, parse(word))
    return composed


def _is_choice(override: Override) -> bool:
    return override.key_or_group.startswith("hydra") or (CONF / override.key_or_group).is_dir()


def _is_plain(override: Override) -> bool:
    """Whether an override says one thing: a choice, or the value of a key."""
    is_special = override.is_add() or override.is_delete() or override.is_sweep_override()
    return not is_special and (isinstance(override.value(), str) or not _is_choice(override))


def _set(composed: DictConfig, override: Override) -> None:
    key = override.key_or_group
    try:
        OmegaConf.update(composed, key, override.value(), merge=True, force_add=override.is_force_add())
    except (ConfigAttributeError, ConfigKeyError):
        raise _no_such(key) from None
    except OmegaConfBaseException as error:
        raise ConfigError(f"the config can't be composed: {override.input_line}: {error}") from None


@cache
def _chosen(overrides: tuple[str, ...], conf: Path) -> DictConfig:
    """What Hydra makes of these overrides, or made of them once: interpolations are left as they are."""
    kept = _kept(("chosen", *overrides))
    if kept.exists():
        found = OmegaConf.create(json.loads(kept.read_text()))
        OmegaConf.set_struct(found, True)
        return found
    inside = GlobalHydra.instance().is_initialized()  # of a run that Hydra itself started, with the same folder
    with nullcontext() if inside else initialize_config_dir(str(conf), version_base="1.3"):
        try:
            composed = compose("config", overrides=list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            if not (named := _NOT_THERE.search(str(error))):
                raise ConfigError(f"the config can't be composed: {error}") from None
            raise _no_such(named["key"]) from None
    _keep(kept, OmegaConf.to_container(composed))
    return composed


def _no_such(key: str) -> NoSuchKeyError:
    group = key.partition(".")[0]
    return NoSuchKeyError(f"{key} is no key of the {group} that was chosen here{remedy(key)}", key)
