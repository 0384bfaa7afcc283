"""A score as a run shows it: its numbers by protocol, split and column, and a sample of items as they were answered.

The sample is the same items for every checkpoint, spread evenly over a benchmark's table, so that one item can be
looked at across runs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from drift.files import read_jsonl
from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import Item, load_items
from pipelines.catalogue.runs import Manifest
from pipelines.scored import read_scores
from pipelines.store import Store

AVERAGE = "average"


@dataclass(frozen=True)
class Evaluation:
    """One score artifact of a store."""

    store: Path
    manifest: Manifest
    known: Mapping[str, Manifest]

    @property
    def name(self) -> str:
        """`official/test`: which protocol or judge decided, on which split."""
        judge, asked = self.manifest["params"]["judge"], self._input("benchmarks")
        protocol = judge["mode"] if judge["name"] == "rules" else judge["name"]
        return f"{protocol}/{asked['params'].get('split', 'all')}"

    def values(self) -> dict[str, float]:
        """By `official/test/MathVista`: the score and its interval, what was not decided, and the average."""
        found: dict[str, float] = {}
        headlines = []
        for column, scored in read_scores(self._folder(self.manifest)).items():
            score, place = scored.score, f"{self.name}/{column}"
            headline = score.metrics[score.headline]
            headlines.append(headline.value)
            found |= {place: headline.value, f"{place}_cut": scored.cut, f"{place}_unmatched": score.unmatched}
            found |= {f"{place}_{name}": metric.value for name, metric in score.metrics.items()}
            if headline.low is not None and headline.high is not None:
                found |= {f"{place}_low": headline.low, f"{place}_high": headline.high}
        return found | {f"{self.name}/{AVERAGE}": sum(headlines) / len(headlines)}

    def items(self, count: int) -> dict[str, list[dict[str, Any]]]:
        """`items/official/test` -> so many items of each benchmark, pictures as bytes; none where none are wanted."""
        names, tables = self.manifest["params"]["benchmarks"], self._folder(self._input("benchmarks"))
        rows = [row for column, name in names.items() for row in self._rows(column, name, _sample(tables, name, count))]
        return {f"items/{self.name}": rows} if rows else {}

    def _rows(self, column: str, name: str, items: Sequence[Item]) -> list[dict[str, Any]]:
        asked = {item.index for item in items}
        responses = _lines(self._folder(self._input("responses")) / f"{name}.jsonl", asked)
        verdicts = _lines(self._folder(self.manifest) / f"{name}.verdicts.jsonl", asked)
        return [_row(column, item, responses.get(item.index, {}), verdicts[item.index]) for item in items]

    def _input(self, name: str) -> Manifest:
        return self.known[self.manifest["inputs"][name]]

    def _folder(self, manifest: Manifest) -> Path:
        return Store(self.store).path(manifest["stage"], manifest["fingerprint"])


def _row(column: str, item: Item, response: Mapping[str, Any], verdict: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "benchmark": column,
        "index": item.index,
        "image": item.images[0] if item.images else None,
        "question": item.question,
        "options": json.dumps(item.options) if item.options else "",
        "response": response.get("response", ""),
        "extraction": verdict["extraction"] or "",
        "gold": verdict["gold"],
        "verdict": {True: "right", False: "wrong", None: "unjudged"}[verdict["correct"]],
        "rule": verdict["rule"],
    }


def _lines(path: Path, asked: set[str]) -> dict[str, dict[str, Any]]:
    return {line["index"]: line for line in read_jsonl(path) if line["index"] in asked}


@lru_cache(maxsize=64)
def _sample(folder: Path, name: str, count: int) -> tuple[Item, ...]:
    """So many items, spread evenly over the table: all checkpoints are asked the same tables."""
    if not count:
        return ()
    benchmark = get_benchmark(name)
    items = load_items(folder / benchmark.tsv, benchmark)
    return tuple(items[:: max(1, -(-len(items) // count))])
