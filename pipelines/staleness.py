"""Whether an artifact is of the code at hand, and what follows where it is not.

A manifest records the digest of the source that its stage reached (`pipelines.code`). It is no part of a fingerprint:
an artifact of other code is *stale*, and is made again in its place; what was made from it follows only where it comes
out otherwise. A digest may be another and the code the same: one that was recorded when more counted as code is
compared definition by definition. With `trust` an artifact is taken as it is, which is recorded beside the manifests
(`.trusted`) and holds until the code changes once more. What was made before digests were recorded counts, from the
first run on that finds it, as of the code of that run.
"""

import json
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

from drift.files import write_whole
from pipelines.code.digests import Code
from pipelines.code.reach import Reached, is_naming
from pipelines.stage import Call
from pipelines.store import Artifact, Store

log = logging.getLogger(__name__)
CODE, BEHIND = "code", "code_behind"
MIXED = "changed while it was made"  # is no digest: whatever has it is stale
_NAMED = 3  # definitions that a line names

Word = Literal["current", "unknown", "stale", "forced"]


class Digests(Protocol):
    """What says which code a stage reaches (`pipelines.code.digests.Code`)."""

    mark: str

    @property
    def names(self) -> frozenset[str]: ...

    def digest(self, run: str, words: Set[str]) -> str: ...

    def reached(self, run: str, words: Set[str]) -> Reached: ...


@dataclass(frozen=True)
class Wanted:
    """Which artifact a job asks for, beyond its fingerprint; it travels with the job.

    Attributes:
        digest: of the code; empty for whatever code.
        words: by which the call names code.
        mark: of the source when this was asked.
        since: an artifact of before is made again, where that is asked for.
        trusts: what other code has begun goes on.
    """

    digest: str = ""
    words: tuple[str, ...] = ()
    mark: str = ""
    since: str = ""
    trusts: bool = False

    def word(self, artifact: Artifact, store: Store) -> Word:
        """What the artifact is to this job."""
        if str(artifact.manifest["started"]) < self.since:
            return "forced"
        if not self.digest or self.digest == (made := code_of(artifact, store)):
            return "current"
        return "stale" if made else "unknown"

    def sealed(self, run: str) -> dict[str, str]:
        """What the manifest of what was made by `module:name` says of its code: that it is no other by now."""
        if not self.digest:
            return {}
        now = Code() if self.mark else None
        is_same = now is None or now.mark == self.mark or now.digest(run, set(self.words)) == self.digest
        return {CODE: self.digest if is_same else MIXED}


def code_of(artifact: Artifact, store: Store) -> str:
    """The digest of the code that an artifact counts as made by; empty where nothing says."""
    made = str(artifact.manifest.get(CODE, ""))
    try:
        record = json.loads(store.trust(artifact.path).read_bytes())
        return str(record[CODE]) if record["was"] == made else made
    except (FileNotFoundError, ValueError, KeyError):
        return made


def behind(stage: str, own: Mapping[str, str], inputs: Iterable[Artifact]) -> dict[str, dict[str, list[str]]]:
    """The digests of the code behind an artifact, by stage: its own and those that its inputs' manifests say."""
    found: dict[str, set[str]] = {stage: set(own.values())}
    for artifact in inputs:
        for name, digests in artifact.manifest.get(BEHIND, {}).items():
            found.setdefault(name, set()).update(digests)
    return {BEHIND: {name: sorted(digests) for name, digests in sorted(found.items())}}


@dataclass(frozen=True)
class _Found:
    """An artifact that is not current, and the code that it counted as made by when it was found."""

    artifact: Artifact
    wanted: Wanted
    run: str
    was: str


@dataclass
class Freshness:
    """What one command thinks of the artifacts that it finds.

    What is the same under another digest, and what is trusted or was unknown, is recorded as of the digest at hand.

    Attributes:
        trust: what is stale is taken.
        force: stages whose artifacts are made again, once.
    """

    store: Store
    trust: bool = False
    force: Collection[str] = ()
    code: Digests = field(default_factory=Code)
    _began: str = field(default_factory=lambda: _now())
    _found: dict[str, dict[str, _Found]] = field(default_factory=dict)
    _same: dict[tuple[str, str], bool] = field(default_factory=dict)

    def wanted(self, call: Call) -> Wanted:
        """What is asked of a call's artifact."""
        words = call.words & self.code.names
        digest = self.code.digest(call.stage.run, words)
        since = self._began if call.stage.name in self.force else ""
        return Wanted(digest, tuple(sorted(words)), self.code.mark, since, self.trust)

    def word(self, artifact: Artifact, call: Call) -> Word:
        """What an artifact is to a call; nothing is recorded."""
        wanted = self.wanted(call)
        found = wanted.word(artifact, self.store)
        is_taken = found == "stale" and (self.trust or self._is_same(artifact, wanted, call.stage.run))
        return "current" if is_taken else found

    def takes(self, artifact: Artifact, wanted: Wanted, run: str) -> bool:
        """Whether the artifact is taken as it is; what is trusted is recorded."""
        kept: str = wanted.word(artifact, self.store)
        if kept == "stale" and self._is_same(artifact, wanted, run):
            self._record(artifact, wanted, run, "same")
            return True
        kept = "trusted" if kept == "stale" and self.trust else kept
        if kept != "current":
            found = _Found(artifact, wanted, run, code_of(artifact, self.store))
            self._found.setdefault(kept, {})[artifact.fingerprint] = found
        if kept in ("trusted", "unknown"):
            self._record(artifact, wanted, run, kept)
        return kept not in ("stale", "forced")

    def say(self) -> None:
        """Says what was found since this was last asked, a line a kind."""
        for kept, found in self._found.items():
            log.info("%s", _LINES[kept].format(n=len(found), stages=_counted(found), why=self._why(found)))
        self._found.clear()

    def describe(self, stale: Sequence[tuple[Artifact, Call]]) -> str:
        """What of a plan is stale: by stage, and which definitions changed."""
        found = {
            artifact.fingerprint: _Found(artifact, self.wanted(call), call.stage.run, code_of(artifact, self.store))
            for artifact, call in stale
        }
        return f"{_counted(found)}{self._why(found)}"

    def remember(self, wanted: Wanted, run: str) -> None:
        """Keeps in the store what a digest is of, so that a later change can be named."""
        if wanted.digest and not self._of(wanted.digest).exists():
            reached = self.code.reached(run, set(wanted.words))
            content = {"texts": dict(reached.texts), "refers": {at: dict(each) for at, each in reached.refers.items()}}
            write_whole(self._of(wanted.digest), json.dumps(content))

    def _of(self, digest: str) -> Path:
        return self.store.root / ".code" / f"{digest}.json"

    def _remembered(self, digest: str) -> Reached | None:
        """What a digest is of; None where nobody has kept it."""
        try:
            found = json.loads(self._of(digest).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return Reached(found["texts"], found["refers"]) if "refers" in found else Reached(found)

    def _is_same(self, artifact: Artifact, wanted: Wanted, run: str) -> bool:
        """Whether all code that is asked for is what the artifact was made by, though its digest is another."""
        asked = code_of(artifact, self.store), wanted.digest
        if asked not in self._same:
            before = self._remembered(asked[0])
            self._same[asked] = before is not None and self.code.reached(run, set(wanted.words)).is_within(before)
        return self._same[asked]

    def _record(self, artifact: Artifact, wanted: Wanted, run: str, why: str) -> None:
        record = {CODE: wanted.digest, "was": artifact.manifest.get(CODE, ""), "why": why, "at": _now()}
        with suppress(OSError):  # a store that can't be written to is asked again next time
            write_whole(self.store.trust(artifact.path), json.dumps(record))
            self.remember(wanted, run)

    def _why(self, found: Mapping[str, _Found]) -> str:
        """The definitions that are others now, of the first artifact of each stage."""
        names: dict[str, None] = {}
        for each in {each.artifact.manifest["stage"]: each for each in found.values()}.values():
            names |= dict.fromkeys(self._changed(each))
        listed = list(names)
        more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
        return f" ({', '.join(listed[:_NAMED])}{more})" if listed else ""

    def _changed(self, found: _Found) -> list[str]:
        remembered = self._remembered(found.was)
        if remembered is None:
            return []
        before, now = remembered.texts, self.code.reached(found.run, set(found.wanted.words)).texts
        places = (place for place in before.keys() | now.keys() if not is_naming(place))
        return sorted(place for place in places if before.get(place) != now.get(place))


_LINES = {
    "stale": "code changed since: {n} artifacts: {stages}{why}; they are made again",
    "forced": "asked for again: {n} artifacts: {stages}",
    "trusted": "code changed since, and trusted: {n} artifacts: {stages}{why}",
    "unknown": "{n} artifacts are of before their code was recorded, and count from now on as of the code at hand",
}


def _counted(found: Mapping[str, _Found]) -> str:
    counts = Counter(str(each.artifact.manifest["stage"]) for each in found.values())
    return ", ".join(f"{stage} {count}" for stage, count in counts.items())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
