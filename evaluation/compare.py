"""Compares verdict files pairwise: `python -m evaluation.compare A.jsonl B.jsonl [C.jsonl ...]`.

The first file is the baseline of each comparison. Prints one JSON object: the accuracy of each file with its interval,
and per pair the difference in points with a paired-bootstrap interval (by group where verdicts carry groups), the exact
McNemar test, its Holm-adjusted p over the pairs, and the smallest difference that a test of this size finds four times
in five. Only items judged in both files of a pair are compared; how many is printed.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from drift.errors import DataError, DriftError
from evaluation.arguments import parse_arguments
from evaluation.judging.comparison import compare_files

DEFAULTS = {"resamples": "10000", "seed": "0"}


def main(words: Sequence[str]) -> int:
    """The command: 0 and a JSON object on standard output, or 2 and one line on standard error."""
    try:
        options = [word for word in words if word.partition("=")[0] in DEFAULTS]
        values = parse_arguments(options, (), DEFAULTS)
        paths = [Path(word) for word in words if word not in options]
        if not all(value.isdecimal() for value in values.values()):
            raise DataError(f"resamples and seed must be whole numbers; found {values}")
        result = compare_files(paths, int(values["resamples"]), int(values["seed"]))
    except DriftError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    sys.stdout.write(json.dumps(asdict(result)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
