"""What a study is, as data: `conf/study/*.yaml` (worlds, arms, how each is tuned) and `conf/claims/*.yaml`.

Both files, with the values that tuning chose, are the pre-registration: `Study.digest` is its name, every world carries
it, and worlds of another one are never pooled with these.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Protocol, Self

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from drift.errors import closest
from pipelines.compose import CONF
from pipelines.errors import ConfigError
from pipelines.study.claims import Expected

STRICT = with_config(ConfigDict(extra="forbid"))
Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Chosen(Protocol):
    """What tuning chose for an arm, as far as a registration names it."""

    @property
    def words(self) -> tuple[str, ...]: ...


@STRICT
@dataclass(frozen=True)
class Tune:
    """A positive knob of an arm: the values tried first, ascending, and how far tries beyond them may go.

    `words` are overrides in which {value} stands for the knob and {rest} for 1 - value.
    """

    words: tuple[str, ...]
    values: Annotated[tuple[Above, ...], Field(min_length=2)]
    most: Above = 1e6

    def overrides(self, value: float) -> tuple[str, ...]:
        """The words at one value."""
        return tuple(word.format(value=f"{value:.6g}", rest=f"{1 - value:.6g}") for word in self.words)

    def __post_init__(self) -> None:
        """Raises ValueError for values that do not ascend to `most`."""
        if list(self.values) != sorted(set(self.values)) or self.values[-1] > self.most:
            raise ValueError(f"values {self.values} do not ascend to at most {self.most:g}")


@STRICT
@dataclass(frozen=True)
class Borrow:
    """What another arm's knob came to, times `by`, as this arm's own `words`: a control at the strength of its row."""

    of: str
    words: tuple[str, ...]
    by: Above = 1.0


@STRICT
@dataclass(frozen=True)
class Arm:
    """One way to a checkpoint.

    Attributes:
        what: what it is, in the words of a table.
        borrows: the strength that was tuned for another arm.
        after: an arm whose tuned words it takes over; it is tuned after that one.
        none: the arm that it is where its knob is 0: what its trials have to beat; empty where there is no such thing.
        curves: the figures' curves that it is a point of, as `dose: SFT` or `budget: SFT`.
        perceives: whether it is asked the perception sets too.
    """

    what: str
    overrides: tuple[str, ...]
    tune: Tune | None = None
    borrows: Borrow | None = None
    after: str = ""
    none: str = ""
    curves: tuple[str, ...] = ()
    perceives: bool = False

    @property
    def brings_an_expert(self) -> bool:
        """Whether it takes another expert than its pair's; a world lacks it where that expert missed its gate."""
        return any(word.startswith("pair=") for word in self.overrides)


@STRICT
@dataclass(frozen=True)
class Plan:
    """A pair's part of a study: how many worlds that count, and which arms (none is all)."""

    worlds: Annotated[int, Field(ge=1)]
    arms: tuple[str, ...] = ()


@STRICT
@dataclass(frozen=True)
class Claim:
    """A contrast, written down before the worlds were drawn.

    Attributes:
        sentence: what is claimed, to be read with the verdict behind it.
        answers: the table or figure of the paper that it answers; empty for a question that the paper does not ask.
        first, second: arms; an effect is first minus second. `best: a, b` is the arm of these that scored best
            in tuning.
        metric: `average` over the reasoning suites, `perception` over the perception sets, or one column.
        smallest: the smallest effect that matters, in points.
    """

    name: str
    sentence: str
    first: str
    second: str
    expected: Expected
    budget: str
    answers: str = ""
    metric: str = "average"
    smallest: Above = 1.0
    pair: str = ""


@STRICT
@dataclass(frozen=True)
class Study:
    """A study with its claims.

    Attributes:
        common: overrides of every arm.
        perception: what asks the perception sets.
        pairs: pair -> its plan; claims that name no pair are about the first, and values are chosen for the first.
        tuning: seeds of the worlds that values are chosen in, by their validation draw; none of them is reported.
        trials: how many values of its knob every tuned arm gets to try.
        elsewhere: what of the paper no claim answers -> where it is answered.
    """

    name: str
    title: str
    common: tuple[str, ...]
    perception: tuple[str, ...]
    pairs: Mapping[str, Plan]
    tuning: Annotated[tuple[int, ...], Field(min_length=1)]
    trials: Annotated[int, Field(ge=2)]
    arms: Mapping[str, Arm]
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()

    def __post_init__(self) -> None:
        """Refuses names that nothing has, and worlds that were tuned on.

        Raises:
            ValueError: says which.
        """
        for name, arm in self.arms.items():
            for other in {arm.after, arm.borrows.of if arm.borrows else ""} - {""}:
                if not (other in self.arms and self.arms[other].tune):
                    raise ValueError(f"arm {name} takes what was tuned for {other!r}, which is no tuned arm")
            if arm.tune and len(arm.tune.values) > self.trials:
                raise ValueError(
                    f"arm {name} starts with {len(arm.tune.values)} values; there are {self.trials} trials"
                )
        named = {arm for plan in self.pairs.values() for arm in plan.arms} | {arm.none for arm in self.arms.values()}
        for name in sorted((named | set(self._claimed())) - {""}):
            if name not in self.arms:
                raise ValueError(f"no arm is called {name!r}: {closest(name, self.arms)}")
        if seen := [seed for seed in self.tuning if seed < max(plan.worlds for plan in self.pairs.values())]:
            raise ValueError(f"world {seen[0]} is tuned on and reported on; give tuning seeds beyond the worlds")

    def _claimed(self) -> list[str]:
        return [arm for claim in self.claims for side in (claim.first, claim.second) for arm in options(side)]

    @property
    def first(self) -> str:
        """The pair that values are chosen for."""
        return next(iter(self.pairs))

    def of(self, claim: Claim) -> str:
        """The pair that a claim is about."""
        return claim.pair or self.first

    def arms_of(self, pair: str) -> dict[str, Arm]:
        """A pair's arms, in the study's order."""
        asked = self.pairs[pair].arms or self.arms
        return {name: arm for name, arm in self.arms.items() if name in asked}

    @cached_property
    def design(self) -> dict[str, Any]:
        """All of it as plain values."""
        return TypeAdapter(Study).dump_python(self, mode="json")

    def digest(self, tuned: Mapping[str, Chosen]) -> str:
        """The pre-registration's name: the sha256 of the design, the claims and what tuning chose."""
        chosen = {name: each.words for name, each in tuned.items()}
        registered = json.dumps({"design": self.design, "tuned": chosen}, sort_keys=True)
        return hashlib.sha256(registered.encode()).hexdigest()

    @classmethod
    def load(cls, name: str, conf: Path = CONF) -> Self:
        """`conf/study/<name>.yaml` with every claim of `conf/claims/<name>/`.

        Raises:
            ConfigError: no such study, or a file that does not fit.
        """
        path = conf / "study" / f"{name}.yaml"
        if not path.exists():
            raise ConfigError(f"no study {name!r}: {closest(name, [p.stem for p in path.parent.glob('*.yaml')])}")
        paths = sorted((conf / "claims" / name).glob("*.yaml"))
        claims = [{"name": each.stem, **yaml.safe_load(each.read_text())} for each in paths]
        try:
            values = {"name": name, "claims": claims, **yaml.safe_load(path.read_text())}
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            raise ConfigError(f"{path} and its claims are no study: {error}") from None


def options(side: str) -> list[str]:
    """The arms that one side of a claim may be: one, or the best of several."""
    return [name.strip() for name in side.removeprefix("best:").split(",")]
