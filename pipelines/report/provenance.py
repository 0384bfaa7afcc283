"""From each cell of a report to the artifacts behind it, and to the code, packages and hardware that made them."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.integrity import content
from pipelines.report.numbers import Evidence
from pipelines.report.sources import Source
from pipelines.report.spec import TIMES
from pipelines.staleness import BEHIND


def provenance(tables: Sequence[Evidence]) -> dict[str, Any]:
    """Each environment and each artifact once, and what refers to them.

    Returns:
        `environments`, a list; `code`, digests by stage; `artifacts`, by their places in the store
        (`stage/fingerprint`), with the number of the environment that made each and of its settings, when it was
        begun, the hash of what it holds and the values that tables take from it; `settings`, each stage's parameters
        once; `cells`, the places by table, row, seed and role.
    """
    environments: list[dict[str, Any]] = []
    settings: list[dict[str, Any]] = []
    artifacts: dict[str, dict[str, Any]] = {}
    cells: dict[str, dict[str, dict[int, dict[str, str]]]] = {}
    for evidence in tables:
        rows = cells.setdefault(evidence.table.name, {})
        for cell in evidence.cells:
            sources = {role: evidence.sources[name] for role, name in cell.artifacts.items()}
            artifacts |= {_place(source): _record(source, environments, settings) for source in sources.values()}
            rows.setdefault(cell.row, {})[cell.seed] = {role: _place(source) for role, source in sources.items()}
    return {
        "environments": environments,
        "code": _code(tables),
        "settings": settings,
        "artifacts": artifacts,
        "cells": cells,
    }


def _code(tables: Sequence[Evidence]) -> dict[str, list[str]]:
    """The digests of the source that each stage behind the cells reached (pipelines.staleness), by stage."""
    found: dict[str, set[str]] = {}
    for evidence in tables:
        for name in {name for cell in evidence.cells for name in cell.artifacts.values()}:
            for stage, digests in evidence.sources[name].manifest.get(BEHIND, {}).items():
                found.setdefault(stage, set()).update(digests)
    return {stage: sorted(digests) for stage, digests in sorted(found.items())}


def made_by(traced: Mapping[str, Any]) -> str:
    """Which commits and which code the results are of, in a line."""
    commits = {
        each["git"]["sha"][:10] + (" with changes" if each["git"]["dirty"] else "")
        for each in traced["environments"]
        if each["git"]["sha"]
    }
    digests = sum(map(len, traced["code"].values()))
    said = f"commits {', '.join(sorted(commits))}" if commits else "no commit"
    return (
        f"Made by {said}; the digests of the code that each stage reached ({digests}) are `code` in `provenance.json`."
    )


def _place(source: Source) -> str:
    return f"{source.path.parent.name}/{source.path.name}"


def _record(source: Source, environments: list[dict[str, Any]], settings: list[dict[str, Any]]) -> dict[str, Any]:
    """An artifact's record; its environment and settings join the others where they are new."""
    environment = {key: source.manifest[key] for key in ("git", "packages", "hardware")}
    kept = {key: source.manifest[key] for key in ("fingerprint", "label", "started")}
    return kept | {
        "environment": _place_in(environments, environment),
        "settings": _place_in(settings, {k: v for k, v in source.manifest["params"].items() if k != "root"}),
        "content": content(source.manifest),
        "values": values_of(source),
    }


def _place_in(known: list[dict[str, Any]], one: dict[str, Any]) -> int:
    """Its place in a list of different ones, at the end where it is new."""
    if one not in known:
        known.append(one)
    return known.index(one)


def values_of(source: Source) -> dict[str, float]:
    """What an artifact says for the columns of a table: its scores by column, or what its manifest measures."""
    if not source.scores:
        measured = {**source.manifest["values"], "w_eff": source.w_eff, **{n: source.manifest[n] for n in TIMES}}
        return {name: value for name, value in measured.items() if isinstance(value, int | float)}
    found = {}
    for column, scored in source.scores.items():
        metrics = scored.score.metrics
        found[column] = metrics[scored.score.headline].value
        found |= {f"{column}_{name}": metric.value for name, metric in metrics.items() if name != scored.score.headline}
    return found
