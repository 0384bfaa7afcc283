"""Times the scorer on MATH-V's published outputs: `python benchmarks/bench_score.py [DRIFT_BENCHMARKS folder]`.

Reads every answer file of the folder (8 files, 24,320 responses), scores them in both modes in one process, and writes
one JSON line with seconds and responses a second. Target: the official mode in under 90 seconds on one core.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import Item
from evaluation.judging.scoring import score


def load(root: Path) -> tuple[dict[str, Item], list[dict[str, str]]]:
    """(items by id, one response table an answer file) of a MATH-V folder."""
    records = [json.loads(line) for line in (root / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    items = {
        r["id"]: Item(r["id"], r["question"], r["answer"], dict(zip("ABCDE", r["options"], strict=False)))
        for r in records
    }
    tables = []
    for path in sorted((root / "outputs").glob("*.jsonl")):
        answers = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        tables.append({answer["id"]: answer["response"] for answer in answers})
    return items, tables


def main(words: Sequence[str]) -> int:
    """Prints the timings of both modes."""
    root = Path(words[0] if words else os.environ["DRIFT_BENCHMARKS"]) / "mathvision"
    items, tables = load(root)
    result: dict[str, object] = {"responses": sum(len(table) for table in tables)}
    for mode in ("official", "semantic"):
        start, used = time.perf_counter(), time.process_time()
        for table in tables:
            score(get_benchmark("MathVision"), [items[key] for key in table], table, mode)
        result[f"{mode}_seconds"] = round(time.perf_counter() - start, 1)
        result[f"{mode}_processor_seconds"] = round(time.process_time() - used, 1)
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
