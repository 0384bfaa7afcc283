"""The report as Markdown: warnings, findings, tables, links; and the appendix, which says how they came about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas

from evaluation.data.markdown import markdown
from pipelines.report.differences import Difference
from pipelines.report.names import Column
from pipelines.report.numbers import Numbers
from pipelines.report.render import bias_frame, difference_frame, unresolved
from pipelines.report.spec import Table
from pipelines.report.style import Figure
from pipelines.report.words import (
    ALL,
    BIAS,
    GRANULARITY,
    MARKS,
    OPENINGS,
    READING,
    RUNS,
    SPLIT,
    STAND_INS,
    VARIES,
)


@dataclass(frozen=True)
class Section:
    """One table with what goes below it."""

    table: Table
    wide: pandas.DataFrame
    numbers: Numbers
    differences: Mapping[str, Sequence[Difference]]
    figures: Sequence[Figure] = ()
    findings: Sequence[str] = ()
    twins: Mapping[str, str] = field(default_factory=dict)
    whole: pandas.DataFrame | None = None
    columns: Sequence[Column] = ()
    at_an_end: Sequence[str] = ()

    @property
    def stand_ins(self) -> dict[str, Column]:
        """The columns of stand-ins, by key."""
        return {column.key: column for column in self.columns if column.stands_for}

    def shown(self, frame: pandas.DataFrame) -> str:
        """A table of Markdown under the names that a reader sees."""
        return markdown(frame.rename(columns={column.key: column.shown for column in self.columns}))


def page(
    profile: str,
    variant: Sequence[str],
    seeds: Sequence[int],
    sections: Sequence[Section],
    findings: Sequence[str] = (),
    figures: Sequence[Figure] = (),
) -> str:
    """The report."""
    title = f"# DRIFT, reproduced: profile `{profile}`"
    if variant:
        words = " ".join(f"`{word}`" for word in variant)
        title += f", a variant\n\n**Made with {words}**, over what each row says itself."
    parts = [title, OPENINGS[profile].format(seeds=len(seeds))]
    if said := warnings(sections):
        parts += ["## Warnings", "\n".join(f"- {line}" for line in said)]
    if findings:
        parts += ["## Findings", "\n".join(f"- {line}" for line in findings), *_links(figures)]
    parts += [MARKS, *_stand_ins(sections)]
    for section in sections:
        parts += _section(section)
    return "\n\n".join(parts) + "\n"


def appendix(
    sections: Sequence[Section],
    runs: pandas.DataFrame,
    choices: Sequence[str],
    granularity: pandas.DataFrame | None = None,
    objections: Sequence[str] = (),
) -> str:
    """How the report's numbers came about: how they are read, what was chosen, what the checkpoints are."""
    parts = ["# Appendix", reading(sections)]
    if objections:
        parts += ["## What the paper's authors could say", "\n".join(f"- {line}" for line in objections)]
    if choices:
        parts += ["## Chosen on the validation draw", "\n".join(f"- {line}" for line in choices)]
    for section in sections:
        if more := _beside(section):
            parts += [f"## {section.table.title}", *more]
    if len(runs):
        parts += ["## What the checkpoints are", RUNS, markdown(runs)]
    if granularity is not None and len(granularity):
        parts += ["## Which item counts the paper's values fit", GRANULARITY, markdown(granularity)]
    return "\n\n".join(parts) + "\n"


def warnings(sections: Sequence[Section]) -> list[str]:
    """What a reader has to know first: verdicts nobody gave, answers cut or not read, ends of grids, lone worlds."""
    lines = []
    for section in sections:
        where, found = section.table.title.partition(".")[0], [n for row in section.numbers.values() for n in row]
        if unjudged := sum(number.unjudged for number in found):
            lines.append(f"{where}: {unjudged} verdicts are unjudged, the judge gave none. They are in no accuracy.")
        for what, counted in (("were cut at the limit of new tokens", "cut"), ("no rule could read", "unmatched")):
            if over := _most(section, counted):
                lines.append(f"{where}: more than 5% of the answers {what} in {', '.join(over)}; they count as wrong.")
        if section.at_an_end:
            rows = ", ".join(section.at_an_end)
            lines.append(f"{where}: chosen at an end of what was tried, so a better value may lie beyond: {rows}.")
        if any(d.varies == "worlds" and d.pairs < 2 for row in section.differences.values() for d in row):
            lines.append(f"{where}: one world, so no difference between rows can be claimed.")
    return lines


def _most(section: Section, counted: str) -> list[str]:
    """The rows in which more than one in twenty answers is counted so."""
    rows = section.numbers.items()
    return [label for label, row in rows if any(n.n and getattr(n, counted) > n.n / 20 for n in row)]


def _stand_ins(sections: Sequence[Section]) -> list[str]:
    """What each of the lab's suites is, and what it stands for."""
    found = {column.key: column for section in sections for column in section.stand_ins.values()}
    lines = [
        {"column": column.shown, "what it asks": column.asked, "stands for": column.stands_for}
        for column in found.values()
        if column.asked
    ]
    return [STAND_INS, markdown(lines)] if lines else []


def reading(sections: Sequence[Section]) -> str:
    """How to read the numbers, by what varies between the rows of these tables."""
    found = {n.varies for section in sections for row in section.numbers.values() for n in row}
    said = [text for kind, text in VARIES.items() if kind in found]
    return READING.format(varies=" ".join([*said, SPLIT] if found & {"runs", "questions"} else said))


def _section(section: Section) -> list[str]:
    table = section.table
    parts = [f"## {table.title}", section.shown(section.wide)]
    parts += _samples(section)
    if section.differences:
        parts += [
            f"Differences from {_compared(table)}, in points (the paper's in brackets, computed from its two numbers):",
            section.shown(difference_frame(section.differences, table)),
            *_verdicts(section),
        ]
    parts += section.findings
    if table.note:
        parts.append(table.note)
    return parts + _links(section.figures)


def _links(figures: Sequence[Figure]) -> list[str]:
    said = ", ".join(f"[{each.title}]({each.file}.svg)" for each in figures)
    return [f"Figures: {said}."] if figures else []


def _beside(section: Section) -> list[str]:
    """What a table's readers may ask for next."""
    parts = []
    if any(d.bias for row in section.differences.values() for d in row):
        parts += [BIAS, section.shown(bias_frame(section.differences, section.table))]
    if section.whole is not None:
        parts += [ALL, section.shown(section.whole)]
    return parts


def _samples(section: Section) -> list[str]:
    """Which rows were made how often, where that differs, and which are one row under several names."""
    by_count: dict[int, list[str]] = {}
    for label, row in section.numbers.items():
        if label not in section.twins:
            by_count.setdefault(len(row[0].values), []).append(label)
    lines = []
    if len(by_count) > 1:
        said = (f"{count} time{'s' * (count > 1)}: {', '.join(labels)}" for count, labels in sorted(by_count.items()))
        lines.append(f"Made {'; made '.join(said)}.")
    if section.twins:
        said = (f"{label} is {first}" for label, first in section.twins.items())
        lines.append(f"The same artifacts, so one row with two names: {'; '.join(said)}.")
    return lines


def _compared(table: Table) -> str:
    """What a table's differences are taken from, in words."""
    others = set(table.pairings.values())
    return f"*{others.pop()}*" if len(others) == 1 else "the row that each is compared with"


def _verdicts(section: Section) -> list[str]:
    """Which rows can't be told apart from the one they are compared with, and where ours goes against the paper."""
    rows = unresolved(section.differences)
    if any(d.varies == "worlds" and d.pairs < 2 for row in section.differences.values() for d in row):
        return ["One world: no difference between rows can be claimed from this table."]
    every = len(section.table.columns)
    names = {column.key: column.shown for column in section.columns}
    open_rows = [
        f"{label} ({'all columns' if len(columns) == every > 1 else '; '.join(names.get(c, c) for c in columns)})"
        for label, columns in rows.items()
        if columns
    ]
    lines = []
    if open_rows:
        lines.append(f"Not told apart from {_compared(section.table)} (interval includes 0): {'; '.join(open_rows)}.")
    resolved = (
        (label, d)
        for label, row in section.differences.items()
        for d in row
        if d.column not in rows[label] and d.column not in section.stand_ins and not d.is_the_scorers
    )
    against = [
        f"{label}, {d.column}: ours {d.interval.mean:+.1f}, the paper's {d.paper:+.1f}"
        for label, d in resolved
        if d.paper and d.paper * d.interval.mean < 0
    ]
    if scorers := [
        f"{label}, {d.column}" for label, row in section.differences.items() for d in row if d.is_the_scorers
    ]:
        lines.append(f"Unresolved by the scorer (‡): {'; '.join(scorers)}.")
    if against:
        lines.append(f"Resolved, and of the other sign than the paper's: {'; '.join(against)}.")
    return lines
