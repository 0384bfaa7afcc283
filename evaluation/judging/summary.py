"""One score per benchmark: its metrics with their intervals, and what was not decided."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from drift.errors import DataError
from evaluation.data.tsv import Item
from evaluation.judging.verdicts import Grouped, Verdict
from evaluation.statistics import cluster_bootstrap, wilson

if TYPE_CHECKING:
    from evaluation.benchmarks import Benchmark

_BOOTSTRAP = 1_000
_COUNTED: Mapping[str, Callable[[Verdict], bool]] = {
    "correct": lambda verdict: verdict.correct is True,
    "unmatched": lambda verdict: verdict.unmatched and verdict.correct is False,
    "unjudged": lambda verdict: verdict.correct is None,
    "missing": lambda verdict: verdict.is_missing,
    "truncated": lambda verdict: verdict.is_truncated,
    "conflicts": lambda verdict: verdict.conflict,
}


@dataclass(frozen=True)
class Metric:
    """A value in percent with its interval, where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Score:
    """What a benchmark's verdicts add up to, in percent.

    Attributes:
        headline: name of the metric in the paper's tables.
        n: every item; of these
        correct: right ones,
        unmatched: wrong because no rule or judge found an answer,
        unjudged: a judge's call failed; neither right nor wrong, and no part of `correct`,
        missing: wrong because there was no response,
        truncated: the response filled an xlsx cell.
        metrics: `accuracy` over all items, and what the benchmark sums up beside it (`strict`, `S1`, `fAcc`, ...).
        extra: what the benchmark counts beside items (`groups`, `incomplete_groups`).
        protocol, protocol_sha256: the pinned protocol that the mode stands for, and the hash of all it says.
        judge: who was asked, "" where rules alone decided.
        conflicts: responses that mark two different answers; the rules' choice stands where no judge was asked.
        highest: the headline if every unmatched and unjudged item were right; the headline itself takes none for right.
    """

    benchmark: str
    version: str
    mode: str
    headline: str
    n: int
    correct: int
    unmatched: int
    unjudged: int
    missing: int
    truncated: int
    metrics: Mapping[str, Metric]
    extra: Mapping[str, int] = field(default_factory=dict)
    protocol: str = ""
    protocol_sha256: str = ""
    judge: str = ""
    conflicts: int = 0
    highest: float | None = None

    @property
    def value(self) -> float:
        """The headline metric."""
        return self.metrics[self.headline].value

    def as_record(self) -> dict[str, object]:
        """One flat JSON object; `ci_low` and `ci_high` are the accuracy's, `score` repeats the headline."""
        record = {name: value for name, value in vars(self).items() if name not in ("metrics", "extra")}
        record |= self.extra
        for name, metric in [*self.metrics.items(), ("score", self.metrics[self.headline])]:
            record[name] = metric.value
            if metric.low is not None:
                record |= dict(zip(_bounds(name), (metric.low, metric.high), strict=True))
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Score":
        """The score that `as_record` wrote.

        Raises:
            DataError: a name or a count is absent.
        """
        plain = {each.name: each.default for each in fields(cls) if each.name not in ("metrics", "extra")}
        if absent := [name for name, default in plain.items() if default is MISSING and name not in record]:
            raise DataError(f"a score has {list(record)}; {absent} are missing. Was it written by evaluation.score?")
        figures = {n: value for n, value in record.items() if isinstance(value, float) and n not in plain}
        metrics = {
            name: Metric(value, *(figures.get(bound) for bound in _bounds(name)))
            for name, value in figures.items()
            if name != "score" and not name.endswith(("ci_low", "ci_high"))
        }
        extra = {name: value for name, value in record.items() if isinstance(value, int) and name not in plain}
        return cls(**{name: record[name] for name in plain if name in record}, metrics=metrics, extra=extra)


class Tally:
    """Verdicts summed up as they come; memory holds counts alone, and more only for a benchmark with groups."""

    def __init__(self, benchmark: "Benchmark") -> None:
        self._benchmark, self._mode, self._judges = benchmark, "", set[str]()
        self._counts: Counter[str] = Counter()
        self._items: list[Item] = []
        self._verdicts: dict[str, Verdict] = {}

    def add(self, items: Sequence[Item], verdicts: Sequence[Verdict]) -> None:
        """Counts the verdicts on `items`.

        Raises:
            DataError: they don't match one to one.
        """
        if [item.index for item in items] != [verdict.index for verdict in verdicts]:
            raise DataError(f"{len(verdicts)} verdicts for {len(items)} items; expected one an item, in the same order")
        for verdict in verdicts:
            self._counts.update(name for name, holds in _COUNTED.items() if holds(verdict))
            self._judges.update([verdict.judge] if verdict.judge else ())
        self._counts["n"] += len(verdicts)
        self._mode = verdicts[0].mode if verdicts else self._mode
        if self._benchmark.metrics is not None:
            self._items += [replace(item, question="", options={}, images=()) for item in items]
            self._verdicts |= {v.index: Verdict(v.index, v.correct, None, "", unmatched=v.unmatched) for v in verdicts}

    def score(self) -> Score:
        """The score so far; what is unjudged counts as not right, and `Score.highest` says what it could add.

        Raises:
            DataError: not a single item was judged.
        """
        found = self._counts
        if found["n"] == found["unjudged"]:
            raise DataError(f"none of {found['n']} verdicts was judged; is the judge reachable?")
        low, high = wilson(found["correct"], found["n"])
        metrics = {"accuracy": Metric(100 * found["correct"] / found["n"], 100 * low, 100 * high)}
        highest = 100 * (found["correct"] + found["unjudged"] + found["unmatched"]) / found["n"]
        extra: Mapping[str, int] = {}
        if self._benchmark.metrics is not None:
            grouped = self._grouped(undecided=False)
            for name, statistic in grouped.statistics.items():
                interval = cluster_bootstrap(grouped.clusters, statistic, _BOOTSTRAP)
                metrics[name] = Metric(interval.mean, interval.low, interval.high)
            metrics |= {name: Metric(value) for name, value in grouped.plain.items()}
            extra = grouped.counts
            best = self._grouped(undecided=True)
            if self._benchmark.headline in best.statistics:
                highest = best.statistics[self._benchmark.headline](range(len(best.clusters)))
        return self._score(metrics, extra, highest)

    def _grouped(self, *, undecided: bool) -> Grouped:
        """The grouped figures with what nobody decided taken for right, or for not right."""
        settled = {
            index: replace(verdict, correct=undecided) if verdict.correct is None or verdict.unmatched else verdict
            for index, verdict in self._verdicts.items()
        }
        assert self._benchmark.metrics is not None
        return self._benchmark.metrics(self._items, settled)

    def _score(self, metrics: Mapping[str, Metric], extra: Mapping[str, int], highest: float) -> Score:
        protocol = self._benchmark.pinned(self._mode)
        return Score(
            self._benchmark.name,
            self._benchmark.version,
            self._mode,
            self._benchmark.headline,
            n=self._counts["n"],
            **{name: self._counts[name] for name in _COUNTED},
            metrics=metrics,
            extra=extra,
            protocol=protocol.name,
            protocol_sha256=protocol.sha256,
            judge=", ".join(sorted(self._judges)),
            highest=highest,
        )


def summarise(benchmark: "Benchmark", items: Sequence[Item], verdicts: Sequence[Verdict]) -> Score:
    """The score of `verdicts`: accuracy with Wilson's interval, and the benchmark's own metrics.

    Raises:
        DataError: items and verdicts don't match one to one, or not a single item was judged.
    """
    tally = Tally(benchmark)
    tally.add(items, verdicts)
    return tally.score()


def _bounds(metric: str) -> tuple[str, str]:
    """The names of a metric's bounds in a flat record."""
    prefix = "" if metric == "accuracy" else f"{metric}_"
    return f"{prefix}ci_low", f"{prefix}ci_high"
