"""A mix: filtered examples, and beside them answers that no filter has seen ("8K Mixed" is 4K of each, Table 7).

Both draws are by the hash of a seed and an example's place, so that a larger mix holds the smaller one. What a model
can't be taught (an answer without a word, or with a chat's markup in it) is no example and is never drawn.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drift.errors import DataError
from drift.training.conversations import IMAGE_MARK
from pipelines.distil.asking import shown
from pipelines.distil.config import MixConfig
from pipelines.distil.filtering import Answered
from pipelines.distil.rules import is_teachable
from pipelines.distil.sets import SetWriter, read_set


@dataclass(frozen=True)
class Mixed:
    """How many examples of each kind there are; `repeated` unfiltered ones are also among the filtered."""

    filtered: int
    unfiltered: int
    repeated: int


def mix(config: MixConfig, filtered: Path, answers: Iterable[Answered], folder: Path, writer: SetWriter) -> Mixed:
    """Writes the filtered examples and behind them the unfiltered ones.

    Args:
        filtered: the folder of the filtered set.
        answers: every question with every answer to it; `folder` has their pictures.
    Raises:
        DataError: fewer examples or answers than the config asks for.
    """
    records = read_set(filtered)
    taken = _drawn(range(len(records)), config.filtered or len(records), config.seed, "filtered examples")
    for place in taken:
        record = records[place]
        writer.add(record["messages"], [filtered / name for name in record["images"]])
    known = {_said(records[place]) for place in taken}
    samples = [sample for _, each in answers for sample in each if is_teachable(sample.response)]
    wanted = round(config.unfiltered * len(taken))
    chosen = [samples[place] for place in _drawn(range(len(samples)), wanted, config.seed, "answers")]
    for sample in chosen:
        writer.add_sample(sample, folder)
    repeated = sum((shown(sample.question), sample.response) in known for sample in chosen)
    return Mixed(len(taken), len(chosen), repeated)


def _drawn(places: Sequence[int], wanted: int, seed: int, what: str) -> list[int]:
    """So many places, in their order."""
    if wanted > len(places):
        raise DataError(f"a mix of {wanted} {what} was asked for, and there are {len(places)}; ask for fewer")
    by_lot = sorted(places, key=lambda place: hashlib.sha256(f"{seed}\0{what}\0{place}".encode()).digest())
    return sorted(by_lot[:wanted])


def _said(record: dict[str, Any]) -> tuple[str, str]:
    question, reply = (message["content"] for message in record["messages"][-2:])
    return question.replace(IMAGE_MARK, ""), reply
