"""A rehearsal's report: every number in it says that it is none."""

import csv
import io
import re
from pathlib import Path

from pipelines.layout import TABLES

MARK = "REHEARSAL"
_NOTICE = f"**{MARK}: random weights, a handful of items. Nothing here is a result; that there is a number is.**\n\n"
_LIVE_CELL = re.compile(r"(?<=[|&] )(?=[+-]?\d)")
_IS_NUMBER = re.compile(r"[+-]?\d")


def publish(report: Path, folder: Path) -> None:
    """Writes the page and the tables of a report, marked; its figures, whose axes can't be, stay behind."""
    (folder / TABLES).mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(marked_page((report / "report.md").read_text()), encoding="utf-8")
    for path in sorted((report / TABLES).iterdir()):
        text = path.read_text(encoding="utf-8")
        marked = marked_csv(text) if path.suffix == ".csv" else _LIVE_CELL.sub(f"{MARK} ", text)
        (folder / TABLES / path.name).write_text(marked, encoding="utf-8")


def marked_page(text: str) -> str:
    """Markdown with the mark before each number of a table's cell and each sentence that holds one."""
    lines = [line for line in text.splitlines() if not line.startswith("![")]
    return _NOTICE + "\n".join(map(_marked_line, lines)) + "\n"


def marked_csv(text: str) -> str:
    """CSV with the mark before every number but those of the first line."""
    first, *rows = csv.reader(io.StringIO(text))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([first, *([f"{MARK} {cell}" if _IS_NUMBER.match(cell) else cell for cell in row] for row in rows)])
    return out.getvalue()


def _marked_line(line: str) -> str:
    if line.startswith("|"):
        return _LIVE_CELL.sub(f"{MARK} ", line)
    has_number = re.search(r"\d", line) and not line.startswith("#")
    return f"{MARK}: {line}" if has_number else line
