"""A grid over keys and seeds, scored and put side by side: drift sweep [overrides]

An override with several values (Hydra's commas) is an axis; every combination is run in every seed of `seeds` (seed=1,2
says the same, seed=1 is one) as one plan: what the runs share is made once, what the store holds is not made again, and
the same command goes on after a kill. Written into `out` (default `results/<profile>+sweep+<words>`): runs.csv has
a row a run, points.csv a row a combination with its mean, standard deviation and interval over the seeds, sweep.md the
same to read; where one axis is numbers, curve.png and curve.svg show the average and w_eff along it.

Example:
    drift sweep method=drift injection.alpha=-0.1,-0.3,-1 seeds=[0,1,2]
    drift sweep method=sft train.learning_rate=5e-4,1e-3 train.epochs=4,8
"""

import json
import logging
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from drift.files import write_whole
from evaluation.data.markdown import markdown
from evaluation.statistics import seeds_interval
from pipelines import compose, plan, preflight, revisions, tables
from pipelines.catalogue.names import name
from pipelines.catalogue.query import is_number
from pipelines.errors import ConfigError
from pipelines.overrides import check_names, parted, spelled
from pipelines.schema import Config
from pipelines.scored import read_scores
from pipelines.session import guarded, rooted, scheduler, writable
from pipelines.stage import Call
from pipelines.store import Artifact

log = logging.getLogger(__name__)
Point = dict[str, str]  # axis -> value
Row = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """The words of a command: the axes with their values, the overrides that all points share, and where to write.

    Attributes:
        seeds: empty for the config's own.
    """

    axes: Mapping[str, tuple[str, ...]]
    seeds: tuple[int, ...]
    fixed: tuple[str, ...]
    out: str = ""

    def points(self) -> list[Point]:
        """Every combination, in the order of the words; one empty point where there is no axis."""
        return [dict(zip(self.axes, values, strict=True)) for values in product(*self.axes.values())]


@dataclass(frozen=True)
class Run:
    """One point in the world of one seed."""

    point: Point
    config: Config
    call: Call


def read(words: Sequence[str]) -> Asked:
    """Overrides with several values as axes.

    Raises:
        ConfigError: unknown keys and choices, or a seed that is none.
    """
    out = [word.partition("=")[2] for word in words if word.startswith("out=")]
    words = [word for word in words if not word.startswith("out=")]
    check_names(words, compose.CONF)
    axes, fixed = parted(words)
    seeds = axes.pop("seed", tuple(word.removeprefix("seed=") for word in fixed if word.startswith("seed=")))
    if unknown := [seed for seed in seeds if not seed.isdecimal()]:
        raise ConfigError(f"seed={','.join(seeds)}: {unknown[0]!r} is no seed; expected whole numbers from 0 on")
    return Asked(axes, tuple(map(int, seeds)), tuple(fixed), *out[-1:])


def planned(asked: Asked) -> list[Run]:
    """Every run, each once.

    Raises:
        ConfigError: two points are the same run, so that one of the axes changes nothing.
    """
    runs = []
    for point in asked.points():
        words = [*asked.fixed, *(f"{axis}={value}" for axis, value in point.items())]
        config = revisions.resolve(compose.load(words), online=True)
        for seed in asked.seeds or config.seeds:
            one = replace(config, seed=seed)
            runs.append(Run(point, one, plan.score(one)))
    seen: dict[str, Run] = {}
    for run in runs:
        other = seen.setdefault(run.call.key, run)
        if other is not run:
            if other.point == run.point:
                raise ConfigError(
                    f"seeds {other.config.seed} and {run.config.seed} of {name(run.config)} are the same artifact: "
                    "nothing in it is drawn by the seed; give one, as in seed=0"
                )
            raise ConfigError(f"{other.point} and {run.point} are the same run: one of the axes changes nothing there")
    return runs


def measured(run: Run, score: Artifact, checkpoint: Artifact) -> Row:
    """A row of runs.csv: percent by column and on average, and how far a training moved along the prior."""
    scores = {column: round(scored.score.value, 2) for column, scored in read_scores(score.path).items()}
    average = {"average": round(statistics.fmean(scores.values()), 2)}
    items = sum(scored.score.n for scored in read_scores(score.path).values())
    kept = {"w_eff": checkpoint.values.get("w_eff"), "n": items, "fingerprint": score.fingerprint}
    return {"name": name(run.config), **run.point, "seed": run.config.seed, **scores, **average, **kept}


def pooled(rows: Sequence[Row], axes: Sequence[str]) -> list[Row]:
    """A row of points.csv for each combination: means over its seeds, and of the average the spread and interval."""
    found = []
    for point in dict.fromkeys(tuple(row[axis] for axis in axes) for row in rows):
        mine = [row for row in rows if tuple(row[axis] for axis in axes) == point]
        averages = [row["average"] for row in mine]
        interval = seeds_interval(averages)
        columns = [key for key in mine[0] if key not in {"name", *axes, "seed", "average", "w_eff", "n", "fingerprint"}]
        row: Row = dict(zip(axes, point, strict=True)) | {"seeds": len(mine)}
        row |= {column: _mean([each[column] for each in mine]) for column in columns}
        row |= {"average": round(interval.mean, 2), "sd": _spread(averages)}
        row |= {end: None if len(mine) == 1 else round(getattr(interval, end), 2) for end in ("low", "high")}
        found.append(row | {"w_eff": _mean([each["w_eff"] for each in mine], 4), "n": sum(each["n"] for each in mine)})
    return found


def _mean(values: Sequence[float | None], digits: int = 2) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.fmean(known), digits) if known else None


def _spread(values: Sequence[float]) -> float | None:
    return round(statistics.stdev(values), 2) if len(values) > 1 else None


def write(rows: Sequence[Row], points: Sequence[Row], axes: Sequence[str], folder: Path) -> None:
    """runs.csv, points.csv, sweep.md, and the curve where one axis is numbers and has more than one."""
    import pandas

    for stem, records in (("runs", rows), ("points", points)):
        frame = pandas.DataFrame(records, dtype=object)
        write_whole(folder / f"{stem}.csv", frame.to_csv(index=False, lineterminator="\n"))
    shown = pandas.DataFrame(points, dtype=object).fillna("")
    note = "`low` and `high`: 95% t interval of the average over the seeds. `n`: items, all seeds together."
    write_whole(folder / "sweep.md", f"{markdown(shown)}\n\n{note}\n")
    numeric = [axis for axis in axes if all(is_number(point[axis]) for point in points)]
    if len(axes) == len(numeric) == 1 and len(points) > 1:
        _draw(points, numeric[0], folder)


def _draw(points: Sequence[Row], axis: str, folder: Path) -> None:
    """The average with its interval along the axis, and w_eff below it where there was a training."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ordered = sorted(points, key=lambda point: float(point[axis]))
    along = [float(point[axis]) for point in ordered]
    has_share = all(point["w_eff"] is not None for point in ordered)
    figure, panels = pyplot.subplots(1 + has_share, 1, figsize=(5, 3 + 2 * has_share), sharex=True, squeeze=False)
    mean = [point["average"] for point in ordered]
    panels[0][0].plot(along, mean, marker="o")
    if all(point["low"] is not None for point in ordered):
        ends = [[point[end] for point in ordered] for end in ("low", "high")]
        panels[0][0].fill_between(along, *ends, alpha=0.2, linewidth=0)
    panels[0][0].set_ylabel("average, %")
    if has_share:
        panels[1][0].plot(along, [point["w_eff"] for point in ordered], marker="o")
        panels[1][0].set_ylabel("w_eff")
    panels[-1][0].set_xlabel(axis)
    figure.tight_layout()
    for kind in ("png", "svg"):
        figure.savefig(folder / f"curve.{kind}", dpi=150)
    pyplot.close(figure)


def sweep(words: Sequence[str]) -> int:
    """Plans every run, makes what the store lacks, writes the aggregate; prints it as one JSON object."""
    asked = read(words)
    runs = planned(asked)
    folder = writable(Path(asked.out) if asked.out else rooted(runs[0].config.results + _suffix(asked)))
    preflight.check(runs[0].config, [run.call for run in runs])
    outcome = scheduler(runs[0].config).execute([run.call for run in runs])
    rows = [measured(run, outcome[run.call], outcome[_checkpoint(run.call)]) for run in runs]
    points = pooled(rows, list(asked.axes))
    write(rows, points, list(asked.axes), folder)
    print(json.dumps({"points": points, "folder": str(folder)}))
    log.info("%d stages were run, the rest was in the store. Read %s", outcome.executed, folder / "sweep.md")
    return 0


def _suffix(asked: Asked) -> str:
    axes = [f"{axis}={','.join(values)}" for axis, values in asked.axes.items()]
    seeds = [f"seed={','.join(map(str, asked.seeds))}"] if len(asked.seeds) > 1 else []
    return tables.suffix(["sweep", *tables.naming(asked.fixed), *axes, *seeds])


def _checkpoint(score: Call) -> Call:
    return score.inputs["responses"].inputs["model"]


def main(words: Sequence[str]) -> int:
    """The command `drift sweep`; the exit status."""
    return guarded(lambda: sweep(spelled(words)), words, __doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
