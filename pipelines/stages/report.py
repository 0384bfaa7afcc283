"""The report stage: tables as CSV and LaTeX, figures, the page, and where each number comes from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.layout import FIGURES, TABLES
from pipelines.report.figures import curves
from pipelines.report.kinds import KINDS
from pipelines.report.numbers import Evidence, Source, differences
from pipelines.report.page import Section, page
from pipelines.report.provenance import provenance
from pipelines.report.render import long_frame, to_latex
from pipelines.report.summaries import answers, choices, runs
from pipelines.stage import Runtime
from pipelines.stages import ReportParams


def report(params: ReportParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """`tables/`, `figures/`, `report.md` and `provenance.json`; values: how many numbers there are."""
    sources = {name: Source.open(path) for name, path in inputs.items()}
    tables = []
    for table in params.tables:
        cells = [cell for cell in params.cells if cell.table == table.name]
        tables.append(Evidence(table, cells, sources, params.published.get(table.published, "")))
    sections = [_section(evidence, out) for evidence in tables]
    text = page(params.profile, params.variant, params.seeds, sections, runs(tables), choices(tables))
    (out / "report.md").write_text(text, encoding="utf-8")
    traced = provenance(tables) | _gates(sources)
    (out / "provenance.json").write_text(json.dumps(traced, indent=1) + "\n", encoding="utf-8")
    return {"numbers": sum(len(row) for section in sections for row in section.numbers.values())}


def _gates(sources: Mapping[str, Source]) -> dict[str, Any]:
    """What each untouched, published MLLM was asked before anything was built on it (pipelines.stages.gate)."""
    asked = [source.manifest for name, source in sources.items() if name.startswith("gate-")]
    gates = [{key: manifest[key] for key in ("label", "fingerprint", "params", "values")} for manifest in asked]
    return {"gates": gates} if gates else {}


def _section(evidence: Evidence, out: Path) -> Section:
    """Writes a table's files and draws its figures; its section of the page."""
    for folder in (TABLES, FIGURES):
        (out / folder).mkdir(exist_ok=True)
    table, kind = evidence.table, KINDS[evidence.table.kind]
    numbers = kind.numbers(evidence)
    wide = kind.wide(evidence, numbers)
    long_frame(table, numbers).to_csv(out / TABLES / f"{table.name}_long.csv", index=False)
    wide.to_csv(out / TABLES / f"{table.name}.csv", index=False)
    (out / TABLES / f"{table.name}.tex").write_text(to_latex(wide, table), encoding="utf-8")
    drawn = curves(evidence, out / FIGURES) + kind.draw(evidence, numbers, out / FIGURES)
    return Section(
        table,
        wide,
        numbers,
        differences(numbers, table.pairings),
        figures=[f"{FIGURES}/{name}.png" for name in drawn],
        findings=kind.findings(evidence, numbers) + (answers(evidence) if table.answers else []),
    )
