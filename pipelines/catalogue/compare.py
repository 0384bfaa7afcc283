"""`drift compare`: two selections of a store's runs held against each other, or verdict files (evaluation.compare).

Runs are paired by seed, and their answers question by question. What an interval covers follows from what varies
between the pairs, as in the tables (pipelines.report.differences): worlds; runs and questions; the questions alone of
one pair, which says nothing of another run.
"""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drift import words
from drift.files import write_whole
from evaluation import compare as files
from pipelines.catalogue.query import varying
from pipelines.catalogue.runs import Run
from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from pandas import DataFrame

    from pipelines.report.sources import Run as Scored

VERSUS = "vs"
_BOTH = "both"
_KEYS = ("column", "first", "second", "difference", "low", "high", "p", "p_holm", "over", "pairs", "n")


@dataclass(frozen=True)
class Compare:
    """Compares two selections of a store's runs: the second minus the first, in points, by benchmark and on average.

    Conditions are those of `drift ls`; those after `both` are of both sides. Each side has one run a seed: where
    several fit, the one of the plainest name, whose settings are its method's own. What is in one side's seeds alone is
    left out. The p-values are two-sided, and Holm's over the columns. `over` is what an interval covers: worlds, runs
    and questions, or the questions of one pair alone.

    Verdict files are compared by their paths, with no `vs` between them: `drift compare A.jsonl B.jsonl`, and
    `python -m evaluation.compare --help` has the keys.

    Example:
        drift compare method=sft vs method=drift scale=gradnorm alpha=-0.3 both split=test
        drift compare method=sft vs method=ties both split=test out=/tmp/sft-ties

    Attributes:
        conditions: of the first side, `vs`, of the second, and after `both` of the two.
        out: a folder for compare.csv, compare.md and the figure `forest` (.svg, .pdf, .png, its numbers in .csv).
        store: the folder of artifacts.
    """

    conditions: tuple[str, ...] = field(default=(), metadata=words.OPEN)
    out: Path | None = None
    store: Path = Path("artifacts")


def compare(command: Compare) -> str:
    """The table, and where it was written."""
    import pandas

    first, second = _sides(command.conditions, command.store)
    rows = differences(first, second)
    frame = pandas.DataFrame(rows, columns=_KEYS, dtype=object)
    said = [f"first:  {_names(first)}", f"second: {_names(second)}", "", str(_shown(frame).to_string(index=False))]
    if command.out is not None:
        _write(frame, rows, [_names(first), _names(second)], command.out)
        said.append(f"\nwritten into {command.out}")
    return "\n".join(said)


def _sides(conditions: Sequence[str], store: Path) -> tuple[list[Run], list[Run]]:
    """Both sides' runs in the order of the seeds that they share.

    Raises:
        ConfigError: no run on a side, several of one seed, or no seed in common.
    """
    from pipelines.catalogue.commands import find, held

    place = conditions.index(VERSUS)
    end = conditions.index(_BOTH) if _BOTH in conditions else len(conditions)
    both = conditions[end + 1 :]
    every, sides = held(store), []
    for asked in (conditions[:place], conditions[place + 1 : end]):
        found, names = find(every, [*asked, *both], "seed")
        if not found:
            raise ConfigError(f"no run fits {' '.join([*asked, *both])}; `drift ls` lists them")
        found = _plainest(found)
        by_seed = {run.settings["seed"]: run for run in found}
        if len(by_seed) < len(found):
            told = ", ".join(names.short(key) for key in varying(found) if key != "seed")
            raise ConfigError(f"{len(found)} runs fit {' '.join([*asked, *both])}; they differ in {told}: say which")
        sides.append(by_seed)
    shared = [seed for seed in sides[0] if seed in sides[1]]
    if not shared:
        raise ConfigError(f"the sides share no seed: {sorted(map(str, sides[0]))} and {sorted(map(str, sides[1]))}")
    return [sides[0][seed] for seed in shared], [sides[1][seed] for seed in shared]


def _plainest(found: Sequence[Run]) -> list[Run]:
    """Of each seed the runs whose names have the fewest words: what nobody says is as their method has it."""
    fewest: dict[Any, int] = {}
    for run in found:
        seed, words = run.settings["seed"], len(run.name.split())
        fewest[seed] = min(words, fewest.get(seed, words))
    return [run for run in found if len(run.name.split()) == fewest[run.settings["seed"]]]


def differences(first: Sequence[Run], second: Sequence[Run]) -> list[dict[str, Any]]:
    """A row for each column that both sides have, and their average, paired run by run.

    Raises:
        ConfigError: no benchmark in common, or both sides are one.
    """
    from evaluation.statistics import holm
    from pipelines.report.differences import gain, gain_over_questions
    from pipelines.report.numbers import column_value
    from pipelines.report.sources import varies
    from pipelines.report.spec import AVERAGE

    columns = [name for name in first[0].manifest["values"]["scores"] if name in second[0].manifest["values"]["scores"]]
    if not columns:
        raise ConfigError("the two sides have no benchmark in common")
    if any(one.fingerprint == other.fingerprint for one, other in zip(first, second, strict=True)):
        raise ConfigError("both sides are the same runs")
    shown = [*columns, AVERAGE] if len(columns) > 1 else columns
    pairs = [(_opened(mine), _opened(other)) for other, mine in zip(first, second, strict=True)]
    over = varies([mine for mine, _ in pairs]) if len(pairs) > 1 else "questions"
    measure = gain if len(pairs) > 1 else gain_over_questions
    rows = []
    for column in shown:
        found = measure(pairs, column, shown)
        mine, other = (
            [column_value(run.score.scores, column, shown) for run in side] for side in zip(*pairs, strict=True)
        )
        means = statistics.fmean(other), statistics.fmean(mine)
        measured = (found.mean, found.low, found.high, found.p_value)
        rows.append(dict(zip(_KEYS, (column, *means, *measured, None, over, len(pairs), found.n), strict=True)))
    adjusted = holm([row["p"] if row["p"] is not None else 1.0 for row in rows])
    return [row | {"p_holm": p} for row, p in zip(rows, adjusted, strict=True)]


def _opened(run: Run) -> "Scored":
    """A run with the tables that it was scored on, as the report reads them.

    Raises:
        ConfigError: the tables were removed.
    """
    from pipelines.report.sources import Run as Opened
    from pipelines.report.sources import Source

    if "benchmarks" not in run.lineage:
        raise ConfigError(f"the tables of {run.name} are no longer in the store, so its questions can't be paired")
    tables = run.lineage["benchmarks"]
    store = run.path.parent.parent
    return Opened(Source.open(run.path), Source.open(store / tables["stage"] / tables["fingerprint"][:20]))


def _names(runs: Sequence[Run]) -> str:
    """One run's name without its seed, and the seeds."""
    name = runs[0].name.removesuffix(f" seed={runs[0].settings['seed']}")
    return f"{name}, seeds {', '.join(str(run.settings['seed']) for run in runs)}"


def _shown(frame: "DataFrame") -> "DataFrame":
    """Points to one digit, p-values to two that count."""
    points = ("first", "second", "difference", "low", "high")
    shown = frame.copy()
    for key in points:
        shown[key] = [f"{value:+.1f}" if key == "difference" else f"{value:.1f}" for value in frame[key]]
    for key in ("p", "p_holm"):
        shown[key] = ["" if value is None else f"{value:.2g}" for value in frame[key]]
    return shown


def _write(frame: "DataFrame", rows: Sequence[dict[str, Any]], names: Sequence[str], folder: Path) -> None:
    """compare.csv, compare.md and the forest."""
    from evaluation.data.markdown import markdown

    write_whole(folder / "compare.csv", frame.to_csv(index=False, lineterminator="\n"))
    said = f"The second minus the first, in points, with 95% intervals.\n\n- first: {names[0]}\n- second: {names[1]}\n"
    write_whole(folder / "compare.md", f"{said}\n{markdown(_shown(frame))}\n")
    _draw(rows, f"{names[1]}\nminus {names[0]}, in points", folder / "forest")


def _draw(rows: Sequence[dict[str, Any]], title: str, stem: Path) -> None:
    """A line a column, as the report's headline has one a row."""
    from pipelines.report.forest import Forest, Line, draw
    from pipelines.report.style import styled

    with styled():
        draw(Forest(title, [Line(row["column"], row["difference"], row["low"], row["high"], ()) for row in rows]), stem)


def main(asked: Sequence[str]) -> int:
    """The command `drift compare`; the exit status."""
    if VERSUS not in asked and not any(word in words.HELP for word in asked):
        return files.main(asked)
    return words.run(asked, Compare, compare)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
