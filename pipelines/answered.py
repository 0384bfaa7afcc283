"""A score artifact's items with everything that was said of each: question, response, verdict."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from drift.files import read_jsonl
from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import Item, load_items
from pipelines.catalogue.runs import Manifest
from pipelines.store import MANIFEST, Store


class Manifests(Mapping[str, Manifest]):
    """A store's manifests by fingerprint, each read when it is asked for."""

    def __init__(self, store: Path) -> None:
        self._store, self._known = Store(store), dict[str, Manifest]()

    def __getitem__(self, fingerprint: str) -> Manifest:
        if fingerprint not in self._known:
            for path in self._store.root.glob(f"[!.]*/{fingerprint[:20]}/{MANIFEST}"):
                opened = self._store.open(path.parent)
                if opened is not None:
                    self._known[fingerprint] = opened[0].manifest
        return self._known[fingerprint]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


@dataclass(frozen=True)
class Answered:
    """An item, the line of its response (empty where there was none) and the line of its verdict."""

    item: Item
    response: Mapping[str, Any]
    verdict: Mapping[str, Any]


@dataclass(frozen=True)
class ScoreFiles:
    """The files behind one score.

    Args:
        known: manifests by fingerprint.
    """

    store: Store
    manifest: Manifest
    known: Mapping[str, Manifest]

    @property
    def benchmarks(self) -> dict[str, str]:
        """Column of the tables -> benchmark."""
        return dict(self.manifest["params"]["benchmarks"])

    @property
    def protocol(self) -> str:
        """Who decided: a protocol's rules, or a judge."""
        judge = self.manifest["params"]["judge"]
        return str(judge["mode"] if judge["name"] == "rules" else judge["name"])

    @cached_property
    def responses(self) -> Manifest:
        return self.known[self.manifest["inputs"]["responses"]]

    @cached_property
    def asked(self) -> Manifest:
        return self.known[self.manifest["inputs"]["benchmarks"]]

    @property
    def split(self) -> str:
        return str(self.asked["params"].get("split", "all"))

    @cached_property
    def checkpoint(self) -> Manifest:
        """What answered; published answers stand for whoever gave them."""
        made = self.responses["inputs"].get("model")
        return self.known[made] if made else self.responses

    def folder(self, manifest: Manifest) -> Path:
        return self.store.path(manifest["stage"], manifest["fingerprint"])

    def items(self, name: str) -> list[Item]:
        """Every item of a benchmark, pictures with it."""
        benchmark = get_benchmark(name)
        return load_items(self.folder(self.asked) / benchmark.tsv, benchmark)

    def answered(self, name: str, items: Sequence[Item]) -> list[Answered]:
        """These items with what was said of them."""
        indices = {item.index for item in items}
        responses = _lines(self.folder(self.responses) / f"{name}.jsonl", indices)
        verdicts = _lines(self.folder(self.manifest) / f"{name}.verdicts.jsonl", indices)
        return [Answered(item, responses.get(item.index, {}), verdicts[item.index]) for item in items]


def _lines(path: Path, indices: set[str]) -> dict[str, dict[str, Any]]:
    return {line["index"]: line for line in read_jsonl(path) if line["index"] in indices}
