"""Which problems a world trains on, chooses on and reports on, so that the three share none.

In a world of `problems: parted` each problem of three digits and more belongs to one part, by the hash of its id and of
the world's seed: text or image, words or glyph, the base LM's pre-training and the experts' included, every stage draws
from `train` alone. What can't be kept apart are problems of one or two digits: they are the facts of the arithmetic
(100 pairs under four operators, 100 steps of a progression), which the base LM is asked some 55,000 times and every
longer chain spells out. Suites ask for them as WeMath's one-step items alone, which are there to ask for facts.

A world of `problems: shared` draws each stage and split independently, as the lab's tables were made.
"""

import hashlib
from collections.abc import Callable

from drift.errors import DataError
from pipelines.lab.config import WorldConfig
from pipelines.lab.language import Problem, problem_id

SHARES = {"train": 0.5, "validation": 0.25, "test": 0.25}
SHORTEST = 3
_TRIES = 20_000

Fits = Callable[[Problem], bool]


def anything(problem: Problem) -> bool:
    """Every problem fits."""
    return True


def part_of(seed: int, problem: Problem) -> str | None:
    """The part that a problem belongs to in the world of that seed; None where it is too short to belong to one."""
    if len(problem.digits) < SHORTEST:
        return None
    digest = hashlib.sha256(f"{seed}:{problem_id(problem)}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if place < SHARES["train"] else "validation" if place < 1 - SHARES["test"] else "test"


def fitting(config: WorldConfig, part: str) -> Fits:
    """Whether a stage of that part may draw a problem."""
    if config.problems == "shared":
        return anything
    return lambda problem: part_of(config.seed, problem) in (None, part)


def draw_fitting(draw: Callable[[], Problem], fits: Fits) -> Problem:
    """The first problem drawn that fits.

    Raises:
        DataError: none does in 20,000 draws: there are too few of them.
    """
    for _ in range(_TRIES):
        if fits(problem := draw()):
            return problem
    raise DataError(f"{_TRIES} problems were drawn and none was free; ask for fewer items (world.suite_items)")


def distinct(fits: Fits) -> Fits:
    """`fits`, and no problem twice."""
    seen: set[str] = set()

    def is_new(problem: Problem) -> bool:
        key = problem_id(problem)
        fine = key not in seen and fits(problem)
        if fine:
            seen.add(key)
        return fine

    return is_new
