"""The report a person reads: what was measured, beside the paper, with what may and may not be concluded from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas

from evaluation.data.markdown import markdown
from pipelines.report.numbers import Difference, Numbers
from pipelines.report.render import difference_frame, unresolved
from pipelines.report.spec import Table

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
    "published": (
        "No model was run. Answers that others published, item by item with their own verdicts, were scored by this "
        "project's rules and held against those verdicts: how far the scorer of every other report can be trusted. "
        "Values in [brackets] are the publishers', in Table 1 the paper's (arXiv 2510.15050)."
    ),
}
READING = (
    "Scores are percent: mean ± sample standard deviation over seeds (each seed is a world of its own). Intervals are "
    "95%, Student's t over seeds. Differences are paired by seed; * marks p < 0.05 after Holm's correction over the "
    "columns of a row. Counts, intervals and fingerprints of every number are in `tables/*_long.csv` and "
    "`provenance.json`."
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
    figures: Sequence[str] = ()
    findings: Sequence[str] = ()


def page(
    profile: str,
    variant: Sequence[str],
    seeds: Sequence[int],
    sections: Sequence[Section],
    runs: pandas.DataFrame,
    choices: Sequence[str],
) -> str:
    """The whole report as Markdown."""
    title = f"# DRIFT, reproduced: profile `{profile}`"
    if variant:
        words = " ".join(f"`{word}`" for word in variant)
        title += f", a variant\n\n**Made with {words}**, over what each row says itself."
    parts = [title, OPENINGS[profile].format(seeds=len(seeds)), READING]
    if choices:
        parts += ["## Chosen on the validation draw", "\n".join(f"- {line}" for line in choices)]
    for section in sections:
        parts += _section(section)
    if len(runs):
        parts += ["## What the checkpoints are", RUNS, markdown(runs)]
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> list[str]:
    table = section.table
    parts = [f"## {table.title}", markdown(section.wide)]
    fewer = sorted({len(n.values) for row in section.numbers.values() for n in row})
    if len(fewer) > 1:
        parts.append(f"Rows rest on different numbers of seeds ({', '.join(map(str, fewer))}); see the long table.")
    unjudged = sum(n.unjudged for row in section.numbers.values() for n in row)
    if unjudged:
        parts.append(f"{unjudged} verdicts are unjudged: the judge gave none. They are in no accuracy.")
    if section.differences:
        parts += [
            f"Differences from {_compared(table)}, in points (the paper's in brackets, computed from its two numbers):",
            markdown(difference_frame(section.differences, table)),
            *_verdicts(section),
        ]
    parts += section.findings
    if table.note:
        parts.append(table.note)
    parts += [f"![{table.title}: {Path(path).stem}]({path})" for path in section.figures]
    return parts


def _compared(table: Table) -> str:
    """What a table's differences are taken from, in words."""
    others = set(table.pairings.values())
    return f"*{others.pop()}*" if len(others) == 1 else "the row that each is compared with"


def _verdicts(section: Section) -> list[str]:
    """Which rows can't be told apart from the one they are compared with, and where ours goes against the paper."""
    rows = unresolved(section.differences)
    if any(d.interval.n < 2 for row in section.differences.values() for d in row):
        return ["One seed: no difference between rows can be claimed from this table."]
    every = len(section.table.columns)
    open_rows = [
        f"{label} ({'all columns' if len(columns) == every > 1 else ', '.join(columns)})"
        for label, columns in rows.items()
        if columns
    ]
    lines = []
    if open_rows:
        lines.append(f"Not told apart from {_compared(section.table)} (interval includes 0): {'; '.join(open_rows)}.")
    against = [
        f"{label}, {d.column}: ours {d.interval.mean:+.1f}, the paper's {d.paper:+.1f}"
        for label, row in section.differences.items()
        for d in row
        if d.paper and d.column not in rows[label] and d.paper * d.interval.mean < 0
    ]
    if against:
        lines.append(f"Resolved, and of the other sign than the paper's: {'; '.join(against)}.")
    return lines
