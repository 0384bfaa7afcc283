"""The report of a run in which something failed: as the whole one, with each failed row, and why, in its place."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.layout import TABLES
from pipelines.report.spec import Table
from pipelines.stage import Runtime
from pipelines.stages import Failed, PartialParams
from pipelines.stages.report import report

FAILED = "failed"
_WARNING = (
    "**This report is not whole.** What stands under *failed* could not be made; the rest is what the whole report "
    "will show. The same command goes on from here."
)


def partial_report(params: PartialParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """As the report stage's; values: also how many rows failed."""
    values = report(params.report, runtime, inputs, out)
    failed = {(each.table, each.row) for each in params.failed}
    for table in params.tables:
        if lost := [row.label for row in table.rows if (table.name, row.label) in failed]:
            _add_rows(table, lost, out / TABLES / f"{table.name}.csv")
    title, _, rest = (out / "report.md").read_text(encoding="utf-8").partition("\n")
    page = [title, _WARNING, f"## What {FAILED}", _reasons(params.failed)]
    (out / "report.md").write_text("\n\n".join(page) + "\n" + rest, encoding="utf-8")
    return values | {FAILED: len(failed)}


def _add_rows(table: Table, lost: Sequence[str], path: Path) -> None:
    """Puts the failed rows below those of the printed table; of one with no other row they are all of it."""
    lines = list(csv.reader(path.open(newline="", encoding="utf-8"))) if path.exists() else [["row", *table.columns]]
    lines += [[label, *[FAILED] * (len(lines[0]) - 1)] for label in lost]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


def _reasons(failed: Sequence[Failed]) -> str:
    lines = [["table", "row", "seed", "why"], ["---"] * 4]
    lines += [[each.table, each.row, str(each.seed), each.reason.replace("|", "\\|")] for each in failed]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
