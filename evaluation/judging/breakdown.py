"""Scores by category, skill, problem version: what a benchmark's `facets` name."""

import json
from collections import Counter
from collections.abc import Sequence

from drift.errors import DataError
from evaluation.data.tsv import Item, parse_choices
from evaluation.judging.verdicts import Verdict

Table = dict[str, dict[str, dict[str, float]]]


class Breakdown:
    """Counts of right verdicts by facet and label, as they come.

    Args:
        facets: columns of the table; `metadata.subject` is a key of the JSON in a column, or that column itself.
    """

    def __init__(self, facets: Sequence[str]) -> None:
        self._facets = facets
        self._n: Counter[tuple[str, str]] = Counter()
        self._right: Counter[tuple[str, str]] = Counter()

    def add(self, items: Sequence[Item], verdicts: Sequence[Verdict]) -> None:
        """Counts the verdicts on `items`, one each."""
        for item, verdict in zip(items, verdicts, strict=True):
            labels = [(facet, label) for facet in self._facets for label in labels_of(item, facet)]
            self._n.update(labels)
            self._right.update(labels if verdict.correct else ())

    def table(self) -> Table:
        """facet -> label -> n and accuracy in percent, labels in alphabetical order."""
        found: Table = {}
        for facet, label in sorted(self._n):
            n = self._n[facet, label]
            row = {"n": n, "accuracy": 100 * self._right[facet, label] / n}
            found.setdefault(facet.rpartition(".")[2], {})[label] = row
        return found


def labels_of(item: Item, facet: str) -> list[str]:
    """The item's labels in a facet: those of a list, else the cell's text; none for an empty cell."""
    column, _, key = facet.partition(".")
    text = item.fields.get(column, "")
    if key:
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            record = None
        is_there = isinstance(record, dict) and key in record
        text = str(record[key]) if is_there else item.fields.get(key, "")
    if text.lstrip().startswith("["):
        try:
            return parse_choices(text)
        except DataError:
            return [text]
    return [text.strip()] if text.strip() else []
