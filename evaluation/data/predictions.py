"""Reads predictions, JSON lines of index and response, and holds them against the items that they answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from drift.errors import DataError
from drift.files import read_jsonl


def read_predictions(path: Path) -> dict[str, str]:
    """index -> response of a file of `{"index": ..., "response": ...}` lines; other keys are left alone.

    Raises:
        DataError: no file, no lines, a line that is no such object, a response that is not text, or an index twice.
    """
    responses: dict[str, str] = {}
    for number, record in enumerate(read_jsonl(path, "predictions"), 1):
        absent = [key for key in ("index", "response") if key not in record]
        if absent:
            raise DataError(f"{path}:{number}: {absent} missing; expected {{'index': ..., 'response': ...}}")
        index, response = str(record["index"]), record["response"]
        if isinstance(response, int | float) and not isinstance(response, bool):
            response = str(response)
        if not isinstance(response, str):
            raise DataError(f'{path}:{number}: the response of {index!r} is {response!r}; expected text ("" for none)')
        if index in responses:
            raise DataError(f"{path}:{number}: index {index!r} appears twice; expected one response an item")
        responses[index] = response
    if not responses:
        raise DataError(f"{path}: no lines; expected predictions")
    return responses


def check_coverage(indices: Sequence[str], responses: Mapping[str, str], source: Path, allow_missing: bool) -> int:
    """Number of responses that belong to no item.

    Raises:
        DataError: items without a response, unless `allow_missing`; or not one item has a response.
    """
    missing = [index for index in indices if index not in responses]
    if len(missing) == len(indices):
        raise DataError(
            f"{source}: none of its {len(responses)} responses belongs to the data; first items {indices[:3]}, first "
            f"predictions {list(responses)[:3]}. Are they of the same benchmark?"
        )
    if missing and not allow_missing:
        raise DataError(
            f"{source}: no response for {len(missing)} of {len(indices)} items, first {missing[:3]}; complete the "
            "file, or say allow_missing=true to score them as wrong"
        )
    return len(set(responses) - set(indices))
