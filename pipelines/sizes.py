"""How large a model is, from the shape of its language model: the same formula for a lab's world and for a hub's.

What is known of published repositories is data, in conf/repositories.yaml. Light: no torch, no network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ConfigDict, TypeAdapter, with_config

FACTS = Path(__file__).resolve().parent.parent / "conf" / "repositories.yaml"
STRICT = with_config(ConfigDict(extra="forbid"))
_UNKNOWN = "unknown"


@STRICT
@dataclass(frozen=True)
class Shape:
    """A decoder with grouped-query attention and a gated MLP; biases are left out (a part in ten thousand)."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocab: int
    tied: bool

    def groups(self) -> dict[str, int]:
        """Parameters by the module groups of a prior (drift.selection), and the embeddings."""
        queries = 2 * self.hidden * self.hidden
        keys = 2 * self.hidden * self.hidden * self.kv_heads // self.heads
        return {
            "attn": self.layers * (queries + keys),
            "mlp": self.layers * 3 * self.hidden * self.feed_forward,
            "norm": (2 * self.layers + 1) * self.hidden,
            "lm_head": 0 if self.tied else self.hidden * self.vocab,
            "embedding": self.hidden * self.vocab,
        }


@dataclass(frozen=True)
class Size:
    """A checkpoint: its language model, the parameters beside it, and the bytes that one takes on disk."""

    shape: Shape
    other: int
    bytes_each: int

    @property
    def parameters(self) -> int:
        return sum(self.shape.groups().values()) + self.other

    @property
    def bytes(self) -> int:
        return self.parameters * self.bytes_each

    def of_groups(self, names: Sequence[str]) -> int:
        """Parameters of the language model's named groups."""
        groups = self.shape.groups()
        return sum(groups[name] for name in names)


@STRICT
@dataclass(frozen=True)
class Repository:
    """What anybody who takes something from a hub repository agrees to."""

    licence: str
    gated: Literal["no", "contact", "request"]


@STRICT
@dataclass(frozen=True)
class Model(Repository):
    """A hub repository with a checkpoint."""

    shape: str
    other: int
    bytes_each: int


@STRICT
@dataclass(frozen=True)
class Dataset(Repository):
    """A hub repository with SFT examples."""

    examples: int
    bytes: int


@STRICT
@dataclass(frozen=True)
class _Facts:
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
    data: Mapping[str, Dataset] = field(default_factory=dict)
    items: Mapping[str, int] = field(default_factory=dict)


@cache
def facts() -> _Facts:
    """What conf/repositories.yaml says."""
    return TypeAdapter(_Facts).validate_python(yaml.safe_load(FACTS.read_text()))


def of_repository(repo: str) -> Size:
    """The size of a published checkpoint; one that nobody wrote down counts as Llama 3's 8 billion in bf16."""
    known = facts().models.get(repo)
    if known is None:
        return Size(facts().shapes["llama3_8b"], 0, 2)
    return Size(facts().shapes[known.shape], known.other, known.bytes_each)


def terms(repo: str) -> tuple[str, str]:
    """A repository's licence and gate, as far as they are written down."""
    known = facts().models.get(repo) or facts().data.get(repo)
    return (known.licence, known.gated) if known else (_UNKNOWN, _UNKNOWN)
