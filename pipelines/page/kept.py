"""The page of a run's results, built where anything that it is made from is another than when it was built last.

That is every other file in its folder, the project's source, the page's own templates and scripts, and what is
installed. Rather once too often: nobody asks which of them the page has a use for. A page that was edited, or is gone,
is built again too. Light: what builds pages is imported where one is to be built.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from drift.files import sha256_of, write_whole

PAGE = "index.html"


def keep_page(folder: Path, store: Path, source: str) -> Path:
    """The page in a folder of results as these results make it; the store keeps what the last one was made from.

    Args:
        source: the mark of the project's source (`pipelines.code.digests.Code`).
    Raises:
        StoreError: the folder holds no outline.
    """
    path, record = folder / PAGE, store / ".pages" / f"{_hash(str(folder))[:20]}.json"
    made_from = _made_from(folder, source)
    if not (path.exists() and _read(record) == _record(path, made_from)):
        from pipelines.page.build import write_page  # pandas and scipy, which a plan and a kept page do without

        write_page(folder)
        write_whole(record, json.dumps(_record(path, made_from)))
    return path


def _record(page: Path, made_from: str) -> dict[str, str]:
    return {"made_from": made_from, "page": sha256_of(page)}


def _read(record: Path) -> object:
    """What is recorded of the last page; None where nothing is that can be read."""
    try:
        return json.loads(record.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _made_from(folder: Path, source: str) -> str:
    return _hash(json.dumps([source, *_results(folder), *_own(), *_installed()]))


def _results(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / PAGE:
            yield path.relative_to(folder).as_posix(), sha256_of(path)


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
