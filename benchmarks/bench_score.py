"""Times the scorer on MATH-V's published outputs: `python benchmarks/bench_score.py [DRIFT_BENCHMARKS] [rows=N]`.

Reads every answer file of the folder (8 files, 24,320 responses), scores them in both modes in one process, and writes
one JSON line with seconds and responses a second. Target: the official mode in under 90 seconds on one core.

With rows=N the whole command `drift score` is measured instead, on a table of N rows that repeats these responses under
indices of their own: seconds, processor seconds and peak memory (its own, and of the largest process that it started),
with one process and with two. Targets: 1e5 rows under 300 MB, 1e6 under 500 MB.
"""

import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
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


def rules(root: Path) -> dict[str, object]:
    """Seconds of both modes' rules, in memory."""
    items, tables = load(root)
    result: dict[str, object] = {"responses": sum(len(table) for table in tables)}
    for mode in ("official", "semantic"):
        start, used = time.perf_counter(), time.process_time()
        for table in tables:
            score(get_benchmark("MathVision"), [items[key] for key in table], table, mode)
        result[f"{mode}_seconds"] = round(time.perf_counter() - start, 1)
        result[f"{mode}_processor_seconds"] = round(time.process_time() - used, 1)
    return result


def write(root: Path, folder: Path, rows: int) -> None:
    """`data.tsv` and `predictions.jsonl` of so many rows."""
    items, tables = load(root)
    pairs = cycle([(items[key], response) for table in tables for key, response in table.items()])
    with (folder / "data.tsv").open("w", newline="") as data, (folder / "predictions.jsonl").open("w") as answers:
        writer = csv.writer(data, delimiter="\t", lineterminator="\n")
        writer.writerow(["index", "question", "choices", "answer", "category", "level"])
        for number, (item, response) in enumerate(islice(pairs, rows)):
            writer.writerow([number, item.question, list(item.options.values()), item.answer, number % 16, number % 5])
            answers.write(json.dumps({"index": number, "response": response}) + "\n")


def command(folder: Path, mode: str, processes: int) -> dict[str, object]:
    """What one run of the command takes."""
    words = ["benchmark=MathVision", f"data={folder}/data.tsv", f"predictions={folder}/predictions.jsonl"]
    words += [f"verdicts={folder}/verdicts.jsonl", f"mode={mode}", f"processes={processes}"]
    measure = (
        "import resource as r, sys; from evaluation.score import main; status = main(sys.argv[1:]);"
        "print(*(r.getrusage(who).ru_maxrss // 1024 for who in (r.RUSAGE_SELF, r.RUSAGE_CHILDREN)), file=sys.stderr);"
        "sys.exit(status)"
    )
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", measure, *words], check=True, capture_output=True, text=True)
    used, peaks = resource.getrusage(resource.RUSAGE_CHILDREN), done.stderr.split()[-2:]
    spent = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    result: dict[str, object] = {"mode": mode, "processes": processes, "accuracy": json.loads(done.stdout)["accuracy"]}
    result |= {"seconds": round(time.perf_counter() - start, 1), "processor_seconds": round(spent, 1)}
    return result | {"peak_mb": int(peaks[0]), "largest_child_mb": int(peaks[1])}


def main(words: Sequence[str]) -> int:
    """Prints a JSON line of the rules, or one a run of the command."""
    rows = next((int(word.removeprefix("rows=")) for word in words if word.startswith("rows=")), 0)
    folders = [word for word in words if not word.startswith("rows=")]
    root = Path(folders[0] if folders else os.environ["DRIFT_BENCHMARKS"]) / "mathvision"
    if not rows:
        sys.stdout.write(json.dumps(rules(root)) + "\n")
        return 0
    with tempfile.TemporaryDirectory() as name:
        write(root, Path(name), rows)
        for mode, processes in (("official", 1), ("official", 2), ("semantic", 2)):
            sys.stdout.write(json.dumps({"rows": rows} | command(Path(name), mode, processes)) + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
