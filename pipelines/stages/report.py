"""The report stage: tables, figures, the report, its verdicts and items, and where each number comes from."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipelines.layout import APPENDIX, DATA, FIGURES, HEADLINE, OUTLINE, PROTOCOLS, TABLES
from pipelines.report.bundle import Harvest, harvest, write_bundle
from pipelines.report.differences import Difference, contrasts, differences
from pipelines.report.figures import curves
from pipelines.report.findings import contrasted, findings, sentences
from pipelines.report.forest import draw
from pipelines.report.forest import forest as headlined
from pipelines.report.funnels import write_funnels
from pipelines.report.granularity import audit, summary
from pipelines.report.kinds import KINDS
from pipelines.report.names import columns
from pipelines.report.numbers import Evidence, Numbers
from pipelines.report.outline import outline
from pipelines.report.page import Section, appendix, page
from pipelines.report.provenance import made_by, provenance
from pipelines.report.render import gain_frame, long_frame, to_latex, value_frame
from pipelines.report.sources import Source
from pipelines.report.spec import Table
from pipelines.report.style import Figure, styled
from pipelines.report.summaries import answers, at_an_end, choices, on_all_items, runs
from pipelines.report.trained_figures import forest
from pipelines.report.unseen import refuse_seen_rows
from pipelines.report.words import OBJECTIONS
from pipelines.stage import Runtime
from pipelines.stages import ReportParams


def report(params: ReportParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """`tables/`, `figures/`, `verdicts/`, `items/`, `report.md`, `appendix.md`, `outline.json` and `provenance.json`.

    Values: how many numbers there are.

    Raises:
        SplitError: a row reports on items which its choice has seen.
    """
    sources = {name: Source.open(path) for name, path in inputs.items()}
    tables = []
    for table in params.tables:
        cells = [cell for cell in params.cells if cell.table == table.name]
        tables.append(Evidence(table, cells, sources, params.published.get(table.published, "")))
    refuse_seen_rows(tables)
    with tempfile.TemporaryDirectory() as scratch, styled():
        found = harvest(tables, Path(scratch))
        sections = [_section(evidence, out) for evidence in tables]
        differences_drawn = forest(sections, out / FIGURES / "differences")
        _write_protocols(tables, found, out)
        if headline := headlined(out, findings(out)):
            draw(headline, out / FIGURES / HEADLINE)
    write_bundle(tables, found, out)
    _write_texts(params, tables, sections, differences_drawn, found, out)
    traced = provenance(tables) | _gates(sources) | write_funnels(sources, out / DATA)
    with (out / APPENDIX).open("a", encoding="utf-8") as text:
        text.write(f"\n{made_by(traced)}\n")
    (out / "provenance.json").write_text(json.dumps(traced, indent=1) + "\n", encoding="utf-8")
    return {"numbers": sum(len(row) for section in sections for row in section.numbers.values())}


def _write_texts(
    params: ReportParams,
    tables: Sequence[Evidence],
    sections: Sequence[Section],
    drawn: Sequence[Figure],
    found: Harvest,
    out: Path,
) -> None:
    fits = [fit for evidence in tables if len(fit := audit(evidence.table, evidence.published))]
    for fit in fits:
        fit.to_csv(out / TABLES / f"{fit['table'].iloc[0]}_granularity.csv", index=False)
    chosen = choices(tables)
    said = sentences(findings(out))
    (out / "report.md").write_text(
        page(params.profile, params.variant, params.seeds, sections, said, drawn), encoding="utf-8"
    )
    (out / APPENDIX).write_text(
        appendix(sections, runs(tables), chosen, summary(fits) if fits else None, OBJECTIONS.get(params.profile, ())),
        encoding="utf-8",
    )
    whole = outline(
        params.profile, params.variant, params.seeds, list(zip(tables, sections, strict=True)), found, chosen
    )
    whole["figures"] = [asdict(figure) for figure in drawn]
    (out / OUTLINE).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def _gates(sources: Mapping[str, Source]) -> dict[str, Any]:
    """What each untouched, published MLLM was asked before anything was built on it (pipelines.stages.gate)."""
    asked = [source.manifest for name, source in sources.items() if name.startswith("gate-")]
    gates = [{key: manifest[key] for key in ("label", "fingerprint", "params", "values")} for manifest in asked]
    return {"gates": gates} if gates else {}


def _section(evidence: Evidence, out: Path) -> Section:
    """Writes a table's files and draws its figures; its section of the report."""
    for folder in (TABLES, FIGURES):
        (out / folder).mkdir(exist_ok=True)
    table, kind = evidence.table, KINDS[evidence.table.kind]
    numbers = kind.numbers(evidence)
    wide = kind.wide(evidence, numbers)
    gains = differences(evidence, numbers)
    _write_numbers(table, numbers, gains, out / TABLES)
    if asked := contrasts(evidence, contrasted(table.name)):
        gain_frame(table, asked).to_csv(out / TABLES / f"{table.name}_contrasts.csv", index=False)
    wide.to_csv(out / TABLES / f"{table.name}.csv", index=False)
    (out / TABLES / f"{table.name}.tex").write_text(to_latex(wide, table), encoding="utf-8")
    return Section(
        table,
        wide,
        numbers,
        gains,
        figures=curves(evidence, out / FIGURES) + kind.draw(evidence, numbers, out / FIGURES),
        findings=kind.findings(evidence, numbers) + (answers(evidence) if table.answers else []),
        twins=evidence.twins,
        whole=on_all_items(evidence) if kind.has_scores else None,
        columns=columns(evidence),
        at_an_end=at_an_end(evidence),
    )


def _write_numbers(table: Table, numbers: Numbers, gains: Mapping[str, Sequence[Difference]], folder: Path) -> None:
    long_frame(table, numbers).to_csv(folder / f"{table.name}_long.csv", index=False)
    value_frame(table, numbers).to_csv(folder / f"{table.name}_values.csv", index=False)
    gain_frame(table, gains).to_csv(folder / f"{table.name}_differences.csv", index=False)


def _write_protocols(tables: Sequence[Evidence], found: Harvest, out: Path) -> None:
    """`protocols/<name>/`: the numbers of each table that another scoring protocol changes."""
    for protocol in sorted(found.derived):
        for evidence in tables:
            if found.differs(protocol, evidence):
                folder = out / PROTOCOLS / protocol
                folder.mkdir(parents=True, exist_ok=True)
                other = found.under(protocol, evidence)
                numbers = KINDS[evidence.table.kind].numbers(other)
                _write_numbers(evidence.table, numbers, differences(other, numbers), folder)
