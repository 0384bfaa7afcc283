"""From an arm's words to the call that scores it in one world."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pipelines import compose, plan, revisions
from pipelines.schema import Config
from pipelines.stage import Call
from pipelines.study.spec import Study


def config(study: Study, pair: str, words: Sequence[str], seed: int) -> Config:
    """The typed config of an arm in a world."""
    loaded = revisions.resolve(compose.load([*study.common, f"pair={pair}", *words]), online=True)
    return replace(loaded, seed=seed, seeds=(seed,))


def score_call(
    study: Study, pair: str, words: Sequence[str], seed: int, split: Literal["validation", "test"] = "test"
) -> Call:
    """The score of an arm in a world, on its reasoning suites or on what its words ask for."""
    made = config(study, pair, words, seed)
    return plan.score(replace(made, suite=replace(made.suite, split=split)))
