"""Every number of the config has a stated range, and just outside it is refused before anything is planned."""

import copy
import math
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import annotated_types
import pytest
from omegaconf import OmegaConf
from pydantic.fields import FieldInfo

from drift.config import Range, ranges_of
from drift.errors import DriftError
from pipelines import compose
from pipelines.errors import ConfigError
from pipelines.schema import Config, typed

# What a cluster's own engine reads, and refuses itself; and the run's `seed` under its other name, which is no key.
FOREIGN = {"launcher.options", "world.seed"}
UNWRITTEN = (
    "gate.published",
    "judge.vllm.settings.",
    "launcher.short_seconds",
)  # keys that conf leaves at what they are
RUNS = (
    [],
    ["profile=paper", "method=sft", "judge=openai", "engine=openai", "engine.url=http://h/v1"],
    ["method=dare_ties", "merge.coefficient=auto", "engine=vllm"],
    ["method=layer_swap", "prior=random"],
    ["judge=local"],
    ["world=study", "data=lab_direct"],
    ["data=mixed"],
)


def numbers(node: Any = Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key whose type holds a number, with its annotation."""
    for name, hint in get_type_hints(node, include_extras=True).items():
        key = f"{prefix}{name}"
        if int in _parts(hint) or float in _parts(hint):
            yield key, hint
        for part in _parts(hint):
            if isinstance(part, type) and is_dataclass(part):
                yield from numbers(part, f"{key}.")


def _parts(hint: Any) -> list[Any]:
    """A type and all that it is made of; the values of a Literal are no types."""
    if get_origin(hint) is Literal:
        return []
    return [hint, *(part for inner in get_args(hint) for part in _parts(inner))]


def stated(hint: Any) -> list[Range]:
    """The ranges of an annotation, pydantic's bounds among them."""
    found = ranges_of(hint)
    for part in _parts(hint):
        marks = [m for mark in getattr(part, "__metadata__", ()) if isinstance(mark, FieldInfo) for m in mark.metadata]
        low = [mark.ge for mark in marks if isinstance(mark, annotated_types.Ge)]
        high = [mark.le for mark in marks if isinstance(mark, annotated_types.Le)]
        if low or high:
            found.append(Range("", low=min(low, default=-math.inf), high=max(high, default=math.inf)))
    return found


NUMBERS = {key: hint for key, hint in numbers() if key not in FOREIGN}


@pytest.mark.parametrize("key", NUMBERS)
def test_every_number_states_its_range(key: str) -> None:
    assert stated(NUMBERS[key]), f"{key} takes any number: annotate it, as with drift.config.Count"


def outside(hint: Any) -> Iterator[Any]:
    """Values that no range of an annotation holds, in the shape that it asks for."""
    (found, *_) = stated(hint)
    edge = 1 if int in _parts(hint) and float not in _parts(hint) else 1e-9
    values = [math.nan, math.inf, -math.inf]
    if math.isfinite(found.low):
        values.append(found.low - edge * max(1, abs(found.low)) if found.has_low else found.low)
    if math.isfinite(found.high):
        values.append(found.high + edge * max(1, abs(found.high)) if found.has_high else found.high)
    for value in values:
        if tuple in map(get_origin, _parts(hint)):
            yield [value] * sum(part in (int, float) for part in _parts(hint))
        else:
            yield value


@cache
def raw(place: int) -> dict[str, Any]:
    found = OmegaConf.to_container(compose._compose(tuple(RUNS[place])), resolve=True, throw_on_missing=True)
    assert isinstance(found, dict)
    return found  # type: ignore[return-value]


def with_leaf(key: str, value: Any) -> dict[str, Any] | None:
    """A composed config with one number replaced; None where no run has the key."""
    *path, name = key.split(".")
    for place in range(len(RUNS)):
        changed = node = copy.deepcopy(raw(place))
        for part in path:
            node = node.get(part) if isinstance(node, dict) else None
        if isinstance(node, dict) and (name in node or key.startswith(UNWRITTEN)):
            if name not in node:
                node[name] = {} if key == "gate.published" else None
            if isinstance(node[name], dict):
                field = next(iter(node[name]), "attn")
                value = {field: value}
            elif isinstance(node[name], list) and node[name] and isinstance(node[name][0], dict):
                value = [{next(iter(node[name][0])): value}]
            node[name] = value
            return changed
    return None


@pytest.mark.parametrize("key", NUMBERS)
def test_just_outside_its_range_a_number_is_refused(key: str) -> None:
    for value in outside(NUMBERS[key]):
        config = with_leaf(key, value)
        assert config is not None, f"no run of this test has {key}"
        with pytest.raises(DriftError, match=key.rpartition(".")[2]):
            typed(config)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("seeds=[]", r"seeds = \[\]"),
        ("seeds=[0,0]", "name one twice"),
        ("seeds=[-1]", r"seeds\.0 = -1"),
        ("selection.groups=[attn,attn]", "each once"),
        ("selection.groups=[]", "at least one"),
        ("selection.layers=[]", "at least one"),
        ("~suite.benchmarks.MathVista ~suite.benchmarks.MathVision ~suite.benchmarks.MathVerse "
         "~suite.benchmarks.WeMath ~suite.benchmarks.LogicVista", r"suite\.benchmarks = \{\}"),
        ("choose.alpha=[]", r"choose\.alpha = \[\]"),
        ("choose.alpha=[-1,-1]", "names one twice"),
        ("train.add_tokens=[a,a,'']", "distinct tokens"),
        ("store=", "store = ''"),
        ("results=", "results = ''"),
        ("engine=openai engine.url=ftp://x", r"url is 'ftp://x', expected http\(s\)://host/v1"),
        ("judge=openai judge.url=ftp://x judge.model=m", r"url is 'ftp://x'"),
        ("train.learning_rate=inf", "learning_rate is inf, expected a number above 0"),
        ("launcher.workers=0", r"launcher\.workers = 0"),
        ("world.sft_items=0", r"world\.sft_items is 0; expected at least 1"),
        ("pair.keep_layers=-1", "keep_layers"),
        ("method=layer_swap merge.hyperparameters.keep_layers=-2", "keep_layers is -2"),
    ],
)  # fmt: skip
def test_what_was_once_taken_is_refused(words: str, message: str) -> None:
    with pytest.raises(DriftError, match=message):
        plan_of(words.split())


def plan_of(words: list[str]) -> None:
    from pipelines import plan

    plan.targets(compose.load(words))


def test_every_fault_of_a_world_is_told_at_once() -> None:
    words = ["world.base.steps=0", "world.base.learning_rate=-1", "world.mllm.clip=nan"]
    with pytest.raises((ConfigError, DriftError)) as caught:
        compose.load(words)
    assert str(caught.value).splitlines() == [
        "world.base.steps is 0, expected at least 1",
        "world.base.learning_rate is -1.0, expected a number above 0",
        "world.mllm.clip is nan, expected a number above 0",
    ]
