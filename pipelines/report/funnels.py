"""What a filter left of a generator's answers, and some of what it left out, beside the tables trained on it."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drift.files import write_jsonl
from pipelines.distil.funnel import FUNNEL, REJECTS, some_rejects
from pipelines.report.sources import Source

FIGURE = "funnel"
FIGURE_KINDS = {"png": "Software", "pdf": "CreationDate", "svg": "Date"}  # with what would differ from day to day


def write_funnels(sources: Mapping[str, Source], out: Path) -> dict[str, Any]:
    """Writes `<set>/seed<n>/` below `out`: the funnel of each distilled set, and some of what was left out, by reason.

    What is a benchmark's item goes by its name alone: its text is the benchmark's. The artifacts, by those folders.
    """
    traced = {}
    for name, source in sources.items():
        if name.startswith("data-"):
            named, _, seed = name.removeprefix("data-").rpartition("-")
            place = f"{named}/seed{seed}"
            (out / place).mkdir(parents=True)
            for file in (FUNNEL, *(f"{FIGURE}.{kind}" for kind in FIGURE_KINDS)):
                shutil.copyfile(source.path / file, out / place / file)
            shown = some_rejects(source.path / REJECTS)
            known = ({**each, "text": ""} if each["step"] == "contamination" else each for each in shown)
            write_jsonl(out / place / REJECTS, known)
            traced[place] = source.manifest["fingerprint"]
    return {"funnels": traced} if traced else {}
