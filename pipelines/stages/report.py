"""The report stage: tables as CSV and LaTeX, figures, the page, and where each number comes from."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drift.files import write_jsonl
from evaluation.distil.funnel import FUNNEL, REJECTS, some_rejects
from pipelines.layout import DATA, FIGURES, TABLES
from pipelines.report.differences import differences
from pipelines.report.figures import curves
from pipelines.report.granularity import audit, summary
from pipelines.report.kinds import KINDS
from pipelines.report.numbers import Evidence
from pipelines.report.page import Section, page
from pipelines.report.provenance import provenance
from pipelines.report.render import gain_frame, long_frame, to_latex, value_frame
from pipelines.report.sources import Source
from pipelines.report.summaries import answers, choices, on_all_items, runs
from pipelines.report.unseen import refuse_seen_rows
from pipelines.stage import Runtime
from pipelines.stages import ReportParams
from pipelines.stages.cards import FIGURE_KINDS


def report(params: ReportParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """`tables/`, `figures/`, `report.md` and `provenance.json`; values: how many numbers there are.

    Raises:
        SplitError: a row reports on items which its choice has seen.
    """
    sources = {name: Source.open(path) for name, path in inputs.items()}
    tables = []
    for table in params.tables:
        cells = [cell for cell in params.cells if cell.table == table.name]
        tables.append(Evidence(table, cells, sources, params.published.get(table.published, "")))
    refuse_seen_rows(tables)
    sections = [_section(evidence, out) for evidence in tables]
    fits = [found for evidence in tables if len(found := audit(evidence.table, evidence.published))]
    for found in fits:
        found.to_csv(out / TABLES / f"{found['table'].iloc[0]}_granularity.csv", index=False)
    counts = summary(fits) if fits else None
    text = page(params.profile, params.variant, params.seeds, sections, runs(tables), choices(tables), counts)
    (out / "report.md").write_text(text, encoding="utf-8")
    traced = provenance(tables) | _gates(sources) | _funnels(sources, out / DATA)
    (out / "provenance.json").write_text(json.dumps(traced, indent=1) + "\n", encoding="utf-8")
    return {"numbers": sum(len(row) for section in sections for row in section.numbers.values())}


def _gates(sources: Mapping[str, Source]) -> dict[str, Any]:
    """What each untouched, published MLLM was asked before anything was built on it (pipelines.stages.gate)."""
    asked = [source.manifest for name, source in sources.items() if name.startswith("gate-")]
    gates = [{key: manifest[key] for key in ("label", "fingerprint", "params", "values")} for manifest in asked]
    return {"gates": gates} if gates else {}


def _funnels(sources: Mapping[str, Source], out: Path) -> dict[str, Any]:
    """Writes `<set>/seed<n>/` below `out`: the funnel of each distilled set, and some of what was left out, by reason.

    What is a benchmark's item goes by its name alone: its text is the benchmark's. The artifacts, by those folders.
    """
    traced = {}
    for name, source in sources.items():
        if name.startswith("data-"):
            named, _, seed = name.removeprefix("data-").rpartition("-")
            place = f"{named}/seed{seed}"
            (out / place).mkdir(parents=True)
            for file in (FUNNEL, *(f"funnel.{kind}" for kind in FIGURE_KINDS)):
                shutil.copyfile(source.path / file, out / place / file)
            shown = some_rejects(source.path / REJECTS)
            known = ({**each, "text": ""} if each["step"] == "contamination" else each for each in shown)
            write_jsonl(out / place / REJECTS, known)
            traced[place] = source.manifest["fingerprint"]
    return {"funnels": traced} if traced else {}


def _section(evidence: Evidence, out: Path) -> Section:
    """Writes a table's files and draws its figures; its section of the page."""
    for folder in (TABLES, FIGURES):
        (out / folder).mkdir(exist_ok=True)
    table, kind = evidence.table, KINDS[evidence.table.kind]
    numbers = kind.numbers(evidence)
    wide = kind.wide(evidence, numbers)
    gains = differences(evidence, numbers)
    long_frame(table, numbers).to_csv(out / TABLES / f"{table.name}_long.csv", index=False)
    value_frame(table, numbers).to_csv(out / TABLES / f"{table.name}_values.csv", index=False)
    gain_frame(table, gains).to_csv(out / TABLES / f"{table.name}_differences.csv", index=False)
    wide.to_csv(out / TABLES / f"{table.name}.csv", index=False)
    (out / TABLES / f"{table.name}.tex").write_text(to_latex(wide, table), encoding="utf-8")
    drawn = curves(evidence, out / FIGURES) + kind.draw(evidence, numbers, out / FIGURES)
    return Section(
        table,
        wide,
        numbers,
        gains,
        figures=[f"{FIGURES}/{name}.png" for name in drawn],
        findings=kind.findings(evidence, numbers) + (answers(evidence) if table.answers else []),
        twins=evidence.twins,
        whole=on_all_items(evidence) if kind.has_scores else None,
    )
