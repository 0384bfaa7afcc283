"""Records taken in as questions: each picture looked at before a generator is asked about it, each fault counted.

A folder of questions is `questions.jsonl` with `images/`, `rejects.jsonl` and how many records there were.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from drift.files import replacing
from pipelines.distil.config import PictureLimits
from pipelines.distil.funnel import REJECTS, Rejects
from pipelines.distil.pictures import check_picture, find_picture
from pipelines.distil.records import Fault, Question, Raw

QUESTIONS, PICTURES = "questions.jsonl", "images"
STEP = "usable"


@dataclass(frozen=True)
class Taken:
    """How many records there were, and how many of them are questions."""

    records: int
    questions: int


def take(raws: Iterable[Raw], source: Path, limits: PictureLimits, out: Path) -> Taken:
    """Writes the folder `out` of questions; pictures are copied as they are, never packed anew.

    Args:
        raws: from pipelines.distil.records.read_records.
        source: the folder that their pictures' paths begin at.
    """
    (out / PICTURES).mkdir(parents=True, exist_ok=True)
    records = questions = 0
    with replacing(out / QUESTIONS) as stream, replacing(out / REJECTS) as rejected:
        rejects = Rejects(rejected)
        for raw in raws:
            found = _taken(raw, f"{records:06d}", source, limits, out)
            records += 1
            if isinstance(found, Fault):
                rejects.add(STEP, found, raw.place, raw.text)
            else:
                questions += 1
                stream.write(json.dumps(found.record()).encode("ascii") + b"\n")
    return Taken(records, questions)


def _taken(raw: Raw, index: str, source: Path, limits: PictureLimits, out: Path) -> Question | Fault:
    if raw.question is None:
        return raw.fault or Fault("record")
    pictures: list[tuple[str, bytes]] = []
    for found in _checked(raw, source, limits):
        if isinstance(found, Fault):
            return found
        pictures.append(found)
    names = [f"{PICTURES}/{index}_{place}{suffix}" for place, (suffix, _) in enumerate(pictures)]
    for name, (_, data) in zip(names, pictures, strict=True):
        (out / name).write_bytes(data)
    return replace(raw.question, index=index, images=tuple(names))


def _checked(raw: Raw, source: Path, limits: PictureLimits) -> Iterator[tuple[str, bytes] | Fault]:
    for picture in raw.pictures:
        data = find_picture(picture, source)
        if isinstance(data, Fault):
            yield data
            return
        suffix = check_picture(data, limits)
        yield suffix if isinstance(suffix, Fault) else (suffix, data)
