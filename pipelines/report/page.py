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

OPENINGS = {
    "lab": (
        "**This is a small world, not the paper's models.** Every number here was measured on language models of about "
        "118 thousand parameters, trained from scratch by this pipeline on two CPU cores, that read handwritten digits "
        "and reason over them; the benchmarks are stand-ins written by the pipeline. What may be concluded: whether "
        "the code does what the paper describes, and how the methods compare *in this world* over its {seeds} seed(s). "
        "What may not: anything about Qwen2.5-VL-7B, or about the size of an effect on the real benchmarks. Values in "
        "[brackets] are the paper's, printed for orientation; ours and theirs share no scale."
    ),
    "smoke": (
        "**This is a smoke test, not a result.** Its world is cut to a size at which nothing is learnt; the numbers "
        "show that every stage runs and nothing else. They must not be quoted. Values in [brackets] are the paper's."
    ),
    "paper": (
        "Measured at the paper's scale with the checkpoints and settings named in provenance.json, over {seeds} "
        "seed(s). Values in [brackets] are the paper's (arXiv 2510.15050)."
    ),
    "small": (
        "Measured with the smallest published pair, Qwen2-VL-2B-Instruct and Qwen2-Math-1.5B-Instruct, one epoch and "
        "{seeds} seed(s) on one GPU. The paper has no numbers for it, and nothing here is told apart by training seeds."
    ),
    "published": (
        "No model was run. Answers that others published, item by item with their own verdicts, were scored by this "
        "project's rules and held against those verdicts: how far the scorer of every other report can be trusted. "
        "Values in [brackets] are the publishers', in Table 1 the paper's (arXiv 2510.15050)."
    ),
}
MARKS = (
    "Scores are percent, mean ± standard deviation; intervals are 95%; * is p < 0.05 after Holm's correction over a row; "
    "[brackets] are the paper's. [The page](index.html) goes from each cell to its runs and items, "
    "[the appendix](appendix.md) says how numbers are read, what was chosen and what the checkpoints are."
)
STAND_INS = (
    "The columns are the lab's own suites. Each is a stand-in: the number in brackets is the paper's on the benchmark "
    "that it stands for, on another scale, and whether the two agree says nothing."
)
READING = (
    "Scores are percent: mean ± sample standard deviation over what was made more than once. Intervals are 95%; "
    "* marks p < 0.05 after Holm's correction over the columns of a row. {varies} Counts, intervals and fingerprints "
    "of every number are in `tables/*_long.csv` and `provenance.json`, the values that it is the mean of in "
    "`tables/*_values.csv`, the tests in `tables/*_differences.csv`."
)
VARIES = {
    "worlds": (
        "Each seed is a world of its own, with other models and other items. Intervals are Student's t over worlds (a "
        "score's is taken for its log odds, so that it stays between 0 and 100), and differences are paired by world."
    ),
    "runs": (
        "Rows made several times answered the same items: their intervals cover runs and questions at once (crossed "
        "random effects). Differences are paired by run and by item."
    ),
    "questions": (
        "What was made once, whatever the seeds, is one sample: its intervals cover the questions alone, versions of "
        "one question together; differences are paired by item, with McNemar's exact test where each question is one "
        "item. They say nothing about another training."
    ),
}
SPLIT = (
    "Published benchmarks are parted by question (`conf/splits`): choices were made on one part, and numbers are of "
    "the other, or of all items where nothing was chosen. (at most ...) is the score if every answer that no rule "
    "reads were right, where no judge was asked."
)
ALL = (
    "On all items, which the paper's are of. † marks rows whose hyper-parameter was chosen on some of these items: no "
    "held-out score."
)
BIAS = (
    "What the rules make of each difference beyond the judge, with its interval. ‡ above marks a difference no larger "
    "than that: unresolved by the scorer."
)
GRANULARITY = (
    "A share of n items is a multiple of 1/n: how many of the published values can be one, rounded or cut, for counts "
    "that all of a column would fit by chance less than once in twenty times. Each value stands in "
    "`tables/*_granularity.csv`. Table 1's MathVision column is of MathVision_MINI, which is what its rows run on."
)
RUNS = (
    "w_eff is <theta_T - theta_0, Delta> / ||Delta||²: how far a run moved along its own prior (0 not at all, 1 as far "
    "as the expert; for the controls, along the random or the reversed direction). theta_0 is the start of its own "
    "training, so for the run that merged first w_eff comes on top of the merge. `covered` counts the parameters that "
    "the prior was attached to, of those selected. `transcription` is the share of answers that copy the digits right "
    "before reasoning, `closed` the share that end their reasoning."
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
        parts += ["## Findings", "\n".join(f"- {line}" for line in findings)]
    parts += [MARKS, *_stand_ins(sections)]
    for section in sections:
        parts += _section(section)
    return "\n\n".join(parts) + "\n"


def appendix(
    sections: Sequence[Section],
    runs: pandas.DataFrame,
    choices: Sequence[str],
    granularity: pandas.DataFrame | None = None,
) -> str:
    """How the report's numbers came about: how they are read, what was chosen, what the checkpoints are."""
    parts = ["# Appendix", reading(sections)]
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
    """What a reader has to know before the numbers: verdicts nobody gave, answers cut short or not read, one world."""
    lines = []
    for section in sections:
        where, found = section.table.title.partition(".")[0], [n for row in section.numbers.values() for n in row]
        if unjudged := sum(number.unjudged for number in found):
            lines.append(f"{where}: {unjudged} verdicts are unjudged, the judge gave none. They are in no accuracy.")
        for what, counted in (("were cut at the limit of new tokens", "cut"), ("no rule could read", "unmatched")):
            if over := _most(section, counted):
                lines.append(f"{where}: more than 5% of the answers {what} in {', '.join(over)}; they count as wrong.")
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
    if section.figures:
        parts.append("Figures: " + ", ".join(f"[{each.title}]({each.file}.svg)" for each in section.figures) + ".")
    return parts


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
