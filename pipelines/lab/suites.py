"""The benchmarks' problems: five reasoning suites that stand in for the paper's, and three perception sets.

Problems and strips are drawn per world and split; the drawings come from the split's own pool.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

import numpy as np

from pipelines.lab.config import WorldConfig, sub_seed
from pipelines.lab.images import Strip, draw_strip, load_pool
from pipelines.lab.language import DRAWS, OPERATORS, Problem, apply_fold, calc
from pipelines.lab.mixes import TAUGHT, draw_reasoning
from pipelines.lab.parting import Fits, anything, distinct, draw_fitting, fitting


@dataclass(frozen=True)
class Row:
    """One row of a benchmark; `group` and `key` are WeMath's ID and key, empty elsewhere."""

    problem: Problem
    strip: Strip
    group: str = ""
    key: str = ""


SHARED: dict[str, Callable[[Random], Problem]] = {
    "LabMathVista": lambda rng: draw_reasoning(rng, (2, 3, 4)),
    "LabMathVision": lambda rng: DRAWS[rng.choice(("fold", "calc"))](rng, rng.choice((5, 6))),
    "LabMathVerse": lambda rng: DRAWS["icon-fold"](rng, rng.choice((2, 3, 4))),
    "LabLogicVista": lambda rng: DRAWS["next"](rng, rng.choice((3, 4, 5))),
    "LabReading": lambda rng: DRAWS["read"](rng, rng.randint(1, 6)),
    "LabPosition": lambda rng: DRAWS["pos"](rng, rng.randint(2, 6)),
    "LabIcon": lambda rng: DRAWS["icon"](rng, rng.randint(1, 6)),
}
# Three digits and more: a shorter problem belongs to no part.
PARTED: dict[str, Callable[[Random], Problem]] = {
    "LabMathVista": lambda rng: draw_reasoning(rng, (3, 3, 4), TAUGHT),
    "LabMathVision": SHARED["LabMathVision"],
    "LabMathVerse": lambda rng: DRAWS["icon-fold"](rng, rng.choice((3, 4))),
    "LabLogicVista": lambda rng: DRAWS["turns"](rng, rng.choice((3, 4, 5))),
    "LabReading": lambda rng: DRAWS["read"](rng, rng.randint(3, 6)),
    "LabPosition": lambda rng: DRAWS["pos"](rng, rng.randint(3, 6)),
    "LabIcon": lambda rng: DRAWS["icon"](rng, rng.randint(3, 6)),
}
SUITES = tuple(SHARED)
GROUPED = "LabWeMath"
REASONING = ("LabMathVista", "LabMathVision", "LabMathVerse", GROUPED, "LabLogicVista")
PERCEPTION = ("LabReading", "LabPosition", "LabIcon")


def draw_group(rng: Random, steps: int, fits: Fits = anything) -> list[tuple[str, Problem]]:
    """A calc of `steps` operations after its one-step items, keyed as in WeMath's file: "2steps_1", "2steps_multi".

    One-step item i starts from the value that the multi-step item has after i - 1 steps.
    """
    long = draw_fitting(lambda: DRAWS["calc"](rng, steps + 1), fits)
    digits, operators = long.digits, [OPERATORS[sign] for sign in long.question.split()[1:-1]]
    value, items = digits[0], []
    for i, (operator, digit) in enumerate(zip(operators, digits[1:], strict=True), start=1):
        items.append((f"{steps}steps_{i}", calc((value, digit), [operator])))
        value = apply_fold(operator, value, digit)
    return [*items, (f"{steps}steps_multi", long)]


def draw_suite(config: WorldConfig, split: str, name: str) -> list[Row]:
    """The rows of one suite of one split ("validation" or "test")."""
    seed = sub_seed(config.seed, f"{split} {name}")
    rng, pixels, pool = Random(seed), np.random.default_rng(seed), load_pool(split)
    fits = anything if config.problems == "shared" else distinct(fitting(config, split))
    if name != GROUPED:
        draw = partial((SHARED if config.problems == "shared" else PARTED)[name], rng)
        problems = [draw_fitting(draw, fits) for _ in range(config.suite_items)]
        return [Row(p, draw_strip(p, pool, pixels)) for p in problems]
    rows, counts = [], {2: 0, 3: 0}
    for number in range(config.wemath_groups):
        steps = 2 + number % 2
        counts[steps] += 1
        group = draw_group(rng, steps, fits)
        rows += [Row(p, draw_strip(p, pool, pixels), f"{steps}steps_{counts[steps]}", key) for key, p in group]
    return rows
