"""What each stage trains on: mixes of problems, drawn fresh at every step from one random stream.

A mix is a table of rows: share, tasks, lengths, with a chain of thought or a direct answer, digits as text or as image.

Differs from the recipe: the text models count more often ("drill") than problems of "any" task do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from pipelines.lab.language import ANY_WEIGHTS, DRAWS, DRILL_WEIGHTS, Problem, draw_any

LONG = (2, 3, 4, 4, 5, 5, 6)
ICON_SHARE = 0.1
ICON_LENGTHS = (2, 3, 4)
WEIGHTS = {"any": ANY_WEIGHTS, "drill": DRILL_WEIGHTS}


@dataclass(frozen=True, slots=True)
class Exercise:
    """A problem as it is posed: with or without the word "think", its digits shown as an image or as text."""

    problem: Problem
    think: bool
    image: bool


@dataclass(frozen=True)
class Row:
    """`share` of a mix: one of `tasks` (drawn uniformly; "any" and "drill" weigh them) over a length of `lengths`."""

    share: float
    tasks: tuple[str, ...]
    lengths: tuple[int, ...]
    think: bool = False
    image: bool = False


BASE = (
    Row(0.10, ("read",), (2, 3, 4, 5, 6)),
    Row(0.08, ("pos",), (2, 3, 4, 5, 6)),
    Row(0.37, ("fold",), (2,)),
    Row(0.07, ("fold", "next"), (3,)),
    Row(0.38, ("drill",), (2, 3), think=True),
)
EXPERT = (Row(1.0, ("drill",), LONG, think=True),)
SHORT_CHAINS = (Row(1.0, ("any",), (2, 3), think=True),)
LONG_CHAINS = (Row(1.0, ("any",), LONG, think=True),)
IMAGES = (
    Row(0.35, ("read",), (1, 2, 3, 4, 5, 6), image=True),
    Row(0.10, ("pos",), (1, 2, 3, 4, 5, 6), image=True),
    Row(0.07, ("icon",), (1, 2, 3, 4, 5, 6), image=True),
    Row(0.18, ("fold",), (2,), image=True),
    Row(0.05, ("fold", "next"), (3,), image=True),
    Row(0.25, ("any",), (2, 2, 3), think=True, image=True),
)


def scaled(mix: Sequence[Row], share: float) -> tuple[Row, ...]:
    """The same mix with every share multiplied, to be put beside another one."""
    return tuple(Row(row.share * share, row.tasks, row.lengths, row.think, row.image) for row in mix)


MLLM = (*scaled(IMAGES, 0.8), *scaled(BASE, 0.2))


def draw_exercises(mix: Sequence[Row], rng: Random, n: int) -> list[Exercise]:
    """n exercises of a mix, each drawn independently."""
    exercises = []
    for row in rng.choices(mix, [r.share for r in mix], k=n):
        if row.tasks[0] in WEIGHTS:
            problem = draw_any(rng, row.lengths, WEIGHTS[row.tasks[0]])
        else:
            problem = DRAWS[rng.choice(row.tasks)](rng, rng.choice(row.lengths))
        exercises.append(Exercise(problem, row.think, row.image))
    return exercises


def draw_reasoning(rng: Random, lengths: Sequence[int]) -> Problem:
    """Any reasoning task; of lengths up to 4 one in ten shows its operator as a glyph instead of naming it."""
    n = rng.choice(lengths)
    if n in ICON_LENGTHS and rng.random() < ICON_SHARE:
        return DRAWS["icon-fold"](rng, n)
    return draw_any(rng, (n,))
