"""Everything that defines a laboratory world, as frozen dataclasses that can be hashed; no torch in here.

The values are in conf/world: `lab`, the world the tables are made in, and `smoke`, the same path at toy size with its
gates lowered to "it ran" (a smoke world has learnt next to nothing, so no number from it means anything). `seed` drives
what a world draws: initial weights, training problems, benchmark problems. Renderer, pools and templates are fixed.

Differs from the recipe this world was designed with:
- The tower's learning rate in the MLLM stage is 3e-4 for 1e-3, and its first stage has 300 steps for 150.
- Gates are floors below the scatter over seeds and families (see Gates): worlds 0 to 2 of the Qwen-VL families read
  four digits .86 to .915 of the time, always on drawings never seen, LLaVA-NeXT's and Idefics2's .72 to .835, and no
  variant of the MLLM stage was clearly better.
- The WeMath stand-in counts groups, not items.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from drift.errors import DriftError

SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Distance:
    """How far an expert's weights are to lie from its base's.

    Args:
        rate: share of the expert's learning rate that it is trained at.
        permuted: share of each layer's MLP units that are then permuted, which moves the weights and not the function.
    """

    rate: float = 1.0
    permuted: float = 0.0


# `far` and `farthest` are the near expert, permuted: one function at three distances.
DISTANCES = {
    "near": Distance(rate=0.4),
    "default": Distance(),
    "far": Distance(rate=0.4, permuted=0.5),
    "farthest": Distance(rate=0.4, permuted=1.0),
}


@dataclass(frozen=True)
class LanguageShape:
    """The LM of base, expert and MLLM. theta is small because a head of 16 at 1e4 has no frequency left for width."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    rope_theta: float
    mrope_section: tuple[int, int, int]


@dataclass(frozen=True)
class VisionShape:
    """The vision tower: patches of 4 merged 2x2, so that one 8x8 cell is one token; every layer attends to all."""

    hidden: int
    depth: int
    heads: int
    feed_forward: int


@dataclass(frozen=True)
class Schedule:
    """AdamW with linear warm-up (a share of the steps) and a cosine to zero; gradients clipped to norm `clip`."""

    steps: int
    learning_rate: float
    batch: int
    weight_decay: float
    betas: tuple[float, float]
    warmup: float
    clip: float


@dataclass(frozen=True)
class TunedSchedule(Schedule):
    """The MLLM's schedule: the vision tower has a learning rate of its own."""

    vision_learning_rate: float


@dataclass(frozen=True)
class Gates:
    """What a world must reach, as fractions in [0, 1], each measured on `problems` validation problems.

    Floors that a broken world misses by far, with room for another machine's last bits to move a sound one. The recipe
    asks for .98 on cells, .90 on four digits and at most .60 thinking. The MLLM's suites are drawn anew for its gates,
    `suite_items` problems and `wemath_groups` groups, so that the size of a benchmark decides nothing about a model.
    """

    expert_text: float
    near_expert_text: float
    cell_accuracy: float
    reads_four: float
    think_low: float
    think_high: float
    problems: int
    suite_items: int
    wemath_groups: int


@dataclass(frozen=True)
class WorldConfig:
    """One world: its name, its sizes and its seed, which is the run's own and no key of conf/world.

    A size of 0 is one that does not count for what is made (see `counting`).

    Raises:
        DriftError: every number that is out of range, in one message.
    """

    name: str
    language: LanguageShape
    vision: VisionShape
    base: Schedule
    expert: Schedule
    cells: Schedule
    mllm: TunedSchedule
    sft_items: int
    suite_items: int
    wemath_groups: int
    gates: Gates
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers out of range.

        Raises:
            DriftError: every one of them, in one message.
        """
        faults = list(_faults("world", asdict(self)))
        if faults:
            raise DriftError("\n".join(faults))

    def counting(self, *sizes: str) -> "WorldConfig":
        """The world with, of its data sizes, only those named: changing another one then makes nothing anew."""
        names = ("sft_items", "suite_items", "wemath_groups")
        others: dict[str, Any] = {name: 0 for name in names if name not in sizes}
        return replace(self, **others)


_COUNTS = ("steps", "batch", "hidden", "depth", "layers", "heads", "kv_heads", "feed_forward", "problems")
_ABOVE_ZERO = ("learning_rate", "vision_learning_rate", "clip", "rope_theta")
_SHARES = ("warmup", "expert_text", "near_expert_text", "cell_accuracy", "reads_four", "think_low", "think_high")


def _faults(place: str, fields: Mapping[str, object]) -> Iterator[str]:
    """What is out of range below one config, as `place.name is value; expected ...`."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _faults(f"{place}.{name}", value)
        elif isinstance(value, int | float):
            ok, expected = _range_of(name, value)
            if not (ok and math.isfinite(value)):
                yield f"{place}.{name} is {value}; expected {expected}"


def _range_of(name: str, value: float) -> tuple[bool, str]:
    if name in _COUNTS:
        return value >= 1, "1 or more"
    if name in _ABOVE_ZERO:
        return value > 0, "a number above 0"
    if name in _SHARES:
        return 0 <= value <= 1, "a share in [0, 1]"
    return value >= 0, "0 or more"


def sub_seed(seed: int, purpose: str) -> int:
    """A seed of 63 bits for one named purpose, so that adding a draw somewhere leaves every other draw as it was."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
