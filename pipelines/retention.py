"""What a run keeps of what it makes: `keep=all`, `weights` (no priors), `scores` (no merged or trained weights either).

An artifact loses its weights (`*.safetensors`) once the last call of the plan that reads them is done. Its folder, its
manifest with every hash, and whatever is small stay: it still counts as made, and reports read on. Should a later plan
need the weights, the artifact is made again, and its manifest says whether the bytes came out the same (`remade`). So
that weights don't pile up while nothing reads them, no more of a kind are begun than may live at a time.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pipelines.stage import Call
from pipelines.store import Artifact

log = logging.getLogger(__name__)
Keep = Literal["all", "weights", "scores"]
_EVICTED: Mapping[Keep, tuple[str, ...]] = {
    "all": (),
    "weights": ("prior",),
    "scores": ("prior", "merge", "frism", "train"),
}
_READ_NO_WEIGHTS = ("report", "partial", "score", "judge", "choose", "gate")
_LIVE_PRIORS, _MOST_LIVE = 2, 8


def live_weights(width: int) -> int:
    """How many merged and trained models may have weights at a time where so many calls run side by side."""
    return min(max(width, 2), _MOST_LIVE)


def readers(calls: Iterable[Call]) -> dict[str, set[str]]:
    """Per call key, the keys of the calls that read its weights."""
    found: dict[str, set[str]] = {}
    for call in calls:
        if call.stage.name not in _READ_NO_WEIGHTS:
            for source in call.inputs.values():
                found.setdefault(source.key, set()).add(call.key)
    return found


class Retention:
    """One plan's weights: who still reads them, which are gone and wanted, how many are live.

    Args:
        live: merged and trained models that may have weights at a time.
    """

    def __init__(self, keep: Keep, live: int, calls: Sequence[Call]) -> None:
        self._calls = {call.key: call for call in calls}
        self._readers = readers(calls)
        self._stages = _EVICTED[keep]
        self._limits = {"prior": min(_LIVE_PRIORS, live), "model": live}
        self._live: set[str] = set()
        self.wanted: set[str] = set()

    def may_begin(self, call: Call) -> bool:
        """Whether there is room for the call's weights beside those that are still read."""
        if call.stage.name not in self._stages or self._frees(call):
            return True
        alive = Counter(_kind(self._calls[key]) for key in self._live)
        return alive[_kind(call)] < self._limits[_kind(call)]

    def begun(self, call: Call) -> None:
        """The call is about to write its weights."""
        if call.stage.name in self._stages:
            self._live.add(call.key)

    def missing(self, call: Call, done: Mapping[str, Artifact]) -> list[str]:
        """Keys of the call's inputs whose weights it reads and which are gone."""
        if call.stage.name in _READ_NO_WEIGHTS:
            return []
        gone = [source for source in call.inputs.values() if done[source.key].evicted]
        for source in gone:
            self.wanted.add(source.key)
            for read in source.inputs.values():
                self._readers.setdefault(read.key, set()).add(source.key)
        return [source.key for source in gone]

    def finished(self, call: Call) -> list[str]:
        """Keys of the calls whose weights nobody reads any more, now that this call is done."""
        free = [] if self._readers.get(call.key) else [call.key]
        for source in call.inputs.values():
            reading = self._readers.get(source.key, set())
            if call.key in reading:
                reading.discard(call.key)
                free += [] if reading else [source.key]
        free = [key for key in free if self._calls[key].stage.name in self._stages]
        self._live.difference_update(free)
        return free

    def _frees(self, call: Call) -> bool:
        """Whether the call is the last reader of other weights of its kind."""
        sources = [source for source in call.inputs.values() if source.key in self._live]
        return any(_kind(s) == _kind(call) and self._readers.get(s.key) == {call.key} for s in sources)


def _kind(call: Call) -> str:
    return "prior" if call.stage.name == "prior" else "model"
