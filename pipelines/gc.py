"""What nothing refers to any more, out of the store: drift gc [--delete] [overrides]

Kept is what the plan of the profile (under the overrides) needs, and what the provenance of any folder in results/
names, each with all that it was made from. Everything else that is finished, and what an interrupted run has left for
longer than a day, is listed with its size; `--delete` removes it. Downloads and the tracker's files are left alone.

Example:
    drift gc
    drift gc --delete profile=paper
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from drift.errors import closest
from pipelines import compose, tables
from pipelines.errors import ConfigError
from pipelines.held import states
from pipelines.outline import gigabytes
from pipelines.session import guarded, rooted
from pipelines.stage import ordered
from pipelines.stages import STAGES
from pipelines.store import MANIFEST, Store

_DELETE = "--delete"
_LEFT_SECONDS = 24 * 3600.0
_NAME = 20  # digits of a fingerprint that name an artifact's folder


def main(words: Sequence[str]) -> int:
    """The command `drift gc`; the exit status."""
    return guarded(lambda: collect(words), words, __doc__)


def collect(words: Sequence[str]) -> int:
    """Lists, and with --delete removes, what is not referred to.

    Raises:
        ConfigError: an unknown option or override.
    """
    unknown = next((word for word in words if word.startswith("-") and word != _DELETE), None)
    if unknown:
        raise ConfigError(f"unknown option {unknown!r}: {closest(unknown, (_DELETE, '--help'))}")
    overrides = [word for word in words if word != _DELETE]
    config, _ = compose.load_fitting([], overrides)
    store = Store(rooted(config.store))
    target = tables.report([tables.load(name) for name in tables.names()], overrides, online=False)
    calls = ordered([target])
    found = states(calls, store)
    planned = [store.path(call.stage.name, found[call.key].mark) for call in calls if found[call.key].word == "store"]
    garbage = unreferenced(store, [*planned, *published(store, compose.ROOT / "results")])
    freed = 0
    for path in garbage:
        size = sum(file.lstat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())
        freed += size
        print(f"{gigabytes(size):>9}  {path.relative_to(store.root)}")
        if _DELETE in words:
            store.remove(path)
    said = "removed" if _DELETE in words else f"to remove: drift gc {_DELETE}"
    print(f"{len(garbage)} folders, {gigabytes(freed)} {said}")
    return 0


def published(store: Store, results: Path) -> set[Path]:
    """The artifacts that the provenance of committed results names, by `stage/fingerprint`."""
    files = (json.loads(path.read_text()) for path in results.glob("*/provenance.json"))
    return {store.root / place for content in files for place in content["artifacts"]}


def unreferenced(store: Store, kept: Sequence[Path]) -> list[Path]:
    """Finished artifacts that `kept` were not made from, and partial ones that nobody has touched for a day."""
    finished = [path for stage in STAGES for path in sorted((store.root / stage).glob("*")) if path.is_dir()]
    referred, left_to_see = set(), [path for path in kept if (path / MANIFEST).exists()]
    places = {path.name: path for path in finished}
    while left_to_see:
        path = left_to_see.pop()
        if path not in referred:
            referred.add(path)
            made_from = store.manifest_of(path).manifest["inputs"].values()
            left_to_see += [places[mark[:_NAME]] for mark in made_from if mark[:_NAME] in places]
    left = [path for path in sorted((store.root / ".partial").glob("*")) if path.is_dir() and _is_left(path)]
    return [path for path in finished if path not in referred] + left


def _is_left(path: Path) -> bool:
    touched = max(file.lstat().st_mtime for file in (path, *path.rglob("*")))
    return time.time() - touched > _LEFT_SECONDS
