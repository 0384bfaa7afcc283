"""The gate before vLLM answers for a pair: it says what transformers says, to a share, on the untouched MLLM.

Long greedy texts of two engines drift apart in the last bits of some logit without another answer, so what is compared
is what the benchmark's own rule reads out of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluation.benchmarks import Benchmark, build_prompt, get_benchmark
from evaluation.data.tsv import Item, load_items
from evaluation.engines.base import EngineError, Request
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


@dataclass(frozen=True)
class Agreement:
    """Of one benchmark: items asked, answers alike, texts that are equal to the letter."""

    items: int
    answers: int
    texts: int


def compare(
    benchmark: Benchmark, items: Sequence[Item], ours: Mapping[str, str], theirs: Mapping[str, str]
) -> Agreement:
    """Both engines' responses by item, read by the benchmark's rule."""
    alike = [_read(benchmark, item, ours) == _read(benchmark, item, theirs) for item in items]
    same = [ours[item.index] == theirs[item.index] for item in items]
    return Agreement(len(items), sum(alike), sum(same))


def share(found: Mapping[str, Agreement]) -> float:
    """The share of answers that are alike, over all benchmarks."""
    return sum(each.answers for each in found.values()) / sum(each.items for each in found.values())


def require(found: Mapping[str, Agreement], least: float) -> None:
    """Raises EngineError where fewer than `least` of the answers are alike; says of each benchmark how many are."""
    if share(found) < least:
        rows = ", ".join(f"{name} {each.answers} of {each.items}" for name, each in found.items())
        raise EngineError(
            f"vLLM and transformers agree on {share(found):.0%} of the answers, engine.agreement asks for {least:.0%} "
            f"({rows}); compare their responses, use engine=transformers, or accept it by a lower engine.agreement"
        )


def _read(benchmark: Benchmark, item: Item, responses: Mapping[str, str]) -> tuple[bool | None, str | None]:
    outcome = benchmark.rule(item, responses[item.index], "official")
    return outcome.correct, outcome.extraction
