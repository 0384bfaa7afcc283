"""Each override changes what a command does, or is refused.

A switch that is accepted and wired to nothing is worse than none: whoever set it believes that it was obeyed. So what a
command would do is planned with and without each override, and the two are compared.
"""

from collections.abc import Callable, Sequence
from typing import Any

from drift.errors import DriftError
from pipelines import compose, plan, preflight, stages
from pipelines.errors import ConfigError
from pipelines.fingerprint import canonical
from pipelines.overrides import parse, remedy
from pipelines.schema import Config
from pipelines.stage import Call, ordered

Planner = Callable[[Sequence[str]], tuple[Any, Any]]
"""Overrides -> (the config that they make, what would be done with it): both are only compared."""


_MEASURED = ("prior", "selection")  # plain SFT is measured along one and moved by none


def of_run(words: Sequence[str]) -> tuple[Any, Any]:
    """What one run would do; of plain SFT without what it is only measured along."""
    config = compose.load(words)
    if (config.method.stage, config.method.start, config.injection.scale) != ("train", "mllm", "none"):
        return config, effect(config, plan.targets(config))
    kept = [word for word in words if parse(word).get_key_element().partition(".")[0] not in _MEASURED]
    made = compose.load(kept)
    return config, effect(made, plan.targets(made))


def effect(config: Config, targets: Sequence[Call]) -> tuple[Any, ...]:
    """Everything that decides what is done: the calls with all that they are told, and how they are run."""
    calls, launcher = ordered(list(targets)), config.launcher
    is_launched = any(call.stage is stages.TRAIN and call.params.processes > 1 for call in calls)
    is_fetched = "hub" in (config.pair.source, config.data.source, config.suite.source) or any(
        getattr(call.params, "source", "") == "hub" for call in calls
    )
    return (
        {call.key: canonical(call.params, whole=True) for call in calls},
        (
            config.store,
            config.keep,
            config.trust,
            config.force,
            config.tracker,
            launcher.engine,
            launcher.workers,
            launcher.threads,
        ),
        launcher.gpus if launcher.engine == "local" else (launcher.gpus, launcher.options, launcher.short_seconds),
        launcher.kind if is_launched else "",
        launcher.offline if is_fetched else False,
        config.preflight if preflight.is_asked(calls) else "",
    )


def refuse_idle(words: Sequence[str], *planners: Planner) -> None:
    """Refuses overrides that change the config and nothing of what would be done.

    Args:
        planners: the cheapest first: the next is asked only about what the one before saw no effect of.
    Raises:
        ConfigError: lists them, with what to do instead.
    """
    idle = list(words)
    for planner in planners:
        if idle:
            planned = planner(words)
            idle = [word for word in idle if _is_idle(planned, [other for other in words if other != word], planner)]
    if idle:
        faults = [f"{word} would change nothing here{remedy(parse(word).key_or_group)}" for word in idle]
        raise ConfigError("\n".join(faults))


def _is_idle(planned: tuple[Any, Any], others: Sequence[str], planner: Planner) -> bool:
    config, done = planned
    try:
        other_config, other_done = planner(others)
    except DriftError:
        return False  # without it there is nothing to do at all
    return bool(config != other_config and done == other_done)
