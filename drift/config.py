"""What configs share: marks on fields, and the small choices that several components take. Light: no torch.

A component owns a frozen dataclass; `conf/` composes that very class and a stage's parameters hold it whole. A field
marked RUNTIME says how a thing runs, never what comes out, so it is no part of an artifact's identity.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Protocol, get_args, get_origin, get_type_hints, runtime_checkable

from drift.choices import Group, ImageBackend, PriorKind
from drift.errors import DriftError, closest

RUNTIME: Mapping[str, bool] = {"identity": False}
"""Metadata of a field that changes no result: `field(default=8, metadata=RUNTIME)`."""
UNLESS_DEFAULT: Mapping[str, str] = {"identity": "unless default"}
"""Metadata of a switch that an identity names only where it is on: what is made without it keeps its name."""


@runtime_checkable
class Identified(Protocol):
    """A config that says itself what it is, where that is not its fields."""

    def identity(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Range:
    """Where a number may lie, as the field's own annotation: `steps: Annotated[int, Range("at least 1", low=1)]`.

    NaN and infinity lie in none. Of a tuple and of a mapping it is each number, and what is no number is left to the
    field's type.
    """

    words: str
    low: float = -math.inf
    high: float = math.inf
    has_low: bool = True
    has_high: bool = True

    def __contains__(self, value: float) -> bool:
        is_above = value > self.low or (self.has_low and value == self.low)
        is_below = value < self.high or (self.has_high and value == self.high)
        return math.isfinite(value) and is_above and is_below


Count = Annotated[int, Range("at least 1", low=1)]
Natural = Annotated[int, Range("at least 0", low=0)]
NotNegative = Annotated[float, Range("at least 0", low=0)]
Positive = Annotated[float, Range("a number above 0", low=0, has_low=False)]
Share = Annotated[float, Range("a share in [0, 1]", low=0, high=1)]
LessThanOne = Annotated[float, Range("a number in [0, 1)", low=0, high=1, has_high=False)]
SomeShare = Annotated[float, Range("a share in (0, 1]", low=0, high=1, has_low=False)]
# Strengths and weights of models: far beyond any that leaves a model; a typing error is meant to stop here.
Strength = Annotated[float, Range("a finite number of at most 1e6 in size", low=-1e6, high=1e6)]


def identity_of(config: Any) -> dict[str, Any]:
    """The fields of a config by name, those whose mark leaves them out excepted; nested configs stay as they are."""
    says_itself, marked = _identity_fields(type(config))  # type: ignore[arg-type]
    if says_itself:
        return config.identity()
    values = ((name, getattr(config, name), switch, default) for name, switch, default in marked)
    return {name: value for name, value, switch, default in values if not (switch and value == default)}


@cache
def _identity_fields(kind: Any) -> tuple[bool, tuple[tuple[str, bool, Any], ...]]:
    """Whether a class says its identity itself; else its fields' names, which are switches, and their defaults."""
    if issubclass(kind, Identified):
        return True, ()
    named = (f for f in fields(kind) if f.metadata.get("identity", True))
    return False, tuple((f.name, f.metadata == UNLESS_DEFAULT, f.default) for f in named)


def faults(config: Any, *ranges: tuple[str, bool, str]) -> list[str]:
    """What is wrong with a config and those in it: what no Literal names, numbers out of their Range, and the like.

    Args:
        ranges: (field, whether its value is fine, what is expected), where that takes more than the field itself.
    """
    values = vars(config)
    kinds = _stated(type(config))  # type: ignore[arg-type]
    found = [fault for stated in kinds for fault in _field_faults(*stated, values[stated[0]])]
    return found + [f"{name} is {values[name]!r}, expected {expected}" for name, ok, expected in ranges if not ok]


def _field_faults(name: str, options: tuple[Any, ...], allowed: tuple[Range, ...], value: Any) -> Iterator[str]:
    if options and value not in options:
        yield f"unknown {name} {value!r}; {closest(str(value), options)}"
    if is_dataclass(value):
        yield from (f"{name}.{fault}" for fault in faults(value))
    for each in allowed:
        if not all(number in each for number in _numbers(value)):
            yield f"{name} is {value!r}, expected {each.words}"


def ranges_of(kind: Any) -> list[Range]:
    """The ranges that an annotation states, of what it is made of too."""
    own = [mark for mark in getattr(kind, "__metadata__", ()) if isinstance(mark, Range)]
    return own + [found for part in get_args(kind) for found in ranges_of(part)]


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, Mapping | tuple | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers(item)


@cache
def _stated(kind: type) -> tuple[tuple[str, tuple[Any, ...], tuple[Range, ...]], ...]:
    """Of each field its name, the values that its Literal names (none where it is no Literal), and its ranges."""
    hints = get_type_hints(kind, include_extras=True).items()
    options = {name: get_args(hint) if get_origin(hint) is Literal else () for name, hint in hints}
    return tuple((name, options[name], tuple(ranges_of(hint))) for name, hint in hints)


@dataclass(frozen=True)
class Selection:
    """Which LM parameters a prior covers: module groups (Table 4), and layer numbers from 0; None for all layers."""

    groups: tuple[Group, ...] = ("attn", "mlp")
    layers: tuple[Natural, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse a selection that is empty or names a thing twice.

        Raises:
            DriftError: what is empty, repeated or below 0.
        """
        for name, chosen in (("groups", self.groups), ("layers", self.layers)):
            if chosen is not None and (not chosen or len(set(chosen)) < len(chosen)):
                raise DriftError(f"selection.{name} is {list(chosen)}; expected at least one, each once")
        _refuse("selection", self)


@dataclass(frozen=True)
class PriorConfig:
    """Which direction is injected (section 3.3, Table 10) or, as a control, what stands in for it.

    `seed` draws the `random` and `shuffled` controls; the others draw nothing. `draw` counts several of one world.
    `rank` keeps so many singular pairs of each matrix's Delta, none all of it.
    """

    kind: PriorKind = "direct"
    seed: Natural = 0
    draw: Natural = field(default=0, metadata=UNLESS_DEFAULT)
    rank: Count | None = field(default=None, metadata=UNLESS_DEFAULT)

    def __post_init__(self) -> None:
        """Refuse a negative seed or draw, and a rank of nothing.

        Raises:
            DriftError: it is below 0, or a rank below 1.
        """
        _refuse("prior", self)

    @property
    def is_drawn(self) -> bool:
        """Whether the seed decides what comes out."""
        return self.kind in ("random", "shuffled")


@dataclass(frozen=True)
class MergeConfig:
    """A merge: a method of drift.merging in a variant, and those of its hyper-parameters that are not its defaults.

    `seed` draws DARE's masks; the other methods draw nothing.
    """

    method: str
    variant: Literal["br2v", "paper", "mergekit"] = "br2v"
    hyperparameters: Mapping[str, Strength | int | str] = field(default_factory=dict)
    seed: Natural = 0

    def __post_init__(self) -> None:
        """Refuse a negative seed; method and hyper-parameters are checked where the method's row is looked up.

        Raises:
            DriftError: it is below 0.
        """
        _refuse("merge", self)


@dataclass(frozen=True)
class FrismConfig:
    """FRISM's gates (drift.training.gates): what they learn on the SFT data's examples, and how long.

    `strengths` are the two that its paper does not publish: `scale` of what the gates let through, `weight` of letting
    more through. `rank` singular pairs of each matrix have a gate; all of a small one.
    """

    strengths: Mapping[str, Strength] = field(default_factory=lambda: {"scale": 1.0, "weight": 0.1})
    rank: Count = 64
    steps: Count = 100
    batch: Count = 8
    learning_rate: Positive = 0.05
    seed: Natural = 0
    image_max_pixels: Count | None = 262144
    image_backend: ImageBackend = "auto"

    def __post_init__(self) -> None:
        """Refuse what no gates can be learned with.

        Raises:
            DriftError: a number out of its range, or strengths that are not scale and weight.
        """
        _refuse("frism", self)
        if self.strengths and set(self.strengths) != {"scale", "weight"}:
            raise DriftError(f"frism.strengths are {', '.join(self.strengths)}; expected scale and weight")

    @property
    def scale(self) -> float:
        """Of what the gates let through."""
        return self.strengths["scale"]

    @property
    def weight(self) -> float:
        """Of letting more through."""
        return self.strengths["weight"]


def _refuse(name: str, config: Any) -> None:
    if found := faults(config):
        raise DriftError("; ".join(f"{name}.{fault}" for fault in found))
