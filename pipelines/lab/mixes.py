"""What each stage trains on: mixes of problems, drawn fresh at every step from one random stream.

A mix is a table of rows: share, tasks, lengths, with a chain of thought or a direct answer, digits as text or as image.

Differs from the recipe: the text models count more often ("drill") than problems of "any" task do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from pipelines.lab.config import WorldConfig
from pipelines.lab.language import ANY, DRAWS, DRILL, Problem, draw_any
from pipelines.lab.parting import Fits, anything, draw_fitting

LONG = (2, 3, 4, 4, 5, 5, 6)
ICON_SHARE = 0.1
ICON_LENGTHS = (2, 3, 4)
# "taught" is what a parted world reasons about: counting is left to the expert of another skill.
TAUGHT: Mapping[str, float] = {"fold": 0.45, "calc": 0.25, "turns": 0.30}
WEIGHTS = {"any": ANY, "drill": DRILL, "taught": TAUGHT}


@dataclass(frozen=True, slots=True)
class Exercise:
    """A problem as it is posed: with or without the word "think", its digits shown as an image or as text."""

    problem: Problem
    think: bool
    image: bool


@dataclass(frozen=True)
class Row:
    """`share` of a mix: one of `tasks` (drawn uniformly, but for those of WEIGHTS) over a length of `lengths`."""

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


@dataclass(frozen=True)
class Course:
    """What the models of a world learn, and what their gates ask in text."""

    base: tuple[Row, ...]
    expert: tuple[Row, ...]
    images: tuple[Row, ...]
    mllm: tuple[Row, ...]
    short_chains: tuple[Row, ...]
    long_chains: tuple[Row, ...]
    reasoning: Mapping[str, float]


SHARED = Course(BASE, EXPERT, IMAGES, MLLM, SHORT_CHAINS, LONG_CHAINS, ANY)


def _taught(mix: Sequence[Row], lengths: Mapping[tuple[int, ...], tuple[int, ...]]) -> tuple[Row, ...]:
    """A mix over the tasks of a parted world; `lengths` replaces some of its chains' lengths."""
    tasks = {("drill",): ("taught",), ("any",): ("taught",), ("fold", "next"): ("fold", "turns")}
    return tuple(
        replace(row, tasks=tasks.get(row.tasks, row.tasks), lengths=lengths.get(row.lengths, row.lengths))
        for row in mix
    )


_PARTED_BASE, _PARTED_IMAGES = _taught(BASE, {}), _taught(IMAGES, {(2, 2, 3): (2, 3, 3)})
PARTED = Course(
    base=_PARTED_BASE,
    expert=_taught(EXPERT, {}),
    images=_PARTED_IMAGES,
    mllm=(*scaled(_PARTED_IMAGES, 0.8), *scaled(_PARTED_BASE, 0.2)),
    short_chains=_taught(SHORT_CHAINS, {}),
    long_chains=_taught(LONG_CHAINS, {}),
    reasoning=TAUGHT,
)
COUNTING = (Row(1.0, ("cnt",), LONG, think=True),)


def course_of(config: WorldConfig) -> Course:
    """The course of a world, by whether its parts share problems."""
    return SHARED if config.problems == "shared" else PARTED


def draw_exercises(mix: Sequence[Row], rng: Random, n: int, fits: Fits = anything) -> list[Exercise]:
    """n exercises of a mix, each drawn independently, whose problems fit."""
    rows = rng.choices(mix, [r.share for r in mix], k=n)
    return [Exercise(draw_fitting(partial(_draw, row, rng), fits), row.think, row.image) for row in rows]


def _draw(row: Row, rng: Random) -> Problem:
    if row.tasks[0] in WEIGHTS:
        return draw_any(rng, row.lengths, WEIGHTS[row.tasks[0]])
    return DRAWS[rng.choice(row.tasks)](rng, rng.choice(row.lengths))


def draw_reasoning(rng: Random, lengths: Sequence[int], weights: Mapping[str, float] = ANY) -> Problem:
    """Any reasoning task; of lengths up to 4 one in ten shows its operator as a glyph instead of naming it."""
    n = rng.choice(lengths)
    if n in ICON_LENGTHS and rng.random() < ICON_SHARE:
        return DRAWS["icon-fold"](rng, n)
    return draw_any(rng, (n,), weights)
