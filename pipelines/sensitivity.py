"""How much of a score is protocol: one checkpoint under several settings, as a table: drift sensitivity [overrides]

An override with several values (Hydra's commas) is an axis, the first value of each is the baseline. By default one
axis is changed at a time; `grid=full` takes all combinations. Every point is a run like any other: what points share
is made once, and what the store holds is not made again. Three files are written into `out` (default
`results/<profile>/sensitivity`): sensitivity.csv has a row per point and benchmark, with the paired difference from the
baseline; spread.csv the largest score minus the smallest along each axis, which a gain between two models should
exceed; sensitivity.md both.

Example:
    drift sensitivity method=baseline judge.mode=official,semantic suite.variant=default,direct
    drift sensitivity method=sft engine.settings.max_new_tokens=52,16 seeds=[0] grid=full out=/tmp/protocol
"""

import itertools
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas

from drift.errors import closest
from drift.files import read_jsonl, write_whole
from evaluation.data.markdown import markdown
from pipelines import compose, plan, revisions
from pipelines.errors import ConfigError
from pipelines.outcome import Outcome
from pipelines.overrides import check_names, parted, spelled
from pipelines.schema import Config
from pipelines.scored import read_scores
from pipelines.session import guarded, rooted, scheduler
from pipelines.stage import Call

log = logging.getLogger(__name__)

GRIDS = ("one", "full")
Point = dict[str, str]  # axis -> value


@dataclass(frozen=True)
class Asked:
    """The words of a command: the axes with their values, the overrides that all points share, and where to write."""

    axes: Mapping[str, tuple[str, ...]]
    fixed: tuple[str, ...]
    grid: str = "one"
    out: str = ""


def read(words: Sequence[str]) -> Asked:
    """Overrides with several values as axes.

    Raises:
        ConfigError: unknown keys and choices, an unknown grid, or no axis at all.
    """
    own = dict(word.split("=", 1) for word in words if word.startswith(("grid=", "out=")))
    words = [word for word in words if not word.startswith(("grid=", "out="))]
    check_names(words, compose.CONF)
    axes, fixed = parted(words)
    asked = Asked(axes, tuple(fixed), **own)
    if asked.grid not in GRIDS:
        raise ConfigError(f"unknown grid {asked.grid!r}: {closest(asked.grid, GRIDS)}")
    if not axes:
        raise ConfigError(f"no axis among {words}; give a key several values, such as judge.mode=official,semantic")
    return asked


def points(axes: Mapping[str, Sequence[str]], grid: str = "one") -> list[Point]:
    """The settings to measure, the baseline (first value of each axis) first, none twice."""
    baseline = {axis: values[0] for axis, values in axes.items()}
    if grid == "full":
        found = [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
    else:
        found = [baseline, *(baseline | {axis: v} for axis, values in axes.items() for v in values[1:])]
    return [point for place, point in enumerate(found) if point not in found[:place]]


def targets(configs: Sequence[Config]) -> list[Call]:
    """The score of each point.

    Raises:
        ConfigError: an axis changes the test items, so that there is nothing to pair.
    """
    calls = [plan.score(config) for config in configs]
    if len({call.key for call in calls}) < len(calls):
        raise ConfigError("two points would be the same run: one of the axes changes nothing here")
    for call in calls[1:]:
        if call.inputs["benchmarks"].key != calls[0].inputs["benchmarks"].key:
            raise ConfigError(
                f"{call.label} is scored on other items than the baseline, {calls[0].label}: nothing to pair. "
                "Suites, splits, seeds and worlds can't be an axis; run the command once for each"
            )
    return calls


def measure(settings: Sequence[Point], calls: Sequence[Call], outcome: Outcome) -> list[dict[str, Any]]:
    """One row per point and benchmark: its score with interval and counts, and its paired difference from the baseline.

    `gained` and `lost` count the items that are right at this point alone and at the baseline alone; `p_value` is
    McNemar's, exact. Items that either side left unjudged are in neither.
    """
    folders = [outcome[call].path for call in calls]
    scores = [{column: scored.score for column, scored in read_scores(folder).items()} for folder in folders]
    rows = []
    for point, folder, found in zip(settings, folders, scores, strict=True):
        for column, score in found.items():
            headline, first = score.metrics[score.headline], scores[0][column]
            row: dict[str, Any] = {**point, "benchmark": column, "score": round(headline.value, 2)}
            row |= {f"score_ci_{end}": round(float(vars(headline)[end]), 2) for end in ("low", "high")}
            row |= {"n": score.n, "unmatched": score.unmatched, "unjudged": score.unjudged}
            row["difference"] = round(row["score"] - round(first.value, 2), 2)
            file = f"{calls[0].params.benchmarks[column]}.verdicts.jsonl"
            rows.append(row | _paired(folder / file, folders[0] / file))
    return rows


def _paired(new: Path, old: Path) -> dict[str, Any]:
    from evaluation.statistics import mcnemar_exact

    sides = [[verdict["correct"] for verdict in read_jsonl(path, "verdicts")] for path in (new, old)]
    pairs = [(bool(a), bool(b)) for a, b in zip(*sides, strict=True) if a is not None and b is not None]
    if not pairs:
        return {"gained": None, "lost": None, "p_value": None}
    test = mcnemar_exact([a for a, _ in pairs], [b for _, b in pairs])
    return {"gained": test.only_first, "lost": test.only_second, "p_value": float(f"{test.p_value:.3g}")}


def spread(rows: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> list[dict[str, Any]]:
    """Per benchmark and axis, the range of the scores along it with all else at the baseline; then over all points."""
    found = []
    for benchmark in dict.fromkeys(row["benchmark"] for row in rows):
        mine = [row for row in rows if row["benchmark"] == benchmark]
        for axis in axes:
            others = [name for name in axes if name != axis]
            along = [row for row in mine if all(row[name] == mine[0][name] for name in others)]
            found.append(_range(benchmark, axis, {row[axis]: row["score"] for row in along}))
        named = {", ".join(row[axis] for axis in axes): row["score"] for row in mine}
        found.append(_range(benchmark, "all points", named))
    return found


def _range(benchmark: str, axis: str, scores: Mapping[str, float]) -> dict[str, Any]:
    low, high = min(scores, key=lambda k: scores[k]), max(scores, key=lambda k: scores[k])
    ends = {"lowest": f"{low}: {scores[low]}", "highest": f"{high}: {scores[high]}"}
    width = round(scores[high] - scores[low], 2)
    return {"benchmark": benchmark, "axis": axis, "values": len(scores), **ends, "spread": width}


def write(rows: Sequence[Mapping[str, Any]], ranges: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """sensitivity.csv, spread.csv, and both as Markdown in sensitivity.md."""
    frames = {"sensitivity": pandas.DataFrame(rows, dtype=object), "spread": pandas.DataFrame(ranges, dtype=object)}
    for name, frame in frames.items():
        write_whole(folder / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))
    both = [markdown(frame.fillna("")) for frame in frames.values()]
    write_whole(folder / "sensitivity.md", "\n\n".join(both) + "\n")


def sensitivity(words: Sequence[str]) -> int:
    """Plans every point, runs what the store lacks, writes the tables."""
    asked = read(words)
    settings = points(asked.axes, asked.grid)
    words_of = [[*asked.fixed, *(f"{axis}={value}" for axis, value in point.items())] for point in settings]
    configs = [revisions.resolve(compose.load(each), online=True) for each in words_of]
    calls = targets(configs)
    outcome = scheduler(configs[0]).execute(calls)
    rows = measure(settings, calls, outcome)
    folder = Path(asked.out) if asked.out else rooted(configs[0].results) / "sensitivity"
    ranges = spread(rows, list(asked.axes))
    write(rows, ranges, folder)
    print(json.dumps({"points": len(settings), "spread": ranges}))
    log.info("%d stages were run, the rest was in the store. Read %s", outcome.executed, folder / "sensitivity.md")
    return 0


def main(words: Sequence[str]) -> int:
    """The command `drift sensitivity`; the exit status."""
    return guarded(lambda: sensitivity(spelled(words)), words, __doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
