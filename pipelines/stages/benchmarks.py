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
    elif params.source == "hub":
        from evaluation.data.download import find_table

        for name in params.names:
            table = find_table(get_benchmark(name), cache=runtime.cache / "benchmarks")
            link(table, out / table.name)
    else:
        for name in params.names:
            _from_folder(name, Path(params.root), out)
    counts = {}
    for name in params.names:
        benchmark = get_benchmark(name)
        counts[name] = len(load_items(out / benchmark.tsv, benchmark, with_images=False))
    return {"rows": counts}


def _from_folder(name: str, root: Path, out: Path) -> None:
    """A TSV that lies in `root` as VLMEvalKit names it is linked; else the benchmark's own repository is converted."""
    benchmark = get_benchmark(name)
    tsv = benchmark.tsv
    if (root / tsv).is_file():
        link(root / tsv, out / tsv)
        return
    made = benchmark.convert(root / name.removesuffix("_MINI").lower(), out / tsv)
    log.info("%s: %s", name, made)
