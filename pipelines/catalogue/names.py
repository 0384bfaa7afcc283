"""A run's name is its method and what it differs in from that method's default: `drift alpha=-0.3 lr=0.0005 zero=3`.

Computed from the typed config, and complete by construction: what a name leaves out was set back to its default with
nothing changed in the plan, so two runs that are not one artifact have two names.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any

import yaml
from pydantic import ValidationError

from drift.errors import DriftError
from pipelines import compose, plan
from pipelines.catalogue.query import Names
from pipelines.overrides import known_keys
from pipelines.schema import Config
from pipelines.stage import with_value

_GROUPS = ("pair", "suite", "data", "answers", "engine", "judge")  # named whole where they are not the profile's
_ELSEWHERE = ("launcher.", "tracker.", "evaluator.")  # how it runs, and what else is recorded


def name(config: Config) -> str:
    """The name of a run; its seed comes last, and only where it is not 0."""
    profile, method = config.profile, config.method.name
    standard = _composed(profile, method)
    chosen: list[str] = []
    for group in _GROUPS:
        if getattr(config, group).name != getattr(standard, group).name:
            chosen += _chosen(config, group)
    default = replace(_composed(profile, method, *chosen), seed=config.seed, seeds=config.seeds)
    words = [_word(key, value) for key, value in _differences(config, default).items()]
    return " ".join([method, *chosen, *words, *([f"seed={config.seed}"] if config.seed else [])])


def _chosen(config: Config, group: str) -> list[str]:
    """The group's choice, and what had to be given for it: a folder, an endpoint."""
    own = getattr(config, group)
    stated = yaml.safe_load((compose.CONF / group / f"{own.name}.yaml").read_text())
    required = [key for key, value in stated.items() if value == "???"]
    return [f"{group}={own.name}", *(f"{group}.{key}={getattr(own, key)}" for key in required)]


@cache
def _composed(profile: str, method: str, *words: str) -> Config:
    return compose.load([f"profile={profile}", f"method={method}", *words])


def _differences(config: Config, default: Config) -> dict[str, Any]:
    """What of the config differs from the default and matters, by dotted key."""
    usual = dict(_leaves(default))
    key = plan.scoring(config).key
    found = {}
    for place, value in _leaves(config):
        if place.startswith(_ELSEWHERE) or value == usual[place]:
            continue
        reset = _without(config, place, usual[place], key)
        if reset is None:
            found[place] = value
        else:
            config = reset
    return found


def _without(config: Config, place: str, usual: Any, key: str) -> Config | None:
    """The config with one value as usual, where the same score is planned of it; else None."""
    try:
        reset = with_value(config, place, usual)
        return reset if plan.scoring(reset).key == key else None
    except (DriftError, ValidationError):
        return None  # without it, what else was asked for can't be had


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of a config that are no dataclasses, by dotted name."""
    for item in fields(node):
        value = getattr(node, item.name)
        if is_dataclass(value):
            yield from _leaves(value, f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", value


@cache
def _short() -> Names:
    return Names(known_keys())


def _word(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return (
            " ".join(f"{key.rpartition('.')[2]}.{name}={_text(item)}" for name, item in value.items()) or f"{key}={{}}"
        )
    return f"{_short().short(key)}={_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(map(_text, value))}]"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
