"""The report stage: tables as Markdown, CSV and LaTeX, the page, and where each number comes from."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas

from pipelines.report import figures, geometry_figures, page, render
from pipelines.report.numbers import (
    Number,
    Source,
    cost_numbers,
    differences,
    geometry_numbers,
    paper_entry,
    published_rows,
    table_numbers,
)
from pipelines.report.spec import Cell, Table
from pipelines.stage import Runtime
from pipelines.stages import ReportParams

TABLES = "tables"
FIGURES = "figures"
SLOPES = (
    "What distance costs: the slope of a line through the rows of a series, fitted in each world, as its mean over "
    "worlds with the interval over worlds (in points of the last column)."
)
ANSWERS = (
    "How the rows answered: percent of the responses that end a chain of thought, though none was asked for. A wrong "
    "answer after a chain may be another question's answer and says little of what was seen; see `transcription` below "
    "for what is read before reasoning."
)


def report(params: ReportParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """`tables/`, `report.md` and `provenance.json`; values: how many numbers there are."""
    sources = {name: Source.open(path) for name, path in inputs.items()}
    (out / TABLES).mkdir(exist_ok=True)
    sections, count = [], 0
    for table in params.tables:
        published = params.published.get(table.published, "")
        cells = [cell for cell in params.cells if cell.table == table.name]
        numbers: dict[str, list[Number]] = {}
        if table.kind == "geometry":
            numbers = geometry_numbers(table, cells, sources)
        elif table.kind == "cost":
            numbers = cost_numbers(table, cells, sources)
        elif table.kind != "hyperparameters":
            numbers = table_numbers(table, published, cells, sources)
        if table.kind == "hyperparameters":
            wide = _hyperparameters(table, published, cells, sources)
        else:
            wide = render.wide_frame(table, numbers, published)
        long = render.long_frame(table, numbers)
        count += len(long)
        long.to_csv(out / TABLES / f"{table.name}_long.csv", index=False)
        wide.to_csv(out / TABLES / f"{table.name}.csv", index=False)
        (out / TABLES / f"{table.name}.md").write_text(
            f"**{table.title}**\n\n{page.markdown(wide)}\n", encoding="utf-8"
        )
        (out / TABLES / f"{table.name}.tex").write_text(render.to_latex(wide, table), encoding="utf-8")
        gains = differences(numbers, table.pairings)
        drawn = _draw(table, cells, sources, numbers, out / FIGURES)
        sections.append(page.Section(table, wide, numbers, gains, drawn, _findings(table, cells, sources, numbers)))
    text = page.page(
        params.profile, params.seeds, sections, _runs(params.cells, sources), _choices(params.cells, sources)
    )
    (out / "report.md").write_text(text, encoding="utf-8")
    (out / "provenance.json").write_text(json.dumps(_provenance(params.cells, sources), indent=1))
    return {"numbers": count}


def _draw(
    table: Table,
    cells: Sequence[Cell],
    sources: Mapping[str, Source],
    numbers: Mapping[str, Sequence[Number]],
    folder: Path,
) -> list[str]:
    """Draws a table's figures; their paths beside the report."""
    folder.mkdir(exist_ok=True)
    drawn = []
    if table.curves:
        runs = {label: _artifacts("checkpoint", label, cells, sources) for label in table.curves}
        figures.loss_curves(runs, folder / f"{table.name}_loss")
        figures.layer_shares(runs, folder / f"{table.name}_layers")
        drawn += [f"{table.name}_loss", f"{table.name}_layers"]
    if table.kind in ("geometry", "distance"):
        pairs = _pairs(table, cells, sources)
        if table.kind == "geometry":
            geometry_figures.figure2(pairs, folder / table.name)
        else:
            geometry_figures.gain_against_distance(table, pairs, numbers, folder / table.name)
        drawn.append(table.name)
    return [f"{FIGURES}/{name}.png" for name in drawn]


def _findings(
    table: Table, cells: Sequence[Cell], sources: Mapping[str, Source], numbers: Mapping[str, Sequence[Number]]
) -> list[str]:
    """What a table says as a whole: the slope of each series of distances, how the rows answered."""
    found = []
    if table.kind == "distance":
        found += [SLOPES, page.markdown(geometry_figures.slopes(table, _pairs(table, cells, sources), numbers))]
    if table.answers:
        answers = _answers(table, cells, sources)
        found += [ANSWERS, page.markdown(answers)] if len(answers) else []
    return found


def _answers(table: Table, cells: Sequence[Cell], sources: Mapping[str, Source]) -> pandas.DataFrame:
    """The share of each row's answers that end a chain of thought, per column; empty where nothing was recorded."""
    lines = []
    for row in table.rows:
        scored = [source.scores for source in _artifacts("score", row.label, cells, sources)]
        if scored and all(scores[column].diagnostics for scores in scored for column in table.columns):
            shares = [[scores[c].diagnostics["closed"] for scores in scored] for c in table.columns]
            lines.append([row.label, *(_over_seeds(each, "{:.0f}") for each in shares)])
    return pandas.DataFrame(lines, columns=["row", *table.columns])


def _pairs(table: Table, cells: Sequence[Cell], sources: Mapping[str, Source]) -> dict[str, list[Source]]:
    """Row label -> its geometries, in the order of its seeds."""
    return {row.label: _artifacts("geometry", row.label, cells, sources) for row in table.rows}


def _artifacts(role: str, label: str, cells: Sequence[Cell], sources: Mapping[str, Source]) -> list[Source]:
    """A row's artifacts of one role, in the order of its seeds."""
    return [sources[cell.artifacts[role]] for cell in cells if cell.row == label]


def _hyperparameters(
    table: Table, published: str, cells: Sequence[Cell], sources: Mapping[str, Source]
) -> pandas.DataFrame:
    """What each merge ran with, read from its artifact, beside the paper's entry."""
    entries = published_rows(published)
    lines = []
    for row in table.rows:
        ran = sorted({_settings(merge.manifest) for merge in _artifacts("checkpoint", row.label, cells, sources)})
        lines.append([row.label, "; ".join(ran), paper_entry(row, entries, table.name)["hyperparameters"]])
    return pandas.DataFrame(lines, columns=["method", "run here with", "the paper's"])


def _settings(manifest: Mapping[str, Any]) -> str:
    used = ", ".join(f"{key} = {value}" for key, value in manifest["values"]["hyperparameters"].items())
    return f"{manifest['params']['variant']}: {used}"


def _runs(cells: Sequence[Cell], sources: Mapping[str, Source]) -> pandas.DataFrame:
    """One line per distinct row: what was trained, how far it went along Delta, how it reads its images."""
    lines = []
    seen: set[str] = set()
    for cell in cells:
        if cell.row in seen or "score" not in cell.artifacts:
            continue
        seen.add(cell.row)
        mine = [c for c in cells if c.table == cell.table]
        made = [source.manifest for source in _artifacts("checkpoint", cell.row, mine, sources)]
        diagnostics = [_diagnostics(source) for source in _artifacts("score", cell.row, mine, sources)]
        lines.append(
            [
                cell.row,
                made[0]["stage"],
                _over_seeds([m["values"]["w_eff"] for m in made if "w_eff" in m["values"]], "{:.2f}"),
                _covered(made),
                _over_seeds([d["transcription"] for d in diagnostics if d], "{:.0f}"),
                _over_seeds([d["closed"] for d in diagnostics if d], "{:.0f}"),
            ]
        )
    return pandas.DataFrame(lines, columns=["row", "made by", "w_eff", "covered", "transcription", "closed"])


def _diagnostics(source: Source) -> dict[str, float]:
    """Each diagnostic as its mean over the benchmarks that have it."""
    found = [scored.diagnostics for scored in source.scores.values() if scored.diagnostics]
    return {name: statistics.fmean(each[name] for each in found) for name in (found[0] if found else ())}


def _covered(made: Sequence[Mapping[str, Any]]) -> str:
    found = {f"{m['values']['covered']}/{m['values']['expected']}" for m in made if m["values"].get("expected")}
    return ", ".join(sorted(found)) or render.BLANK


def _over_seeds(values: Sequence[float], form: str) -> str:
    if not values:
        return render.BLANK
    spread = f" ± {form.format(statistics.stdev(values))}" if len(values) > 1 else ""
    return form.format(statistics.fmean(values)) + spread


def _choices(cells: Sequence[Cell], sources: Mapping[str, Source]) -> list[str]:
    lines = {}
    for cell in cells:
        if "choice" in cell.artifacts:
            manifest = sources[cell.artifacts["choice"]].manifest
            tried = "; ".join(f"{_text(v['value'])}: {v['validation']:.1f}" for v in manifest["values"]["validation"])
            chosen = _text(manifest["values"]["chosen"])
            lines[manifest["label"]] = f"{manifest['label']}: {chosen} (mean score at {tried})"
    return [lines[label] for label in sorted(lines)]


def _text(value: float | Mapping[str, Any]) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return f"{value:g}"


def _provenance(cells: Sequence[Cell], sources: Mapping[str, Source]) -> list[dict[str, Any]]:
    """A record per row and seed: the artifacts it rests on, and the code, packages and hardware that made them."""
    records = []
    for cell in cells:
        artifacts = {role: _record(sources[name]) for role, name in cell.artifacts.items()}
        records.append({"table": cell.table, "row": cell.row, "seed": cell.seed, "artifacts": artifacts})
    return records


def _record(source: Source) -> dict[str, Any]:
    kept = ("stage", "fingerprint", "label", "git", "packages", "hardware")
    return {key: source.manifest[key] for key in kept} | {"artifact": f"{source.path.parent.name}/{source.path.name}"}
