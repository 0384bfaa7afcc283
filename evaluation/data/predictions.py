"""Reads and writes JSON-lines files: predictions in, verdicts out, whole or not at all."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from drift.errors import DataError


def read_predictions(path: Path) -> dict[str, str]:
    """index -> response of a file of `{"index": ..., "response": ...}` lines; other keys are left alone.

    Raises:
        DataError: no file, no lines, a line that is no such object, a response that is not text, or an index twice.
    """
    responses: dict[str, str] = {}
    for number, record in enumerate(read_records(path, "predictions"), 1):
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
    return responses


def read_records(path: Path, what: str) -> list[dict[str, object]]:
    """The objects of a JSON-lines file; blank lines are skipped.

    Raises:
        DataError: no file, no lines, or a line that is not a JSON object.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected {what} as JSON lines")
    records: list[dict[str, object]] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}); expected {what} as JSON lines") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(
                f"{path}:{number}: not JSON ({error}); was the file cut? expected one object a line"
            ) from error
        if not isinstance(record, dict):
            raise DataError(f"{path}:{number}: {type(record).__name__}; expected an object such as {{'index': ...}}")
        records.append(record)
    if not records:
        raise DataError(f"{path}: no lines; expected {what}")
    return records


def write_records(path: Path, records: Iterable[Mapping[str, object]]) -> None:
    """Writes one JSON object a line under a temporary name, then renames.

    Raises:
        DataError: the folder can't be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DataError(f"{path}: can't be written ({error}); choose another place") from error


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
