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
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from drift.config import UNLESS_DEFAULT, Count, LessThanOne, Natural, NotNegative, Positive, Share, SomeShare, faults
from drift.errors import DriftError

SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Distance:
    """How far an expert's weights are to lie from its base's.

    Args:
        rate: share of the expert's learning rate that it is trained at.
        permuted: share of each layer's MLP units that are then permuted, which moves the weights and not the function.
    """

    rate: SomeShare = 1.0
    permuted: Share = 0.0


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

    hidden: Count
    layers: Count
    heads: Count
    kv_heads: Count
    feed_forward: Count
    rope_theta: Positive
    mrope_section: tuple[Natural, Natural, Natural]


@dataclass(frozen=True)
class VisionShape:
    """The vision tower: patches of 4 merged 2x2, so that one 8x8 cell is one token; every layer attends to all."""

    hidden: Count
    depth: Count
    heads: Count
    feed_forward: Count


@dataclass(frozen=True)
class Schedule:
    """AdamW with linear warm-up (a share of the steps) and a cosine to zero; gradients clipped to norm `clip`."""

    steps: Count
    learning_rate: Positive
    batch: Count
    weight_decay: NotNegative
    betas: tuple[LessThanOne, LessThanOne]
    warmup: Share
    clip: Positive


@dataclass(frozen=True)
class TunedSchedule(Schedule):
    """The MLLM's schedule: the vision tower has a learning rate of its own."""

    vision_learning_rate: Positive


@dataclass(frozen=True)
class Gates:
    """What a world must reach, as fractions in [0, 1], each measured on `problems` validation problems.

    Floors that a broken world misses by far, with room for another machine's last bits to move a sound one. The recipe
    asks for .98 on cells, .90 on four digits and at most .60 thinking. The MLLM's suites are drawn anew for its gates,
    `suite_items` problems and `wemath_groups` groups, so that the size of a benchmark decides nothing about a model.
    The expert of another skill has `other_skill` of its counts right, and at most `other_skill_reasons` of what the
    suites ask for: with digits as answers, .1 is chance.
    """

    expert_text: Share
    near_expert_text: Share
    cell_accuracy: Share
    reads_four: Share
    think_low: Share
    think_high: Share
    problems: Count
    suite_items: Natural
    wemath_groups: Natural
    other_skill: Share = field(default=0.0, metadata=UNLESS_DEFAULT)
    other_skill_reasons: Share = field(default=1.0, metadata=UNLESS_DEFAULT)


@dataclass(frozen=True)
class WorldConfig:
    """One world: its name, its sizes and its seed, which is the run's own and no key of conf/world.

    `problems` says whether training, validation and test may share some (pipelines.lab.parting). A size of 0 is one
    that does not count for what is made (see `counting`).

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
    sft_items: Natural
    suite_items: Natural
    wemath_groups: Natural
    gates: Gates
    seed: Natural = 0
    problems: Literal["shared", "parted"] = field(default="shared", metadata=UNLESS_DEFAULT)

    def __post_init__(self) -> None:
        """Refuse numbers out of range.

        Raises:
            DriftError: every one of them, in one message.
        """
        if found := faults(self):
            raise DriftError("\n".join(f"world.{fault}" for fault in found))

    def counting(self, *sizes: str) -> "WorldConfig":
        """The world with, of its data sizes, only those named: changing another one then makes nothing anew."""
        names = ("sft_items", "suite_items", "wemath_groups")
        others: dict[str, Any] = {name: 0 for name in names if name not in sizes}
        return replace(self, **others)


def sub_seed(seed: int, purpose: str) -> int:
    """A seed of 63 bits for one named purpose, so that adding a draw somewhere leaves every other draw as it was."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
