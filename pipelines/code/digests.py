"""The digest of what each stage reaches, remembered by the files' times and sizes: a plan asks for a thousand.

Two files below `artifacts/.source`: what each module defines, read anew where its file has changed, and the digests of
the tree as it is, so that a command which finds nothing changed reads no source at all.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from drift.files import write_whole
from pipelines.code.definitions import read
from pipelines.code.reach import Reached, Source, reach
from pipelines.code.shapes import OURS, Definition, Module

ROOT = Path(__file__).resolve().parent.parent.parent
KEPT = ROOT / "artifacts" / ".source"


class Code:
    """The project's source below a folder, as it is when this is made.

    Args:
        root: the folder that holds drift, evaluation and pipelines.
        kept: where what was found is remembered.

    Attributes:
        mark: of all files by their times and sizes: equal where none was touched.
    """

    def __init__(self, root: Path = ROOT, kept: Path = KEPT) -> None:
        self._root, self._kept = root, kept
        self._stamps = dict(_stamps(root))
        self.mark = hashlib.sha256(json.dumps([_reader(), *sorted(self._stamps.items())]).encode()).hexdigest()
        known = _remembered(kept / "digests.json")
        self._known: dict[str, Any] = known if known.get("mark") == self.mark else {"mark": self.mark, "digests": {}}

    @cached_property
    def names(self) -> frozenset[str]:
        """What rows of registries are named by: of a call's words only these count."""
        if "names" not in self._known:
            self._keep("names", sorted(self._source.names))
        return frozenset(self._known["names"])

    def digest(self, run: str, words: Set[str]) -> str:
        """The digest of what a stage's function `module:name` reaches.

        Args:
            words: of the call's parameters, and of what it is made from.
        """
        key = " ".join([run, *sorted(words & self._asked(run))])
        if key not in self._known["digests"]:
            self._known["digests"][key] = self.reached(run, words).digest
            self._write()
        return str(self._known["digests"][key])

    def reached(self, run: str, words: Set[str]) -> Reached:
        """All of it, by place."""
        return reach(self._source, run, words & self.names)

    def _asked(self, run: str) -> frozenset[str]:
        key = f"asked {run}"
        if key not in self._known:
            self._keep(key, sorted(reach(self._source, run, self.names).asked))
        return frozenset(self._known[key])

    @cached_property
    def _source(self) -> Source:
        path, reader = self._kept / "modules.json", _reader()
        remembered = _remembered(path)
        before = remembered.get("modules", {}) if remembered.get("reader") == reader else {}
        modules, has_changed = {}, False
        for place, stamp in self._stamps.items():
            known = before.get(place, {})
            if known.get("stamp") != stamp:
                has_changed = True
                known = {"stamp": stamp, "module": asdict(read(_dotted(place), (self._root / place).read_text()))}
            modules[place] = known
        if has_changed:
            with suppress(OSError):  # a checkout that can't be written to is read every time
                write_whole(path, json.dumps({"reader": reader, "modules": modules}))
        return Source({_dotted(place): _module(known["module"]) for place, known in modules.items()})

    def _keep(self, key: str, value: list[str]) -> None:
        self._known[key] = value
        self._write()

    def _write(self) -> None:
        with suppress(OSError):
            write_whole(self._kept / "digests.json", json.dumps(self._known))


def _stamps(root: Path) -> "list[tuple[str, str]]":
    found = []
    for folder, folders, files in (step for name in OURS for step in os.walk(root / name)):
        folders[:] = [each for each in folders if each != "__pycache__"]
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                stat = os.stat(path)
                found.append((os.path.relpath(path, root), f"{stat.st_mtime_ns} {stat.st_size}"))
    return found


def _reader() -> str:
    """What reads the source, as it is now: what another one has read is read again."""
    return " ".join(f"{path.name} {path.stat().st_mtime_ns}" for path in sorted(Path(__file__).parent.glob("*.py")))


def _dotted(place: str) -> str:
    return place.removesuffix(".py").replace(os.sep, ".").removesuffix(".__init__")


def _remembered(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _module(raw: Mapping[str, Any]) -> Module:
    return Module({name: _definition(each) for name, each in raw["definitions"].items()}, raw["imports"])


def _definition(raw: Mapping[str, Any]) -> Definition:
    parts: dict[str, Any] = {
        "methods": {name: _definition(part) for name, part in raw["methods"].items()},
        "keywords": [(called, keyword, _definition(part)) for called, keyword, part in raw["keywords"]],
        "rows": [(words, _definition(row)) for words, row in raw["rows"]],
    }
    return Definition(**{**raw, **parts})
