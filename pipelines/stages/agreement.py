"""The gate before vLLM answers for a pair: it says what transformers says, to a share, on the untouched MLLM."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluation.benchmarks import build_prompt, get_benchmark
from evaluation.data.tsv import load_items
from evaluation.engines.agreement import compare, require, share
from evaluation.engines.base import Request
from evaluation.engines.config import EngineConfig, load_engine
from evaluation.engines.generate import run_generation
from pipelines.layout import CHECKPOINT
from pipelines.stage import Runtime
from pipelines.stages import AgreementParams


def check_agreement(params: AgreementParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Both engines' responses, a JSONL a benchmark; values: the share of equal answers, and the counts behind it.

    Raises:
        EngineError: it is below `params.least`; says of each benchmark how many answers are alike.
    """
    said = {engine.name: _answers(params, engine, inputs, out) for engine in (params.engine, params.reference)}
    found = {}
    for name in params.benchmarks:
        benchmark = get_benchmark(name)
        items = load_items(inputs["benchmarks"] / benchmark.tsv, benchmark, with_images=False)[: params.items]
        found[name] = compare(benchmark, items, *(answers[name] for answers in said.values()))
    require(found, params.least)
    return {"agreement": share(found), "benchmarks": {name: asdict(each) for name, each in found.items()}}


def _answers(
    params: AgreementParams, config: EngineConfig, inputs: Mapping[str, Path], out: Path
) -> dict[str, dict[str, str]]:
    """One engine's responses by benchmark and item; it is gone before the other one needs its GPU."""
    folder, found = out / config.name, {}
    folder.mkdir(exist_ok=True)
    with load_engine(config, inputs["model"] / CHECKPOINT).opened(folder) as engine:
        for name in params.benchmarks:
            benchmark = get_benchmark(name)
            items = load_items(inputs["benchmarks"] / benchmark.tsv, benchmark)[: params.items]
            asked = [Request(item.index, build_prompt(benchmark, item, params.variant), item.images) for item in items]
            responses = run_generation(engine, asked, config.settings, folder / f"{name}.jsonl")
            found[name] = {response.index: response.text for response in responses}
    return found
