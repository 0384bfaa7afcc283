"""What a report still shows when some of its cells could not be made: the rows that are whole, and why others are not.

A row with a failed seed is shown as failed: its mean over fewer worlds would stand beside means over all of them. Such
a report is an artifact of another stage and lies in a folder of its own, so it never takes the place of a whole one.
"""

from collections.abc import Collection
from dataclasses import replace

from pipelines import stages
from pipelines.outcome import Outcome
from pipelines.report.spec import Cell, Table
from pipelines.stage import Call, ordered
from pipelines.stages import Failed, PartialParams

SUFFIX = "+partial"


def salvaged(report: Call, outcome: Outcome) -> Call | None:
    """The report over the rows that were made; None where none was, or nothing that a cell needs has failed."""
    params = report.params
    failed = [found for cell in params.cells if (found := _failed(cell, report, outcome))]
    lost = {(each.table, each.row) for each in failed}
    cells = tuple(cell for cell in params.cells if (cell.table, cell.row) not in lost)
    if not failed or not cells:
        return None
    shown = {cell.table for cell in cells}
    tables = tuple(
        without(table, {row for name, row in lost if name == table.name})
        for table in params.tables
        if table.name in shown
    )
    inputs = {name: report.inputs[name] for cell in cells for name in cell.artifacts.values()}
    partly = PartialParams(replace(params, tables=tables, cells=cells), params.tables, tuple(failed))
    return Call(stages.PARTIAL, partly, inputs, label=f"{report.label}, as far as it could be made")


def _failed(cell: Cell, report: Call, outcome: Outcome) -> Failed | None:
    """Why a cell has no number, by the first failure among what it needs."""
    needed = ordered([report.inputs[name] for name in cell.artifacts.values()])
    reasons = (outcome.failures[call.key] for call in needed if call.key in outcome.failures)
    first = next(reasons, None)
    return Failed(cell.table, cell.row, cell.seed, str(first).partition("\n")[0]) if first else None


def without(table: Table, labels: Collection[str]) -> Table:
    """The table as if it never had these rows: nothing is compared with them, drawn of them or fitted through them."""
    rows = [row for row in table.rows if row.label not in labels]
    series = [row.series for row in rows]
    return replace(
        table,
        rows=tuple(
            replace(
                row,
                against="" if row.against in labels else row.against,
                series=row.series if series.count(row.series) > 1 else "",
            )
            for row in rows
        ),
        against="" if table.against in labels else table.against,
        curves=tuple(label for label in table.curves if label not in labels),
        groups=tuple(label for label in table.groups if label not in labels),
    )
