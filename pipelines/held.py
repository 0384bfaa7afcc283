"""What of a plan the store holds, what is to be run, and what waits for a value that is chosen on the way."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.retention import readers
from pipelines.scheduler import resolve
from pipelines.stage import Call
from pipelines.store import Artifact, Store


@dataclass(frozen=True)
class State:
    """`store` (held), `run`, or `after` a value that is chosen on the way; the fingerprint where it is known."""

    word: str
    mark: str


def states(calls: Sequence[Call], store: Store) -> dict[str, State]:
    """Per call key whether it is held. What gave up its weights is, unless a call that is to be run reads them."""
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
            found[call.key] = State("run" if artifact is None else "store", mark)
            if artifact is not None:
                done[call.key] = artifact
    reading = readers(calls)
    for call in reversed(calls):
        is_read = any(found[key].word != "store" for key in reading.get(call.key, ()))
        if is_read and found[call.key].word == "store" and done[call.key].evicted:
            found[call.key] = State("run", found[call.key].mark)
    return found
