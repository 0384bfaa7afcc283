"""The same responses under each scoring protocol, so that a reader can tell what a number owes to its scorer.

The configured protocol's verdicts are the score's own. Those by the benchmarks' published rules (`official`) and by a
careful reader's (`semantic`) are made here where they are not, by rules alone: no model and no judge is asked.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from drift.files import read_jsonl, write_jsonl
from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import Item, load_items
from evaluation.judging.scoring import score_by_rules
from evaluation.judging.summary import summarise
from evaluation.judging.verdicts import Verdict
from pipelines.report.numbers import Evidence
from pipelines.report.sources import Source
from pipelines.scored import Scored, write_scores
from pipelines.store import MANIFEST

MODES = ("official", "semantic")
Records = Sequence[Mapping[str, Any]]
Verdicts = Mapping[str, Mapping[str, Records]]  # protocol -> column -> a record an item, in the items' order


@dataclass(frozen=True)
class Answered:
    """A score, the responses that it is of, and the tables that were asked."""

    score: Source
    responses: Source
    items: Source

    @property
    def protocol(self) -> str:
        """The configured one: a mode where rules decide, else `judged` or `published`."""
        judge = self.score.manifest["params"]["judge"]
        if judge["name"] == "rules":
            return str(judge["mode"])
        return "published" if judge["name"] == "published" else "judged"

    @property
    def columns(self) -> Mapping[str, str]:
        """Column -> benchmark."""
        found: Mapping[str, str] = self.score.manifest["params"]["benchmarks"]
        return found

    def asked(self, column: str) -> list[Item]:
        """The items of a column, with their pictures."""
        return items_of(self.items.path, self.columns[column])

    def said(self, column: str) -> dict[str, dict[str, Any]]:
        """Item -> the record of its response."""
        records = read_jsonl(self.responses.path / f"{self.columns[column]}.jsonl", "responses")
        return {record["index"]: record for record in records}

    def verdicts(self) -> Verdicts:
        """Under every protocol, the configured one first."""
        names = self.columns
        own = {c: read_jsonl(self.score.path / f"{name}.verdicts.jsonl", "verdicts") for c, name in names.items()}
        others = {mode: {c: self._by_rules(c, mode) for c in own} for mode in MODES if mode != self.protocol}
        return {self.protocol: own, **others}

    def _by_rules(self, column: str, mode: str) -> Records:
        said = {index: record["response"] for index, record in self.said(column).items()}
        found = score_by_rules(get_benchmark(self.columns[column]), self.asked(column), said, mode)
        return [asdict(each) for each in found]

    def under(self, protocol: str, verdicts: Verdicts, folder: Path) -> Source:
        """The score by another protocol, as a source of its own in `folder`; itself where that reads all alike."""
        if not changed(verdicts, self.protocol, protocol, ("correct", "unmatched")):
            return self.score
        place = folder / hashlib.sha256(f"{self.score.mark} {protocol}".encode()).hexdigest()[:20]
        place.mkdir()
        params = {**self.score.manifest["params"], "judge": {"name": "rules", "mode": protocol}}
        (place / MANIFEST).write_text(json.dumps({**self.score.manifest, "params": params}))
        for column, name in self.columns.items():
            write_jsonl(place / f"{name}.verdicts.jsonl", verdicts[protocol][column])
        write_scores(place, {c: self._scored(c, verdicts[protocol][c]) for c in self.columns})
        return Source.open(place)

    def _scored(self, column: str, records: Records) -> Scored:
        found = [Verdict(**record) for record in records]
        score = summarise(get_benchmark(self.columns[column]), self.asked(column), found)
        return replace(self.score.scores[column], score=score)


def answered(evidence: Evidence) -> Iterator[tuple[str, int, Answered]]:
    """(row, seed, what was answered), for every cell that is read from a score."""
    for cell in evidence.cells:
        if {"score", "responses", "items"} <= set(cell.artifacts):
            parts = (evidence.sources[cell.artifacts[role]] for role in ("score", "responses", "items"))
            yield cell.row, cell.seed, Answered(*parts)


def changed(verdicts: Verdicts, first: str, second: str, keys: Sequence[str] = ("correct",)) -> int:
    """How many items two protocols decide otherwise."""
    columns = ((verdicts[first][column], verdicts[second][column]) for column in verdicts[first])
    pairs = (pair for own, other in columns for pair in zip(own, other, strict=True))
    return sum(any(a.get(key, False) != b.get(key, False) for key in keys) for a, b in pairs)


@cache
def items_of(tables: Path, name: str) -> list[Item]:
    """A benchmark's items; every row of a world's tables was asked the same."""
    benchmark = get_benchmark(name)
    return load_items(tables / benchmark.tsv, benchmark)
