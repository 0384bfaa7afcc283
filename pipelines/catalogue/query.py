"""The language of `drift ls`: `method=drift alpha<0 seed=1,2`, every condition on a setting or a score."""

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from drift.errors import closest
from pipelines.aliases import ALIASES
from pipelines.catalogue.runs import Run, Value
from pipelines.errors import ConfigError

_CONDITION = re.compile(r"(?P<key>[\w.]+)\s*(?P<sign><=|>=|!=|=|<|>)\s*(?P<text>.*)")
_ORDERED: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
}  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """A setting or score held against a value; after `=` and `!=` there may be several, with commas between them."""

    key: str
    sign: str
    text: str

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Whether the run with these settings and scores is meant; one that has no such setting is not."""
        found = values.get(self.key)
        if self.sign in _ORDERED:
            return is_number(found) and _ORDERED[self.sign](float(found), float(self.text))  # type: ignore[arg-type]
        return any(_equal(found, text) for text in self.text.split(",")) == (self.sign == "=")


def is_condition(word: str) -> bool:
    """Whether a word reads as one."""
    return bool(_CONDITION.fullmatch(word))


def conditions(words: Sequence[str], names: "Names") -> list[Condition]:
    """The conditions that words state.

    Raises:
        ConfigError: a word that is none, an unknown or ambiguous key, or no number after < or >.
    """
    found = []
    for word in words:
        match = _CONDITION.fullmatch(word)
        if match is None:
            raise ConfigError(f"{word!r} is no condition; expected method=drift, 'alpha<0', seed=1,2 or split!=test")
        condition = Condition(names.whole(match["key"]), match["sign"], match["text"])
        if condition.sign in _ORDERED and not is_number(condition.text):
            raise ConfigError(f"{word!r}: {condition.text!r} is no number, and only numbers are ordered")
        found.append(condition)
    return found


class Names:
    """Short names for long keys: the last parts of a key mean the least nested one that ends so, if it is one only."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = sorted(set(keys))

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "Names":
        return cls(key for run in runs for key in (*run.settings, *run.scores))

    def whole(self, name: str) -> str:
        """The key that a name means.

        Raises:
            ConfigError: none, or several.
        """
        name = ALIASES.get(name, name)
        if name in self._keys:
            return name
        ending = [key for key in self._keys if key.endswith(f".{name}")]
        nearest = [key for key in ending if key.count(".") == min(other.count(".") for other in ending)]
        if len(nearest) == 1:
            return nearest[0]
        if nearest:
            raise ConfigError(f"{name!r} may be {' or '.join(nearest)}; say which")
        known = {key.rpartition(".")[2] for key in self._keys} | set(ALIASES)
        raise ConfigError(f"no run has a setting {name!r}: {closest(name, sorted(known))}")

    def short(self, key: str) -> str:
        """The shortest name that means the key."""
        parts = key.split(".")
        if alias := next((alias for alias, meant in ALIASES.items() if meant == key), ""):
            return alias
        endings = [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        return next(name for name in endings if self._means(name, key))

    def _means(self, name: str, key: str) -> bool:
        try:
            return self.whole(name) == key
        except ConfigError:
            return False


def varying(runs: Sequence[Run]) -> list[str]:
    """The settings in which the runs differ, without those that follow from another one of them."""
    found: dict[str, tuple[str, ...]] = {}
    for key in dict.fromkeys(key for run in runs for key in run.settings):
        values = tuple(repr(run.settings.get(key)) for run in runs)
        if len(set(values)) > 1 and not any(_same_partition(values, other) for other in found.values()):
            found[key] = values
    return list(found)


def _same_partition(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether either tells exactly the runs apart that the other does: world.seed and train.seed, say."""
    pairs = set(zip(one, other, strict=True))
    return len(pairs) == len(set(one)) == len(set(other))


def is_number(value: object) -> bool:
    """Whether it is a number, or a text that reads as one."""
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool)


def _equal(found: Value, text: str) -> bool:
    if is_number(found) and is_number(text):
        return float(found) == float(text)  # type: ignore[arg-type]
    return str(found).lower() == text.lower()
