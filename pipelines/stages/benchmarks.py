"""The benchmarks' TSVs as an artifact: written by a lab world, downloaded, or converted from a local folder."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import load_items
from pipelines.stage import Runtime
from pipelines.stages import BenchmarksParams
from pipelines.stages.outside import link

log = logging.getLogger(__name__)


def make_benchmarks(
    params: BenchmarksParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path
) -> dict[str, Any]:
    """A TSV per benchmark, each read back once, so that a broken table stops here; values: the row counts."""
    if params.world is not None:
        from pipelines.lab.data import write_benchmarks

        write_benchmarks(params.world, params.split, out)
    counts, root = {}, Path(params.root)
    for name in params.names:
        benchmark = get_benchmark(name)
        table = out / benchmark.tsv
        if params.source == "hub":
            from evaluation.data.download import find_table

            link(find_table(benchmark, cache=runtime.cache / "benchmarks"), table)
        elif params.world is None and (root / benchmark.tsv).is_file():  # as VLMEvalKit names it
            link(root / benchmark.tsv, table)
        elif params.world is None:
            made = benchmark.convert(root / name.removesuffix("_MINI").lower(), table)
            log.info("%s: %s", name, made)
        counts[name] = len(load_items(table, benchmark, with_images=False))
    return {"rows": counts}
