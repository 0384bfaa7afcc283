"""Copies a report into `results/<profile>`, and says by how much it differs from the one that was there.

A clone comes with the committed results of another machine, so the first `make reproduce` on a new one is a repeat: its
differences are logged and kept in `repeat.json`.
"""

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.layout import FIGURES, ITEMS, PROTOCOLS, TABLES, VERDICTS
from pipelines.report.spec import TIMES
from pipelines.store import Artifact

PARTS = (f"{TABLES}/", f"{FIGURES}/")
Numbers = Mapping[tuple[str, ...], float]


def publish(artifact: Artifact, folder: Path, whole: bool) -> str:
    """Replaces the files of the earlier report, of a part (`whole` false) its tables and figures; the comparison."""
    before = _numbers(folder)
    for place in (VERDICTS, ITEMS, PROTOCOLS) if whole else ():  # of which a report may write fewer files than the last
        shutil.rmtree(folder / place, ignore_errors=True)
    names = [name for name in artifact.manifest["files"] if whole or name.startswith(PARTS)]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.path / name, folder / name)
    repeat = compare(before, _numbers(artifact.path))
    if whole and repeat["compared"]:
        record = repeat | {"report": artifact.fingerprint}
        (folder / "repeat.json").write_text(json.dumps(record, indent=1) + "\n")
    return describe(repeat)


def compare(before: Numbers, after: Numbers) -> dict[str, Any]:
    """How many numbers stand in both reports, how many differ, and by how much at most (in its own unit) and where."""
    gaps = {key: abs(after[key] - value) for key, value in before.items() if key in after}
    worst = max(gaps, key=gaps.__getitem__, default=())
    largest = gaps.get(worst, 0.0)
    return {
        "compared": len(gaps),
        "differ": sum(gap > 0 for gap in gaps.values()),
        "largest": largest,
        "where": " / ".join(worst) if largest > 0 else "",
    }


def describe(repeat: dict[str, Any]) -> str:
    """The comparison in one line."""
    if not repeat["compared"]:
        return "there were no earlier results to compare with"
    if not repeat["differ"]:
        return f"all {repeat['compared']} numbers equal those that were there"
    return (
        f"{repeat['differ']} of {repeat['compared']} numbers differ from those that were there, "
        f"by {repeat['largest']:.2f} at most ({repeat['where']})"
    )


def _numbers(folder: Path) -> Numbers:
    """The numbers of a report's long tables by table, row and column, but for times, which no two runs share."""
    found: dict[tuple[str, ...], float] = {}
    for path in sorted((folder / TABLES).glob("*_long.csv")):
        with path.open(newline="", encoding="utf-8") as stream:
            for line in csv.DictReader(stream):
                if line["benchmark"] not in TIMES:
                    found[line["table"], line["row"], line["benchmark"]] = float(line["value"])
    return found
