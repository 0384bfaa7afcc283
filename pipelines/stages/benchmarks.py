"""The benchmarks' TSVs as an artifact, or a split of them: written by a lab world, downloaded, or from a local folder.

Tables that no world wrote are parted by question (evaluation.data.splits). The split of a published table is kept in
`conf/splits` from its first use on, and that of a benchmark's own repository where all its pictures were at hand.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drift.files import md5_of
from evaluation.benchmarks import Benchmark, get_benchmark
from evaluation.data.splits import SIDES, Lock, Split, split_of
from evaluation.data.tsv import load_items, read_rows, write_rows
from pipelines import compose
from pipelines.layout import QUESTIONS
from pipelines.stage import Runtime
from pipelines.stages import BenchmarksParams
from pipelines.stages.outside import link

log = logging.getLogger(__name__)
LOCKS = compose.CONF / "splits"


@dataclass(frozen=True)
class _Whole:
    """A benchmark's whole table, where its split is kept, and whether it is the published one, byte for byte."""

    path: Path
    lock: Lock
    is_published: bool


def make_benchmarks(
    params: BenchmarksParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path
) -> dict[str, Any]:
    """A TSV per benchmark, each read back once, so that a broken table stops here; values: the row counts.

    Of published benchmarks also `questions.json`: by benchmark, the items that are versions of one question.

    Raises:
        SplitError: a table can't be parted, or its kept split is of another one.
    """
    if params.world is not None:
        from pipelines.lab.data import write_benchmarks

        write_benchmarks(params.world, params.split, out)
    counts, questions = {}, {}
    for name in params.names:
        benchmark = get_benchmark(name)
        if params.world is None:
            whole = _whole(params, benchmark, runtime, out / "whole")
            split = _split(whole, benchmark)
            _write_side(params.split, whole.path, split, benchmark, out / benchmark.tsv)
            questions[name] = [question for side in SIDES for question in getattr(split, side) if len(question) > 1]
        counts[name] = len(load_items(out / benchmark.tsv, benchmark, with_images=False))
    if params.world is None:
        (out / QUESTIONS).write_text(json.dumps(questions))
        shutil.rmtree(out / "whole", ignore_errors=True)
    return {"rows": counts}


def _whole(params: BenchmarksParams, benchmark: Benchmark, runtime: Runtime, folder: Path) -> _Whole:
    kept = Lock(LOCKS / f"{Path(benchmark.tsv).stem}.json")
    if params.source == "hub":
        from evaluation.data.download import find_table

        return _Whole(find_table(benchmark, cache=runtime.cache / "benchmarks"), kept, is_published=True)
    root = Path(params.root)
    if (found := root / benchmark.tsv).is_file():  # as VLMEvalKit names it
        return _Whole(found, kept, is_published=benchmark.md5 is not None and md5_of(found) == benchmark.md5)
    made = benchmark.convert(root / benchmark.name.removesuffix("_MINI").lower(), folder / benchmark.tsv)
    log.info("%s: %s", benchmark.name, made)
    own = Lock(LOCKS / f"{benchmark.name}.repository.json")  # where its indices are not those of the published table
    return _Whole(folder / benchmark.tsv, own if own.path.exists() else kept, is_published=False)


def _split(whole: _Whole, benchmark: Benchmark) -> Split:
    """The split that is kept, else the one by the rule; that of a published table is kept from now on."""
    items = load_items(whole.path, benchmark)
    if (kept := whole.lock.read([item.index for item in items], must_fit=whole.is_published)) is not None:
        return kept
    split = split_of(items, benchmark)
    if whole.is_published:
        split.check(benchmark.name)
        whole.lock.write(split)
        log.info("kept the split of %s in %s", benchmark.name, whole.lock.path)
    return split


def _write_side(side: str, whole: Path, split: Split, benchmark: Benchmark, table: Path) -> None:
    """The rows of a side, or the table as it is."""
    if side != "all":
        split.check(benchmark.name)
        kept = split.items("validation" if side == "validation" else "test")
        write_rows(table, [row for row in read_rows(whole, benchmark) if row["index"] in kept])
    elif whole.is_relative_to(table.parent):
        whole.replace(table)
    else:
        link(whole, table)
