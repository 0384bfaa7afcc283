"""A score as a run shows it: its numbers by protocol, split and column, and a sample of items as they were answered.

The sample is the same items for every checkpoint, spread evenly over a benchmark's table, so that one item can be
looked at across runs.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import Item, load_items
from pipelines.answered import Answered, ScoreFiles
from pipelines.scored import read_scores

AVERAGE = "average"
_VERDICTS = {True: "right", False: "wrong", None: "unjudged"}


def values(score: ScoreFiles) -> dict[str, float]:
    """By `official/test/MathVista`: the score and its interval, what was not decided, and the average."""
    place = f"{score.protocol}/{score.split}"
    found: dict[str, float] = {}
    headlines = []
    for column, scored in read_scores(score.folder(score.manifest)).items():
        name, headline = f"{place}/{column}", scored.score.metrics[scored.score.headline]
        headlines.append(headline.value)
        found |= {name: headline.value, f"{name}_cut": scored.cut, f"{name}_unmatched": scored.score.unmatched}
        found |= {f"{name}_{metric}": each.value for metric, each in scored.score.metrics.items()}
        if headline.low is not None and headline.high is not None:
            found |= {f"{name}_low": headline.low, f"{name}_high": headline.high}
    return found | {f"{place}/{AVERAGE}": sum(headlines) / len(headlines)}


def items(score: ScoreFiles, count: int) -> dict[str, list[dict[str, Any]]]:
    """`items/official/test` -> so many items of each benchmark, pictures as bytes; none where none are wanted."""
    folder = score.folder(score.asked)
    rows = [
        _row(column, each)
        for column, name in score.benchmarks.items()
        for each in score.answered(name, _sample(folder, name, count))
    ]
    return {f"items/{score.protocol}/{score.split}": rows} if rows else {}


def _row(column: str, answered: Answered) -> dict[str, Any]:
    item, verdict = answered.item, answered.verdict
    return {
        "benchmark": column,
        "index": item.index,
        "image": item.images[0] if item.images else None,
        "question": item.question,
        "options": json.dumps(item.options) if item.options else "",
        "response": answered.response.get("response", ""),
        "extraction": verdict["extraction"] or "",
        "gold": verdict["gold"],
        "verdict": _VERDICTS[verdict["correct"]],
        "rule": verdict["rule"],
    }


@lru_cache(maxsize=64)
def _sample(folder: Path, name: str, count: int) -> tuple[Item, ...]:
    """So many items, spread evenly over the table: all checkpoints are asked the same tables."""
    if not count:
        return ()
    benchmark = get_benchmark(name)
    found = load_items(folder / benchmark.tsv, benchmark)
    return tuple(found[:: max(1, -(-len(found) // count))])
