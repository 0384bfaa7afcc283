"""`drift ls` and `drift show`: the runs of a store as a table, and one of them whole.

Light: no torch, no Hydra; 400 runs list in half a second.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeInt

from drift import words
from drift.files import replacing
from pipelines.catalogue.query import Names, conditions, varying
from pipelines.catalogue.runs import RUN, Run, Value, runs
from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from pandas import DataFrame

_ROOT = Path(__file__).resolve().parent.parent.parent  # a configured store lies below the project's root


@dataclass(frozen=True)
class List:
    """Lists the scores that a store holds, the best average first.

    A condition is KEY=VALUE[,VALUE...], KEY!=VALUE, or a number's 'KEY<VALUE' (quoted, for the shell's sake). A key is
    any setting of the run or of what it was made from by its name in the config, whole or its last parts: method, seed,
    alpha, scale, kind, split, train.learning_rate (lr), train.zero_stage (zero), mllm.family, distance; or a column of
    scores. Only the settings that tell the listed runs apart are columns.

    Example:
        drift ls method=drift scale=gradnorm seed=2 split=validation
        drift ls split=test 'alpha<0' 'average>80' sort=alpha format=csv
        drift ls out=runs.parquet

    Attributes:
        conditions: which runs; all of them without any.
        sort: the key to sort by; scores run from high to low, settings from low to high.
        limit: at most so many; 0 is all.
        format: of the listing on standard output.
        out: a .csv or .parquet file to write into instead, with every setting as a column.
        store: the folder of artifacts.
    """

    conditions: tuple[str, ...] = field(default=(), metadata=words.OPEN)
    sort: str = "average"
    limit: NonNegativeInt = 0
    format: Literal["table", "csv"] = "table"
    out: Path | None = None
    store: Path = Path("artifacts")


@dataclass(frozen=True)
class Show:
    """Shows the first run that `drift ls` would list with the same conditions: settings, scores, lineage, logs.

    Example:
        drift show method=drift scale=gradnorm seed=2 split=validation
        drift show fingerprint=010169e0

    Attributes:
        conditions: which run, as for `drift ls`; or fingerprint=, the first digits of one.
        sort: the best by this comes first.
        store: the folder of artifacts.
    """

    conditions: tuple[str, ...] = field(default=(), metadata=words.OPEN)
    sort: str = "average"
    store: Path = Path("artifacts")


def list_runs(command: List) -> str:
    """The listing, or where it was written."""
    import pandas

    found, names = find(held(command.store), command.conditions, command.sort)
    found = found[: command.limit or None]
    if command.out is not None:
        frame = pandas.DataFrame([{**run.settings, **run.scores, "path": str(run.path)} for run in found])
        _write(frame, command.out)
        return f"{len(found)} runs in {command.out}"
    keys = varying(found)
    records = [{names.short(key): run.settings.get(key) for key in keys} | _scored(run) for run in found]
    frame = pandas.DataFrame(records, dtype=object).fillna("")
    if command.format == "csv":
        return str(frame.to_csv(index=False, lineterminator="\n")).rstrip("\n")
    return str(frame.to_string(index=False)) if found else "no run fits"


def show_run(command: Show) -> str:
    """One run as text."""
    wanted = [word for word in command.conditions if not word.startswith("fingerprint=")]
    marks = [word.partition("=")[2] for word in command.conditions if word.startswith("fingerprint=")]
    found, _ = find(held(command.store), wanted, command.sort)
    found = [run for run in found if all(run.fingerprint.startswith(mark) for mark in marks)]
    if not found:
        raise ConfigError(f"no run fits {' '.join(command.conditions)}; `drift ls` lists them")
    return "\n".join(_shown(found[0], found[1:], command.sort))


def held(store: Path) -> list[Run]:
    """Every run of a store."""
    return runs(_ROOT / store)


def find(every: Sequence[Run], wanted: Sequence[str], sort: str) -> tuple[list[Run], Names]:
    """The runs that the conditions mean, in order, and the names of all settings in the store."""
    names = Names.of(every)
    asked = conditions(wanted, names)
    found = [run for run in every if all(each.holds(run.known) for each in asked)]
    key = names.whole(sort)
    is_score = any(key in run.scores for run in every)
    found = [run for run in found if run.known.get(key) is not None]
    found.sort(key=lambda run: _ordinal(run.known[key]), reverse=is_score)
    return found, names


def _ordinal(value: Value) -> tuple[bool, float, str]:
    """Numbers by size, then words by letters."""
    is_word = isinstance(value, str)
    return is_word, 0.0 if is_word else float(value or 0), str(value)


def _scored(run: Run) -> dict[str, Value]:
    return {**{column: f"{value:.1f}" for column, value in run.scores.items()}, "fingerprint": run.fingerprint[:12]}


def _shown(run: Run, others: Sequence[Run], sort: str) -> Iterator[str]:
    yield f"{run.name}\n{run.path}"
    if RUN in run.manifest:
        yield f"made by: {run.manifest[RUN]['command']}"
    if others:
        yield f"the first of {1 + len(others)} that fit, by {sort}; the next is {others[0].name}"
    yield "\nscores"
    yield from (f"  {column}  {value:.2f}" for column, value in run.scores.items())
    yield "\nsettings"
    yield from (f"  {key}={json.dumps(value)}" for key, value in run.settings.items())
    yield "\nmade from"
    for way, made in run.lineage.items():
        git = made["git"]
        code = f"{git['sha'][:10]}{' with changes' if git['dirty'] else ''}" if git["sha"] else "no checkout"
        folder = f"{made['stage']}/{made['fingerprint'][:20]}"
        yield f"  {way or 'score'}  {folder}  {made['started']}  {made['seconds']} s  code {code}"
    trained = run.lineage.get("responses.model", {})
    if trained.get("stage") == "train":
        yield f"\ntraining log  {run.path.parent.parent / 'train' / trained['fingerprint'][:20] / 'log.txt'}"


def _write(frame: "DataFrame", path: Path) -> None:
    """Writes the table whole.

    Raises:
        ConfigError: neither .csv nor .parquet.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"out={path}: expected a name that ends in .csv or .parquet")
    with replacing(path) as stream:
        if path.suffix == ".csv":
            frame.to_csv(stream, index=False, lineterminator="\n")
        else:
            frame.to_parquet(stream, index=False)


list_main = partial(words.run, command=List, body=list_runs)
show_main = partial(words.run, command=Show, body=show_run)


if __name__ == "__main__":
    sys.exit(list_main(sys.argv[1:]))
