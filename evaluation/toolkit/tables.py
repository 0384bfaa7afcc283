"""The lab's tables in the columns that VLMEvalKit's own benchmark classes read, so that its code scores the lab.

Each lab suite goes to the class of the benchmark that it stands in for; `Benchmark.toolkit` has the columns. The prompt
of our own run is kept in a column and is what the model sees, with every class. Published tables are passed on as they
are.
"""

import shutil
from pathlib import Path

from drift.errors import DataError
from evaluation.benchmarks import BENCHMARKS, Benchmark, build_prompt
from evaluation.data.tsv import encode_image, load_items, write_rows

PROMPT_COLUMN = "drift_prompt"


def toolkit_dataset(benchmark: Benchmark) -> str:
    """The toolkit's name for a benchmark: its own for a published one, the stood-in one for a lab suite.

    Raises:
        DataError: a lab suite that stands in for nothing; the toolkit has no class for it.
    """
    if benchmark.url is not None:
        return benchmark.name
    if benchmark.stands_in_for is None or benchmark.toolkit is None:
        known = ", ".join(row.name for row in BENCHMARKS.values() if row.toolkit)
        raise DataError(f"{benchmark.name} stands in for no benchmark of VLMEvalKit; it has: {known}")
    return benchmark.stands_in_for


def write_table(benchmark: Benchmark, tsv: Path, folder: Path, *, variant: str = "default", limit: int = 0) -> int:
    """Put the toolkit's `<dataset>.tsv` into `folder`; the number of items, 0 for a table passed on unread.

    Args:
        variant: the prompt variant of a lab suite.
        limit: the first so many items only; 0 keeps all. Published tables can't be cut.
    Raises:
        DataError: as load_items; or a lab answer that the class can't score.
    """
    target = folder / f"{toolkit_dataset(benchmark)}.tsv"
    folder.mkdir(parents=True, exist_ok=True)
    if benchmark.toolkit is None:
        if limit:
            raise DataError(f"limit={limit}: {benchmark.name} is a published table, which is passed on whole")
        shutil.copyfile(tsv, target)
        return 0
    items = load_items(tsv, benchmark)[: limit or None]
    rows = []
    for item in items:
        if len(item.images) != 1:
            raise DataError(f"{benchmark.name} item {item.index!r} has {len(item.images)} images; the lab's have one")
        row = {"index": item.index, "image": encode_image(item.images[0])}
        row |= {"question": item.question, "answer": item.answer, PROMPT_COLUMN: build_prompt(benchmark, item, variant)}
        rows.append(row | benchmark.toolkit(item))
    write_rows(target, rows)
    return len(items)
