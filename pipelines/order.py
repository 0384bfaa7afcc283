"""Which of the ready calls of a plan is begun first: pure, and the same for the scheduler and for the forecast.

Where models are published the order is the one in which a mistake is cheapest to find: every download, then each
untouched MLLM's score (the first number that has a published one beside it), then one SFT and one DRIFT, then the rest.
Within that, and in a lab throughout, the longest way to the end of the plan goes first.
"""

from collections.abc import Callable, Sequence

from pipelines.resources import is_lab, origin
from pipelines.stage import Call

Rank = tuple[int, float]
_DOWNLOAD, _BASELINE, _FIRST_PAIR, _REST = range(4)


def ranks(calls: Sequence[Call], seconds: Callable[[Call], float]) -> dict[str, Rank]:
    """Per call key what to sort by: its turn, then the seconds from its start to the plan's end, the longest first.

    Args:
        calls: sources first (`pipelines.stage.ordered`).
    """
    turns = _turns(calls)
    after: dict[str, float] = dict.fromkeys((call.key for call in calls), 0.0)
    for call in reversed(calls):
        after[call.key] += seconds(call)
        for source in call.sources:
            after[source.key] = max(after[source.key], after[call.key])
            turns[source.key] = min(turns[source.key], turns[call.key])
    return {key: (turns[key], -left) for key, left in after.items()}


def _turns(calls: Sequence[Call]) -> dict[str, int]:
    turns = {call.key: _turn(call) for call in calls}
    scored = [call for call in calls if call.stage.name == "score" and _trained(call) and not is_lab(call)]
    for injects in (False, True):
        first = next((call for call in scored if _is_plain(call, injects)), None)
        if first:
            turns[first.key] = _FIRST_PAIR
    return turns


def _turn(call: Call) -> int:
    if not call.sources:
        return _DOWNLOAD if getattr(call.params, "source", "lab") == "hub" else _REST
    if call.stage.name in ("score", "gate") and not is_lab(call):
        made = call.inputs["responses"].inputs.get("model") if call.stage.name == "score" else None
        return _BASELINE if made is None or made.stage.name == "model" else _REST
    return _REST


def _trained(call: Call) -> Call | None:
    """The training behind a score; published answers have none."""
    made = call.inputs["responses"].inputs.get("model")
    return made if made is not None and made.stage.name == "train" else None


def _is_plain(call: Call, injects: bool) -> bool:
    """SFT from the MLLM itself, or DRIFT along the direct Delta: nothing chosen, no control."""
    made = call.inputs["responses"].inputs["model"]
    injected = made.params.injection.scale != "none"
    direct = made.inputs["prior"].params.prior.kind == "direct"
    return injected == injects and direct and not made.binds and made.inputs["model"].key == origin(made).key
