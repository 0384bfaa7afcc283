"""One JSON-ready object per scored benchmark: the score with its n, its interval, and what was not decided."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from drift.errors import DataError
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.wemath import accuracy_by_steps, groups_of, strict_and_loose
from evaluation.data.tsv import Item, hallusion_keys
from evaluation.judging.verdicts import Verdict
from evaluation.statistics import cluster_bootstrap, wilson

_BOOTSTRAP = 1_000
_WEMATH = ("wemath", "free_form_groups")


def summarise(benchmark: Benchmark, items: Sequence[Item], verdicts: Sequence[Verdict]) -> dict[str, object]:
    """The score of `verdicts` in percent, with intervals and counts.

    `accuracy` is over judged items, with Wilson's interval. `n` counts every item. WeMath adds `strict`, `loose` and S1
    to S3, HallusionBench `aAcc`, `fAcc`, `qAcc`, each with an interval that resamples whole groups. `score` repeats the
    headline metric under one name.

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
    summary: dict[str, object] = {
        "benchmark": benchmark.name,
        "version": benchmark.version,
        "mode": verdicts[0].mode,
        "headline": benchmark.headline,
        "accuracy": 100 * right / len(judged),
        "n": len(verdicts),
        "correct": right,
        "unmatched": sum(v.extraction is None and v.correct is False and not v.is_missing for v in verdicts),
        "unjudged": len(verdicts) - len(judged),
        "missing": sum(v.is_missing for v in verdicts),
        "truncated": sum(v.is_truncated for v in verdicts),
        "ci_low": 100 * low,
        "ci_high": 100 * high,
    }
    by_index = {verdict.index: verdict for verdict in verdicts}
    if benchmark.scorer in _WEMATH:
        summary.update(_wemath(items, by_index))
    if benchmark.scorer == "hallusion":
        summary.update(_hallusion(items, by_index))
    summary["score"] = summary[benchmark.headline]
    summary["score_ci_low"] = summary.get(f"{benchmark.headline}_ci_low", summary["ci_low"])
    summary["score_ci_high"] = summary.get(f"{benchmark.headline}_ci_high", summary["ci_high"])
    return summary


def _wemath(items: Sequence[Item], verdicts: Mapping[str, Verdict]) -> dict[str, object]:
    groups, incomplete = groups_of(items, verdicts)
    strict, loose = strict_and_loose(groups)
    names = [group.name for group in groups]
    metrics: dict[str, object] = {"strict": strict, "loose": loose, **accuracy_by_steps(groups)}
    for position, name in enumerate(("strict", "loose")):

        def metric(drawn: NDArray[np.int64], position: int = position) -> float:
            return strict_and_loose([groups[k] for k in drawn])[position]

        interval = cluster_bootstrap(names, metric, _BOOTSTRAP)
        metrics |= {f"{name}_ci_low": interval.low, f"{name}_ci_high": interval.high}
    return {**metrics, "groups": len(groups), "incomplete_groups": incomplete}


def _hallusion(items: Sequence[Item], verdicts: Mapping[str, Verdict]) -> dict[str, object]:
    judged = [item for item in items if verdicts[item.index].correct is not None]
    right = np.array([bool(verdicts[item.index].correct) for item in judged])
    keys = [hallusion_keys(item.index, item.fields.get("l2-category", "")) for item in judged]
    figures = [key[0] for key in keys]
    codes = {
        "fAcc": np.unique(figures, return_inverse=True)[1],
        "qAcc": np.unique([key[1] for key in keys], return_inverse=True)[1],
    }
    statistics: dict[str, Callable[[NDArray[np.int64]], float]] = {
        "aAcc": lambda drawn: 100 * float(right[drawn].mean()),
        "fAcc": lambda drawn: _share_all_right(right[drawn], codes["fAcc"][drawn], np.bincount(codes["fAcc"])),
        "qAcc": lambda drawn: _share_all_right(right[drawn], codes["qAcc"][drawn], np.bincount(codes["qAcc"])),
    }
    metrics: dict[str, object] = {}
    for name, statistic in statistics.items():
        interval = cluster_bootstrap(figures, statistic, _BOOTSTRAP)
        metrics |= {name: interval.mean, f"{name}_ci_low": interval.low, f"{name}_ci_high": interval.high}
    return metrics


def _share_all_right(right: NDArray[np.bool_], groups: NDArray[np.int64], sizes: NDArray[np.int64]) -> float:
    """Share of groups without a wrong item, in percent; a group drawn twice counts twice."""
    drawn = np.bincount(groups, minlength=len(sizes))
    wrong = np.bincount(groups, weights=~right, minlength=len(sizes))
    weights = drawn / sizes
    return 100 * float(np.sum(weights * (wrong == 0)) / np.sum(weights))
