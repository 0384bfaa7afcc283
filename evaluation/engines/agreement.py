"""Whether two engines say the same: the same items, greedily, and the share of answers that come out alike.

Long greedy texts of two engines drift apart in the last bits of some logit without another answer, so what is compared
is what the benchmark's own rule reads out of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.benchmarks.base import Benchmark
from evaluation.data.tsv import Item
from evaluation.engines.base import EngineError


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
