"""The page of a run's results, built where anything that it is made from is another than when it was built last.

That is every other file in its folder and in the study's, the project's source, the page's own templates and scripts,
and what is installed. Rather once too often: nobody asks which of them the page has a use for. A page that was edited,
or is gone, is built again too. With the page comes the report's opening, which is put back where the page is kept.
Light: what builds pages is imported where one is to be built.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from drift.files import sha256_of, write_whole
from pipelines.layout import PAGE, REPORT, STUDY_RESULTS
from pipelines.report.marked import STUDY


def keep_page(folder: Path, store: Path, source: str) -> Path:
    """The page in a folder of results as these results make it; the store keeps what the last one was made from.

    Args:
        source: the mark of the project's source (`pipelines.code.digests.Code`).
    Raises:
        StoreError: the folder holds no outline.
    """
    path, report, kept = folder / PAGE, folder / REPORT, store / ".pages" / f"{_hash(str(folder))[:20]}.json"
    made_from, last = _made_from(folder, source), _read(kept)
    if path.exists() and last.get("made_from") == made_from and last["page"] == sha256_of(path):
        write_whole(report, last["report"])
        return path
    from pipelines.page.build import write_page  # pandas and scipy, which a plan and a kept page do without

    write_page(folder)
    record = {"made_from": made_from, "page": sha256_of(path), "report": report.read_text(encoding="utf-8")}
    write_whole(kept, json.dumps(record))
    return path


def _read(record: Path) -> dict[str, str]:
    """What is recorded of the last page; nothing where that can't be read."""
    try:
        found = json.loads(record.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _made_from(folder: Path, source: str) -> str:
    beside = [*_results(folder), *_results(folder.with_name(STUDY_RESULTS))]
    return _hash(json.dumps([source, *beside, *_own(), *_installed()]))


def _results(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file but the page, and of the report what it is without its opening."""
    for path in sorted(folder.rglob("*")):
        if path.name == REPORT:
            yield REPORT, _hash(STUDY.without(path.read_text(encoding="utf-8")))
        elif path.is_file() and path != folder / PAGE:
            yield str(path), sha256_of(path)


def _own() -> Iterator[tuple[str, str]]:
    """The files of the page beside its code."""
    for each in sorted(resources.files("pipelines.page").iterdir(), key=lambda each: each.name):
        if each.is_file() and not each.name.endswith(".py"):
            yield each.name, hashlib.sha256(each.read_bytes()).hexdigest()


def _installed() -> list[str]:
    """Every installed package, its version in its name, and this Python."""
    folders = [place for place in sys.path if os.path.isdir(place)]
    found = {name for place in folders for name in os.listdir(place) if name.endswith(".dist-info")}
    return [sys.version, *sorted(found)]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
