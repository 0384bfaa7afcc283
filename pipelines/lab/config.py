"""Everything that defines a laboratory world, as frozen dataclasses that can be hashed; no torch in here.

Two presets: `LAB`, the world the tables are made in, and `SMOKE`, the same path at toy size with its gates lowered to
"it ran" (a smoke world has learnt next to nothing, so no number from it means anything). `seed` drives what a world
draws: initial weights, training problems, benchmark problems. Renderer, digit pools, templates and schedules are fixed.

Differs from the recipe this world was designed with:
- The tower's learning rate in the MLLM stage is 3e-4 for 1e-3, and its first stage has 300 steps for 150.
- Gates are floors below the scatter over seeds and families (see Gates): worlds 0 to 2 of the Qwen-VL families read
  four digits .86 to .915 of the time, always on drawings never seen, LLaVA-NeXT's and Idefics2's .72 to .835, and no
  variant of the MLLM stage was clearly better.
- The WeMath stand-in counts groups, not items.
"""

import hashlib
from dataclasses import dataclass, field

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

    hidden: int = 64
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 128
    rope_theta: float = 20.0
    mrope_section: tuple[int, int, int] = (1, 1, 6)


@dataclass(frozen=True)
class VisionShape:
    """The vision tower: patches of 4 merged 2x2, so that one 8x8 cell is one token; every layer attends to all."""

    hidden: int = 48
    depth: int = 2
    heads: int = 4
    feed_forward: int = 96


@dataclass(frozen=True)
class Schedule:
    """AdamW with linear warm-up (a share of the steps) and a cosine to zero; gradients clipped to norm `clip`."""

    steps: int
    learning_rate: float
    batch: int = 32
    vision_learning_rate: float = 0.0
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    warmup: float = 0.05
    clip: float = 1.0


@dataclass(frozen=True)
class Gates:
    """What a world must reach, as fractions in [0, 1], each measured on `problems` validation problems.

    Floors that a broken world misses by far, with room for another machine's last bits to move a sound one. The recipe
    asks for .98 on cells, .90 on four digits and at most .60 thinking.
    """

    expert_text: float = 0.95
    near_expert_text: float = 0.85
    cell_accuracy: float = 0.95
    reads_four: float = 0.65
    think_low: float = 0.25
    think_high: float = 0.70
    problems: int = 200


@dataclass(frozen=True)
class WorldConfig:
    """One world: its name, its seed and its sizes. `dataclasses.asdict` of it is its identity."""

    name: str = "lab"
    seed: int = 0
    language: LanguageShape = field(default_factory=LanguageShape)
    vision: VisionShape = field(default_factory=VisionShape)
    base: Schedule = field(default_factory=lambda: Schedule(steps=2500, learning_rate=3e-3))
    expert: Schedule = field(default_factory=lambda: Schedule(steps=1500, learning_rate=2e-3))
    cells: Schedule = field(
        default_factory=lambda: Schedule(steps=300, learning_rate=3e-3, batch=64, weight_decay=0.05)
    )
    mllm: Schedule = field(
        default_factory=lambda: Schedule(steps=1000, learning_rate=1.5e-3, vision_learning_rate=3e-4)
    )
    sft_items: int = 600
    suite_items: int = 100
    wemath_groups: int = 30
    gates: Gates = field(default_factory=Gates)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise DriftError(f"a world's seed is a number from 0 up, found {self.seed}")


LAB = WorldConfig()

SMOKE = WorldConfig(
    name="smoke",
    base=Schedule(steps=120, learning_rate=3e-3),
    expert=Schedule(steps=60, learning_rate=2e-3),
    cells=Schedule(steps=40, learning_rate=3e-3, batch=64, weight_decay=0.05),
    mllm=Schedule(steps=60, learning_rate=1.5e-3, vision_learning_rate=1e-3),
    sft_items=48,
    suite_items=12,
    wemath_groups=4,
    gates=Gates(
        expert_text=0.0,
        near_expert_text=0.0,
        cell_accuracy=0.3,
        reads_four=0.0,
        think_low=0.0,
        think_high=1.0,
        problems=24,
    ),
)


def sub_seed(seed: int, purpose: str) -> int:
    """A seed of 63 bits for one named purpose, so that adding a draw somewhere leaves every other draw as it was."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
