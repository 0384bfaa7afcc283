"""Copies a report into `results/<profile>`, and says by how much it differs from the one that was there.

A clone comes with the committed results of another machine, so the first `make reproduce` on a new one is a repeat: its
differences are logged and kept in `repeat.json`.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas

from pipelines.layout import FIGURES, TABLES
from pipelines.report.spec import TIMES
from pipelines.store import Artifact

PARTS = (f"{TABLES}/", f"{FIGURES}/")
_KEY = ["table", "row", "benchmark"]


def publish(artifact: Artifact, folder: Path, whole: bool) -> str:
    """Replaces the files of the earlier report, of a part (`whole` false) its tables and figures; the comparison."""
    before = _numbers(folder)
    names = [name for name in artifact.manifest["files"] if whole or name.startswith(PARTS)]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.path / name, folder / name)
    repeat = compare(before, _numbers(artifact.path))
    if whole and repeat["compared"]:
        record = repeat | {"report": artifact.fingerprint}
        (folder / "repeat.json").write_text(json.dumps(record, indent=1) + "\n")
    return describe(repeat)


def compare(before: pandas.DataFrame, after: pandas.DataFrame) -> dict[str, Any]:
    """How many numbers stand in both reports, how many differ, and by how many points at most and where."""
    both = before.merge(after, on=_KEY, suffixes=("_before", "_after"))
    gap = (both["value_after"] - both["value_before"]).abs()
    worst = both.loc[gap.idxmax()] if len(both) else None
    return {
        "compared": len(both),
        "differ": int((gap > 0).sum()),
        "largest": float(gap.max()) if len(both) else 0.0,
        "where": " / ".join(str(worst[key]) for key in _KEY) if worst is not None and gap.max() > 0 else "",
    }


def describe(repeat: dict[str, Any]) -> str:
    """The comparison in one line."""
    if not repeat["compared"]:
        return "there were no earlier results to compare with"
    if not repeat["differ"]:
        return f"all {repeat['compared']} numbers equal those that were there"
    return (
        f"{repeat['differ']} of {repeat['compared']} numbers differ from those that were there, "
        f"by {repeat['largest']:.2f} points at most ({repeat['where']})"
    )


def _numbers(folder: Path) -> pandas.DataFrame:
    """The numbers of a report's long tables, but for times, which no two runs share."""
    frames = [pandas.read_csv(path) for path in sorted((folder / TABLES).glob("*_long.csv"))]
    empty = pandas.DataFrame({name: pandas.Series(dtype=kind) for name, kind in _TYPES.items()})
    found = pandas.concat([frame[[*_KEY, "value"]] for frame in frames if len(frame)] or [empty])
    return found[~found["benchmark"].isin(TIMES)]


_TYPES = dict.fromkeys(_KEY, "object") | {"value": "float64"}
