"""Compares verdict files pairwise: `python -m evaluation.compare A.jsonl B.jsonl [C.jsonl ...]`, or `drift compare`."""

import json
import sys
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from pydantic import NonNegativeInt, PositiveInt

from drift import words


@dataclass(frozen=True)
class Command:
    """Compares verdict files on the same items; the first file is the baseline of each comparison.

    Prints one JSON object: the accuracy of each file with its interval, and per pair the difference in points with a
    paired-bootstrap interval (by group where verdicts carry groups), the exact McNemar test, its Holm-adjusted p over
    the pairs, and the smallest difference that a test of this size finds four times in five. Only items judged in both
    files of a pair are compared; how many is printed.

    A difference is no surer than its scorer. `rescored` are the same responses scored another way, a file for each:
    by a judge, or by the toolkit. What the two scorers make of each difference is then taken from one another, item by
    item, and a difference no larger than that (`is_within_scorer_bias`) is unresolved by the scorer.

    Example:
        drift compare sft.verdicts.jsonl drift.verdicts.jsonl resamples=2000
        drift compare base.rules.jsonl merged.rules.jsonl rescored=[base.judge.jsonl,merged.judge.jsonl]

    Attributes:
        files: verdict files as `drift score` writes them, two or more.
        rescored: verdict files of the same responses by another scorer, in the order of `files`.
        resamples: draws of each bootstrap.
        seed: of the bootstrap.
    """

    files: tuple[Path, ...] = field(metadata=words.POSITIONAL)
    rescored: tuple[Path, ...] = ()
    resamples: PositiveInt = 10_000
    seed: NonNegativeInt = 0


def run(command: Command) -> str:
    """The comparison as JSON."""
    from evaluation.judging.comparison import compare_files

    return json.dumps(asdict(compare_files(command.files, command.resamples, command.seed, command.rescored)))


# The command: 0 and a JSON object on standard output, or 2 and one line on standard error.
main = partial(words.run, command=Command, body=run)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
