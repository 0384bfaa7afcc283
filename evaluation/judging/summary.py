"""One score per benchmark: its metrics with their intervals, and what was not decided."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from drift.errors import DataError
from evaluation.data.tsv import Item
from evaluation.judging.verdicts import Verdict
from evaluation.statistics import cluster_bootstrap, wilson

if TYPE_CHECKING:
    from evaluation.benchmarks import Benchmark

_BOOTSTRAP = 1_000


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
        correct: right ones among the judged,
        unmatched: wrong because no rule or judge found an answer,
        unjudged: a judge's call failed; in no accuracy,
        missing: wrong because there was no response,
        truncated: the response filled an xlsx cell.
        metrics: `accuracy` over judged items, and what the benchmark sums up beside it (`strict`, `S1`, `fAcc`, ...).
        extra: what the benchmark counts beside items (`groups`, `incomplete_groups`).
        protocol, protocol_sha256: the pinned protocol that the mode stands for, and the hash of all it says.
        judge: who was asked, "" where rules alone decided.
        conflicts: responses that mark two different answers; the rules' choice stands where no judge was asked.
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
        figures = {name: value for name, value in record.items() if isinstance(value, float)}
        metrics = {
            name: Metric(value, *(figures.get(bound) for bound in _bounds(name)))
            for name, value in figures.items()
            if name != "score" and not name.endswith(("ci_low", "ci_high"))
        }
        extra = {name: value for name, value in record.items() if isinstance(value, int) and name not in plain}
        return cls(**{name: record[name] for name in plain if name in record}, metrics=metrics, extra=extra)


def summarise(benchmark: "Benchmark", items: Sequence[Item], verdicts: Sequence[Verdict]) -> Score:
    """The score of `verdicts`: accuracy over judged items with Wilson's interval, and the benchmark's own metrics.

    Raises:
        DataError: items and verdicts don't match one to one, or not a single item was judged.
    """
    if [item.index for item in items] != [verdict.index for verdict in verdicts]:
        raise DataError(f"{len(verdicts)} verdicts for {len(items)} items; expected one an item, in the same order")
    judged = [verdict for verdict in verdicts if verdict.correct is not None]
    if not judged:
        raise DataError(f"none of {len(verdicts)} verdicts was judged; is the judge reachable?")
    right = sum(bool(verdict.correct) for verdict in judged)
    low, high = wilson(right, len(judged))
    metrics = {"accuracy": Metric(100 * right / len(judged), 100 * low, 100 * high)}
    extra: Mapping[str, int] = {}
    if benchmark.metrics is not None:
        grouped = benchmark.metrics(items, {verdict.index: verdict for verdict in verdicts})
        for name, statistic in grouped.statistics.items():
            interval = cluster_bootstrap(grouped.clusters, statistic, _BOOTSTRAP)
            metrics[name] = Metric(interval.mean, interval.low, interval.high)
        metrics |= {name: Metric(value) for name, value in grouped.plain.items()}
        extra = grouped.counts
    protocol = benchmark.pinned(verdicts[0].mode)
    return Score(
        benchmark.name,
        benchmark.version,
        verdicts[0].mode,
        benchmark.headline,
        n=len(verdicts),
        correct=right,
        unmatched=sum(v.unmatched and v.correct is False for v in verdicts),
        unjudged=len(verdicts) - len(judged),
        missing=sum(v.is_missing for v in verdicts),
        truncated=sum(v.is_truncated for v in verdicts),
        metrics=metrics,
        extra=extra,
        protocol=protocol.name,
        protocol_sha256=protocol.sha256,
        judge=", ".join(sorted({verdict.judge for verdict in verdicts if verdict.judge})),
        conflicts=sum(verdict.conflict for verdict in verdicts),
    )


def _bounds(metric: str) -> tuple[str, str]:
    """The names of a metric's bounds in a flat record."""
    prefix = "" if metric == "accuracy" else f"{metric}_"
    return f"{prefix}ci_low", f"{prefix}ci_high"
