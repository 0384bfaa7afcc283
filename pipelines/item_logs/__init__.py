"""Every item of a profile's scores in the forms that other viewers open: inspect_ai's logs, lm-eval's samples.

Unlike the archive of `drift export` these hold questions, pictures and answers: a benchmark's licence goes with them.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from drift.errors import closest
from drift.files import write_whole
from pipelines.answered import Manifests, ScoreFiles
from pipelines.errors import ConfigError, StoreError
from pipelines.item_logs import inspect_ai, lm_eval
from pipelines.stages import SCORE
from pipelines.store import Store

log = logging.getLogger(__name__)
Writer = Callable[[ScoreFiles, str, str], Mapping[str, bytes]]
WRITERS: Mapping[str, Writer] = {"--inspect": inspect_ai.files, "--lm-eval": lm_eval.files}


def write(form: str, results: Path, store: Path, out: Path, table: str = "") -> int:
    """Writes a log for each benchmark of each score behind the cells; how many files.

    Args:
        form: of WRITERS.
        table: of whose cells; of all without one.
    Raises:
        ConfigError: there is no such table.
        StoreError: there are no results, or a score behind them is not in the store.
    """
    count, known = 0, Manifests(store)
    for place in scores(results, table):
        score = _score(store, place, known)
        for column, name in score.benchmarks.items():
            for path, content in WRITERS[form](score, column, name).items():
                write_whole(out / path, content)
                count += 1
    log.info("%d files: %s", count, out)
    return count


def scores(results: Path, table: str) -> list[str]:
    """The places in the store of the scores behind the cells, each once, in the order of the tables.

    Raises:
        ConfigError, StoreError: as `write`.
    """
    path = results / "provenance.json"
    if not path.exists():
        raise StoreError(f"{results} holds no results; make them first: make reproduce")
    cells = json.loads(path.read_text())["cells"]
    if table and table not in cells:
        raise ConfigError(f"table={table}: {closest(table, cells)}")
    return list(dict.fromkeys(_places([cells[table]] if table else list(cells.values()))))


def _places(cells: object) -> Iterator[str]:
    """Every `score/...` at the leaves."""
    if isinstance(cells, str):
        if cells.startswith(f"{SCORE.name}/"):
            yield cells
        return
    for each in cells.values() if isinstance(cells, dict) else cells:  # type: ignore[attr-defined]
        yield from _places(each)


def _score(store: Path, place: str, known: Manifests) -> ScoreFiles:
    opened = Store(store).open(store / place)
    if opened is None:
        raise StoreError(f"the results name {place}, which is not in {store}; make it again: make reproduce")
    return ScoreFiles(Store(store), opened[0].manifest, known)
