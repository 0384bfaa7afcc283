"""From an arm's words to the call that scores it in one world."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pipelines import compose, plan, revisions
from pipelines.schema import Config
from pipelines.stage import Call
from pipelines.study.spec import Study


def config(study: Study, pair: str, words: Sequence[str], seed: int) -> Config:
    """The typed config of an arm in a world; of two words for one key the later counts, the arm's own."""
    said = {word.partition("=")[0]: word for word in (*study.common, f"pair={pair}", *words)}
    loaded = revisions.resolve(compose.load(list(said.values())), online=True)
    return replace(loaded, seed=seed, seeds=(seed,))


def score_call(study: Study, pair: str, words: Sequence[str], seed: int) -> Call:
    """The score of an arm in a world, on its reasoning suites' test draw or on what its words ask for."""
    return _score(config(study, pair, words, seed), "test")


def trial_call(study: Study, words: Sequence[str], seed: int) -> Call:
    """The score of an arm in a world of the first pair, on the validation draw."""
    return _score(config(study, study.first, words, seed), "validation")


def _score(made: Config, split: Literal["validation", "test"]) -> Call:
    return plan.score(replace(made, suite=replace(made.suite, split=split)))
