"""What a report is made of, as data: `outline.json`, from which the page is built with the CSVs and no store."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pipelines.report.bundle import Harvest
from pipelines.report.names import columns
from pipelines.report.numbers import Evidence
from pipelines.report.page import Section, reading, warnings
from pipelines.report.spec import Table
from pipelines.report.words import OBJECTIONS, OPENINGS


def outline(
    profile: str,
    variant: Sequence[str],
    seeds: Sequence[int],
    tables: Sequence[tuple[Evidence, Section]],
    found: Harvest,
    choices: Sequence[str],
) -> dict[str, Any]:
    """The whole outline.

    Returns:
        `profile`, `variant`, `seeds`, `opening` and `reading` (Markdown); `protocols`, the configured one first, each
        with how many verdicts it gives otherwise; `choices`; `tables`, a record each.
    """
    own = sorted(found.configured)
    names = [*own, *(name for name in sorted(found.changes) if name not in own)]
    return {
        "profile": profile,
        "variant": list(variant),
        "seeds": list(seeds),
        "objections": list(OBJECTIONS.get(profile, ())),
        "opening": OPENINGS[profile].format(seeds=len(seeds)),
        "reading": reading([section for _, section in tables]),
        "warnings": warnings([section for _, section in tables]),
        "protocols": [
            {"name": name, "changed": found.changes[name][0], "of": found.changes[name][1]} for name in names
        ],
        "choices": list(choices),
        "tables": [_table(evidence, section, profile, found, names[1:]) for evidence, section in tables],
    }


def _table(
    evidence: Evidence, section: Section, profile: str, found: Harvest, others: Sequence[str]
) -> Mapping[str, Any]:
    table = evidence.table
    return {
        "name": table.name,
        "title": table.title,
        "kind": table.kind,
        "note": table.note,
        "columns": [asdict(column) | {"heading": column.heading} for column in columns(evidence)],
        "rows": [_row(table, row.label, evidence, profile) for row in table.rows],
        "printed": {"columns": list(section.wide.columns), "rows": section.wide.astype(str).values.tolist()},
        "twins": dict(section.twins),
        "findings": list(section.findings),
        "figures": [{"file": each.file, "title": each.title} for each in section.figures],
        "protocols": [name for name in others if found.differs(name, evidence)],
    }


def _row(table: Table, label: str, evidence: Evidence, profile: str) -> dict[str, Any]:
    row = next(each for each in table.rows if each.label == label)
    entry = evidence.paper(row)
    return {
        "label": label,
        "role": row.role,
        "against": table.pairings.get(label, ""),
        "overrides": [*row.overrides, *table.in_profile.get(profile, ())],
        "paper": {column: entry[column] for column in table.columns if entry.get(column)},
    }
