"""Below a cell: what each question adds to it. Read where the questions of a row are the sample, or a part of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drift.errors import DataError
from drift.files import read_jsonl
from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import load_items
from evaluation.judging.verdicts import Verdict
from evaluation.statistics import by_cluster
from pipelines.layout import QUESTIONS
from pipelines.report.sources import Run

_ITEMWISE = ("accuracy", "aAcc")


@dataclass(frozen=True)
class Outcomes:
    """A metric's units (items, or groups where it scores groups), each with its share in [0, 1] and its question."""

    values: Mapping[str, float]
    questions: Mapping[str, str]

    def minus(self, other: "Outcomes") -> "Outcomes":
        """Unit by unit, over the units that both have."""
        return Outcomes({u: v - other.values[u] for u, v in self.values.items() if u in other.values}, self.questions)

    def among(self, units: set[str]) -> "Outcomes":
        """Of some units alone."""
        return Outcomes({unit: value for unit, value in self.values.items() if unit in units}, self.questions)

    @property
    def is_binary_by_item(self) -> bool:
        """Whether every question is one unit, right or wrong (0, 1, or a difference of the two)."""
        alone = len({self.questions[unit] for unit in self.values}) == len(self.values)
        return alone and set(self.values.values()) <= {-1.0, 0.0, 1.0}


def outcomes(run: Run, column: str) -> Outcomes:
    """The outcomes behind a column of a score: `MathVista`, or `WeMath_loose`.

    Raises:
        DataError: the metric is no mean over units, so that no question has a share of its own in it.
    """
    place, _, measure = column.partition("_")
    metric = measure or run.score.scores[place].score.headline
    return _outcomes(run.score.path, run.items.path, run.score.manifest["params"]["benchmarks"][place], metric)


def strata(found: Sequence[Mapping[str, Outcomes]]) -> list[NDArray[np.float64]]:
    """What each question adds to the mean of the columns, (runs, questions), a stratum a benchmark.

    Args:
        found: per run, column -> its outcomes; units that a run lacks are left out of all.
    """
    columns = list(found[0])
    joined: dict[tuple[str, int], NDArray[np.float64]] = {}
    for column in columns:
        units = set.intersection(*(set(each[column].values) for each in found))
        rows = [by_cluster(kept.values, kept.questions) for kept in (each[column].among(units) for each in found)]
        added = np.array(rows) / len(columns)
        stratum = column.partition("_")[0], added.shape[1]  # two metrics of one benchmark have the same questions
        joined[stratum] = added + joined.get(stratum, 0.0)
    return list(joined.values())


@cache
def _outcomes(score: Path, tables: Path, name: str, metric: str) -> Outcomes:
    records = read_jsonl(score / f"{name}.verdicts.jsonl", "verdicts")
    question = _questions(tables, name)
    for record in records:
        question.setdefault(record["index"], record["group"] or record["index"])
    judged = {record["index"]: float(record["correct"]) for record in records if record["correct"] is not None}
    if metric in _ITEMWISE:
        return Outcomes(judged, question)
    benchmark = get_benchmark(name)
    items = load_items(tables / benchmark.tsv, benchmark, with_images=False)
    verdicts = {
        r["index"]: Verdict(r["index"], r["correct"], r["extraction"], r["rule"], group=r["group"]) for r in records
    }
    if benchmark.metrics is None:
        raise DataError(f"{name} has no metric {metric!r}")
    grouped = benchmark.metrics(items, verdicts)
    statistic, places = grouped.statistics[metric], range(len(grouped.clusters))
    values = dict(zip(grouped.clusters, (statistic(np.array([place])) / 100 for place in places), strict=True))
    if abs(sum(values.values()) / len(values) - statistic(np.array(places)) / 100) > 1e-9:
        raise DataError(f"{metric} of {name} is no mean over its groups: no question has a share of its own in it")
    of_group = {item.group or item.index: question[item.index] for item in items}
    return Outcomes(values, {unit: of_group[unit] for unit in values})


def _questions(tables: Path, name: str) -> dict[str, str]:
    """Item -> the first item of its question, for items that share one (pipelines.stages.benchmarks)."""
    path = tables / QUESTIONS
    found = json.loads(path.read_text())[name] if path.exists() else []
    return {index: question[0] for question in found for index in question}
