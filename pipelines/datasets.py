"""SFT examples made or fetched, and their funnel: drift data [overrides]

With data=distil, hq or mixed: questions are taken in, a generator answers them, a filter says what is left and why the
rest is not, and a mix puts answers beside it that no filter has seen. What was interrupted goes on where it stopped.
The folder that is printed is a sharegpt JSON with its pictures, the same for the library `datasets`, and a card.

Example:
    drift data data=lab_mixed
    drift data data=distil profile=paper
    drift data data=distil data.distil.questions.source=folder data.distil.questions.root=/path/to/questions
"""

import json
import logging
from collections.abc import Sequence
from typing import Any

from pipelines import compose, effects, plan, preflight, revisions
from pipelines.schema import Config
from pipelines.session import guarded, scheduler
from pipelines.stage import Call

log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """The command `drift data`; the exit status."""
    return guarded(lambda: make(words), words, __doc__)


def make(words: Sequence[str]) -> int:
    """Makes the set, and prints where it is, how many examples it has and what was left out.

    Raises:
        ConfigError: an override that changes nothing of it.
        StageError: a stage failed; the same command goes on.
    """
    effects.refuse_idle(list(words), _planned)
    config = revisions.resolve(compose.load(words), online=True)
    targets = targets_of(config)
    preflight.check(config, targets)
    outcome = scheduler(config).execute(targets)
    made, *filtered = (outcome[target] for target in targets)
    line: dict[str, Any] = {"set": str(made.path), "examples": made.values["examples"]}
    if filtered:
        line |= {"filtered": str(filtered[0].path), "funnel": filtered[0].values["funnel"]}
    print(json.dumps(line))
    log.info("%d stages were run, the rest was in the store", outcome.executed)
    return 0


def targets_of(config: Config) -> list[Call]:
    """The set, and the filter's outcome where there is one."""
    return [plan.data(config), *([plan.distilled(config)] if config.data.distil else [])]


def _planned(words: Sequence[str]) -> tuple[Any, Any]:
    config = compose.load(words)
    return config, effects.effect(config, targets_of(config))
