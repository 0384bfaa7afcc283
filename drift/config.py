"""What configs share: marks on fields, and the small choices that several components take. Light: no torch.

A component owns a frozen dataclass; `conf/` composes that very class and a stage's parameters hold it whole. A field
marked RUNTIME says how a thing runs, never what comes out, so it is no part of an artifact's identity.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol, get_args, get_origin, get_type_hints, runtime_checkable

from drift.choices import Group, PriorKind
from drift.errors import DriftError, closest

RUNTIME: Mapping[str, bool] = {"identity": False}
"""Metadata of a field that changes no result: `field(default=8, metadata=RUNTIME)`."""
UNLESS_DEFAULT: Mapping[str, str] = {"identity": "unless default"}
"""Metadata of a switch that an identity names only where it is on: what is made without it keeps its name."""


@runtime_checkable
class Identified(Protocol):
    """A config that says itself what it is, where that is not its fields."""

    def identity(self) -> dict[str, Any]: ...


def identity_of(config: Any) -> dict[str, Any]:
    """The fields of a config by name, those whose mark leaves them out excepted; nested configs stay as they are."""
    if isinstance(config, Identified):
        return config.identity()
    values = {f.name: getattr(config, f.name) for f in fields(config) if f.metadata.get("identity", True)}
    idle = {f.name for f in fields(config) if f.metadata == UNLESS_DEFAULT and values[f.name] == f.default}
    return {name: value for name, value in values.items() if name not in idle}


def faults(config: Any, *ranges: tuple[str, bool, str]) -> list[str]:
    """What is wrong with a config: values that their Literal does not name, and ranges that don't hold.

    Args:
        ranges: (field, whether its value is fine, what is expected).
    """
    values = vars(config)
    choices = {
        name: get_args(kind) for name, kind in get_type_hints(type(config)).items() if get_origin(kind) is Literal
    }
    unknown = [
        f"unknown {name} {values[name]!r}; {closest(str(values[name]), known)}"
        for name, known in choices.items()
        if values[name] not in known
    ]
    return unknown + [f"{name} is {values[name]!r}, expected {expected}" for name, ok, expected in ranges if not ok]


@dataclass(frozen=True)
class Selection:
    """Which LM parameters a prior covers: module groups (Table 4), and layer numbers from 0; None for all layers."""

    groups: tuple[Group, ...] = ("attn", "mlp")
    layers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse a selection that is empty or names a thing twice.

        Raises:
            DriftError: what is empty, repeated or below 0.
        """
        for name, chosen in (("groups", self.groups), ("layers", self.layers)):
            if chosen is not None and (not chosen or len(set(chosen)) < len(chosen)):
                raise DriftError(f"selection.{name} is {list(chosen)}; expected at least one, each once")
        if self.layers is not None and min(self.layers) < 0:
            raise DriftError(f"selection.layers is {list(self.layers)}; layers are numbered from 0")


@dataclass(frozen=True)
class PriorConfig:
    """Which direction is injected (section 3.3, Table 10) or, as a control, what stands in for it.

    `seed` draws the `random` and `shuffled` controls; the others draw nothing.
    """

    kind: PriorKind = "direct"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a negative seed.

        Raises:
            DriftError: it is below 0.
        """
        if self.seed < 0:
            raise DriftError(f"prior.seed is {self.seed}; expected 0 or more")

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
    hyperparameters: Mapping[str, float | int | str] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a negative seed; method and hyper-parameters are checked where the method's row is looked up.

        Raises:
            DriftError: it is below 0.
        """
        if self.seed < 0:
            raise DriftError(f"merge.seed is {self.seed}; expected 0 or more")
