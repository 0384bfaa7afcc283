"""What a report says besides its tables: what the checkpoints are, what was chosen, how the rows answered."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import pandas

from evaluation.data.markdown import markdown
from pipelines.report.geometry_figures import slopes
from pipelines.report.numbers import Evidence, Numbers
from pipelines.report.render import BLANK, cell_text
from pipelines.report.sources import Source
from pipelines.report.spec import AVERAGE
from pipelines.report.unseen import seen_of_all

SLOPES = (
    "What distance costs: the slope of a line through the rows of a series, fitted in each world, as its mean over "
    "worlds with the interval over worlds (in points of the last column)."
)
ANSWERS = (
    "How the rows answered: percent of the responses that end a chain of thought, though none was asked for. A wrong "
    "answer after a chain may be another question's answer and says little of what was seen; see `transcription` in "
    "the appendix for what is read before reasoning."
)


def price_of_distance(evidence: Evidence, numbers: Numbers) -> list[str]:
    """The slope of each series of a table of distances."""
    return [SLOPES, markdown(slopes(evidence.table, evidence.by_row("geometry"), numbers))]


def answers(evidence: Evidence) -> list[str]:
    """The share of each row's answers that end a chain of thought, by benchmark; nothing where none was recorded."""
    names = list(dict.fromkeys(c.partition("_")[0] for c in evidence.table.columns if c != AVERAGE))
    lines = []
    for label, sources in evidence.by_row("score").items():
        scored = [source.scores for source in sources]
        if all(scores[name].diagnostics for scores in scored for name in names):
            shares = [[scores[name].diagnostics["closed"] for scores in scored] for name in names]
            lines.append([label, *(_over_seeds(each, "{:.0f}") for each in shares)])
    return [ANSWERS, markdown(pandas.DataFrame(lines, columns=["row", *names]))] if lines else []


def on_all_items(evidence: Evidence) -> pandas.DataFrame | None:
    """The table on all items, with a mark where a choice has seen some; None where nothing was left out.

    A row under its second name has a line of its own: only one of the two may have been chosen.
    """
    numbers, seen = evidence.scores("all"), seen_of_all(evidence)
    if not numbers:
        return None
    lines = []
    for row in (row for row in evidence.table.rows if row.label in numbers):
        count, of = seen[row.label]
        label = f"{row.label} † ({count} of {of} seen)" if count else row.label
        lines.append([label, *(cell_text(number) for number in numbers[row.label])])
    return pandas.DataFrame(lines, columns=["row", *evidence.table.columns])


def runs(tables: Sequence[Evidence]) -> pandas.DataFrame:
    """One line per distinct row: what made it, how far along Delta it lies, how it reads its images."""
    lines: dict[str, list[str]] = {}
    for evidence in tables:
        for label in dict.fromkeys(cell.row for cell in evidence.cells if "score" in cell.artifacts):
            if label not in lines and evidence.by_row("checkpoint")[label][0].manifest["stage"] != "answers":
                lines[label] = _run(label, evidence)
    columns = ["row", "made by", "w_eff", "covered", "transcription", "closed"]
    return pandas.DataFrame(list(lines.values()), columns=columns)


def _run(label: str, evidence: Evidence) -> list[str]:
    checkpoints, scores = (evidence.by_row(role)[label] for role in ("checkpoint", "score"))
    made = [source.manifest["values"] for source in checkpoints]
    covered = sorted({f"{values['covered']}/{values['expected']}" for values in made if values.get("expected")})
    diagnostics = [each for each in map(_diagnostics, scores) if each]
    return [
        label,
        checkpoints[0].manifest["stage"],
        _over_seeds([way for way in evidence.w_eff()[label] if way is not None], "{:.2f}"),
        ", ".join(covered) or BLANK,
        _over_seeds([d["transcription"] for d in diagnostics], "{:.0f}"),
        _over_seeds([d["closed"] for d in diagnostics], "{:.0f}"),
    ]


def _diagnostics(source: Source) -> dict[str, float]:
    """Each diagnostic as its mean over the benchmarks that have it."""
    found = [scores.diagnostics for scores in source.scores.values() if scores.diagnostics]
    return {name: statistics.fmean(each[name] for each in found) for name in (found[0] if found else ())}


def _over_seeds(values: Sequence[float], form: str) -> str:
    if not values:
        return BLANK
    spread = f" ± {form.format(statistics.stdev(values))}" if len(values) > 1 else ""
    return form.format(statistics.fmean(values)) + spread


def choices(tables: Sequence[Evidence]) -> list[str]:
    """A line per choice: what was chosen for the rows, and the mean validation score of everything tried."""
    lines = {}
    for evidence in tables:
        for choice in _choices(evidence).values():
            tried = "; ".join(f"{_text(v['value'])}: {v['validation']:.1f}" for v in choice["values"]["validation"])
            chosen = _text(choice["values"]["chosen"])
            lines[choice["label"]] = f"{choice['label']}: {chosen} (mean score at {tried})"
            if last := ends(choice["values"]):
                lines[choice["label"]] += f"; an end of what was tried: {', '.join(last)}"
    return [lines[label] for label in sorted(lines)]


def at_an_end(evidence: Evidence) -> list[str]:
    """The rows whose value is the least or the greatest of those that it was chosen from."""
    return [row for row, choice in _choices(evidence).items() if ends(choice["values"])]


def _choices(evidence: Evidence) -> dict[str, Mapping[str, Any]]:
    """The manifest of each row's choice, which all its worlds share."""
    rows = {cell.row: cell.artifacts["choice"] for cell in evidence.cells if "choice" in cell.artifacts}
    return {row: evidence.sources[name].manifest for row, name in rows.items()}


def ends(values: Mapping[str, Any]) -> list[str]:
    """The numbers of a chosen value that were tried on one side of it only; `values` are a choice's."""
    chosen, tried = _numbers(values["chosen"]), [_numbers(each["value"]) for each in values["validation"]]
    found = {name: {each[name] for each in tried if name in each} for name in chosen}
    return [name for name, of in found.items() if len(of) > 1 and chosen[name] in (min(of), max(of))]


def _numbers(value: float | Mapping[str, Any]) -> dict[str, float]:
    named = value if isinstance(value, Mapping) else {"alpha": value}
    return {name: each for name, each in named.items() if isinstance(each, (int, float))}


def _text(value: float | Mapping[str, Any]) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return f"{value:g}"
