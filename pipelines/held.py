"""What of a plan the store holds, what is to be run, and what waits for a value that is chosen on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.retention import readers
from pipelines.scheduler import resolve
from pipelines.stage import Call
from pipelines.staleness import Freshness
from pipelines.store import Artifact, Store


@dataclass(frozen=True)
class State:
    """What a plan does about a call, and its fingerprint where that is known.

    `store`: it is held; `run`; `after` a value that is chosen on the way; `stale`: held, and made again, because of the
    code or because it was asked for; `follow`: held and made from what is stale, made again where that comes out
    otherwise.
    """

    word: str
    mark: str


def states(calls: Sequence[Call], store: Store, fresh: Freshness | None = None) -> dict[str, State]:
    """Per call key whether it is held. What gave up its weights is, unless a call that is to be run reads them.

    Args:
        fresh: which of the artifacts that are there are taken; all without it.
    """
    done: dict[str, Artifact] = {}
    found: dict[str, State] = {}
    for call in calls:
        if any(found[s.key].word == "after" for s in call.sources) or any(
            bind.source.key not in done for bind in call.binds.values()
        ):
            found[call.key] = State("after", "a value that is chosen on the way")
            continue
        found[call.key] = State("run", call.key)
        if all(source.key in done for source in call.sources):
            mark = resolve(call, done).fingerprint
            artifact = store.usable(call.stage.name, mark)
            if artifact is not None:
                done[call.key] = artifact
            found[call.key] = State(_word(call, artifact, found, fresh), mark)
    reading = readers(calls)
    for call in reversed(calls):
        is_read = any(found[key].word in ("run", "after", "stale") for key in reading.get(call.key, ()))
        if is_read and found[call.key].word == "store" and done[call.key].evicted:
            found[call.key] = State("run", found[call.key].mark)
    return found


def _word(call: Call, artifact: Artifact | None, found: Mapping[str, State], fresh: Freshness | None) -> str:
    if artifact is None:
        return "run"
    if fresh and fresh.word(artifact, call) in ("stale", "forced"):
        return "stale"
    is_behind = any(found[source.key].word in ("stale", "follow") for source in call.inputs.values())
    return "follow" if is_behind else "store"
