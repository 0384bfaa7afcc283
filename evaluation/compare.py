"""Compares verdict files pairwise: `python -m evaluation.compare A.jsonl B.jsonl [C.jsonl ...]`, or `drift compare`."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import NonNegativeInt, PositiveInt

from drift import words
from drift.errors import DataError
from drift.files import read_jsonl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Records = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Command:
    """Compares verdict files on the same items; the first file is the baseline of each comparison.

    Prints one JSON object: the accuracy of each file with its interval, and per pair the difference in points with a
    paired-bootstrap interval (by group where verdicts carry groups), the exact McNemar test, its Holm-adjusted p over
    the pairs, and the smallest difference that a test of this size finds four times in five. Only items judged in both
    files of a pair are compared; how many is printed.

    Example:
        drift compare sft.verdicts.jsonl drift.verdicts.jsonl resamples=2000

    Attributes:
        files: verdict files as `drift score` writes them, two or more.
        resamples: draws of each bootstrap.
        seed: of the bootstrap.
    """

    files: tuple[Path, ...] = field(metadata=words.POSITIONAL)
    resamples: PositiveInt = 10_000
    seed: NonNegativeInt = 0


def compare_files(paths: Sequence[Path], resamples: int = 10_000, seed: int = 0) -> dict[str, object]:
    """The comparison of each later file with the first.

    Raises:
        DataError: fewer than two files, unreadable verdicts, or different items.
    """
    if len(paths) < 2:
        raise DataError(f"{len(paths)} verdict file(s); expected at least two to compare")
    tables = [read_verdicts(path) for path in paths]
    for path, table in zip(paths[1:], tables[1:], strict=True):
        if set(table) != set(tables[0]):
            different = sorted(set(table) ^ set(tables[0]))
            raise DataError(
                f"{paths[0]} and {path} hold different items ({len(different)} in one alone, first {different[:3]}); "
                "compare verdicts on the same table"
            )
    pairs = [
        {"baseline": str(paths[0]), "against": str(path), **compare(tables[0], table, resamples, seed)}
        for path, table in zip(paths[1:], tables[1:], strict=True)
    ]
    from evaluation.statistics import holm

    for pair, adjusted in zip(pairs, holm([float(str(pair["p_value"])) for pair in pairs]), strict=True):
        pair["p_holm"] = adjusted
        pair["is_significant"] = adjusted < 0.05
    scores = [{"file": str(path), **accuracy(table)} for path, table in zip(paths, tables, strict=True)]
    return {"scores": scores, "pairs": pairs}


def read_verdicts(path: Path) -> dict[str, dict[str, object]]:
    """index -> verdict of a file that evaluation.score wrote.

    Raises:
        DataError: no such file, a line without index or correct, or an index twice.
    """
    table: dict[str, dict[str, object]] = {}
    for number, record in enumerate(read_jsonl(path, "verdicts"), 1):
        if "index" not in record or record.get("correct", "") not in (True, False, None):
            raise DataError(f"{path}:{number}: expected index, and correct as true, false or null")
        index = str(record["index"])
        if index in table:
            raise DataError(f"{path}:{number}: index {index!r} appears twice; expected one verdict an item")
        table[index] = record
    return table


def accuracy(table: Records) -> dict[str, object]:
    """Accuracy over judged items in percent, with Wilson's interval and counts."""
    judged = [bool(record["correct"]) for record in table.values() if record["correct"] is not None]
    if not judged:
        raise DataError(f"none of {len(table)} verdicts is judged; nothing to compare")
    from evaluation.statistics import wilson

    low, high = wilson(sum(judged), len(judged))
    return {
        "accuracy": 100 * sum(judged) / len(judged),
        "n": len(table),
        "unjudged": len(table) - len(judged),
        "ci_low": 100 * low,
        "ci_high": 100 * high,
    }


def compare(first: Records, second: Records, resamples: int = 10_000, seed: int = 0) -> dict[str, object]:
    """One pair: `difference` is second minus first, in points, over the items judged in both."""
    import numpy as np

    from evaluation.statistics import cluster_bootstrap, detectable_difference, mcnemar_exact, paired_bootstrap

    shared = [index for index in first if first[index]["correct"] is not None and second[index]["correct"] is not None]
    if not shared:
        raise DataError("no item is judged in both files; nothing to compare")
    a = [bool(first[index]["correct"]) for index in shared]
    b = [bool(second[index]["correct"]) for index in shared]
    test = mcnemar_exact(a, b)
    groups = [str(first[index].get("group") or "") for index in shared]
    if all(groups):
        change = np.asarray(b, dtype=float) - np.asarray(a, dtype=float)

        def gain(drawn: "NDArray[np.int64]") -> float:
            return float(change[drawn].mean())

        interval = cluster_bootstrap(groups, gain, min(resamples, 2_000), seed)
    else:
        interval = paired_bootstrap(a, b, resamples, seed)
    discordance = (test.only_first + test.only_second) / len(shared)
    return {
        "difference": 100 * interval.mean,
        "ci_low": 100 * interval.low,
        "ci_high": 100 * interval.high,
        "n": len(shared),
        "is_clustered": all(groups),
        "only_baseline_right": test.only_first,
        "only_against_right": test.only_second,
        "p_value": test.p_value,
        "detectable_difference": 100 * detectable_difference(len(shared), discordance),
    }


def run(command: Command) -> str:
    """The comparison as JSON."""
    return json.dumps(compare_files(command.files, command.resamples, command.seed))


def main(arguments: Sequence[str]) -> int:
    """The command: 0 and a JSON object on standard output, or 2 and one line on standard error."""
    return words.run(arguments, Command, run)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
