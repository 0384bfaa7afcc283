"""A generator asked for its answers: every response kept, in files that a killed run goes on with.

Questions go in shards of `SHARD`, so that memory holds the pictures of one; the n-th answers of a shard lie in
`<n>/<shard>.jsonl` in the questions' order, in the form of evaluation.engines.generate, which computes none twice.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

from drift.errors import DataError
from drift.files import read_jsonl
from evaluation.engines.base import Engine, GenerationSettings, Request
from evaluation.engines.generate import run_generation
from pipelines.distil.config import Sampling
from pipelines.distil.records import Question
from pipelines.distil.rules import Sample

SHARD = 256


def shown(question: Question) -> str:
    """The question as anybody is asked it: its text, and a line for each option."""
    return "\n".join([question.question, *(f"{letter}. {text}" for letter, text in question.options.items())])


def ask(
    engine: Engine,
    questions: Path,
    listed: Iterable[Question],
    sampling: Sampling,
    settings: GenerationSettings,
    out: Path,
) -> dict[str, int]:
    """Asks for what `out` does not hold yet; how many answers there are, and how many of them were cut.

    Args:
        questions: the folder of the pictures.
        settings: `settings_of` the sampling.
    Raises:
        EngineError: some requests got no answer; the same call goes on.
    """
    counts = {"questions": 0, "answers": 0, "cut": 0}
    for shard, part in _shards(listed):
        requests = [_request(question, questions, sampling) for question in part]
        counts["questions"] += len(part)
        for number in range(sampling.samples):
            drawn = replace(settings, seed=settings.seed + number)
            responses = run_generation(engine, requests, drawn, out / f"{number:02d}" / f"{shard:05d}.jsonl")
            counts["answers"] += len(responses)
            counts["cut"] += sum(response.finish_reason == "length" for response in responses)
    return counts


def answered(listed: Iterable[Question], samples: Path | None) -> Iterator[tuple[Question, list[Sample]]]:
    """Each question with its answers, a shard at a time; without a folder of samples, with its own reply.

    Raises:
        DataError: the answers are not those to the questions.
    """
    if samples is None:
        yield from ((each, [Sample(each, 0, each.reply, "unknown")]) for each in listed)
        return
    numbers = sorted(int(path.name) for path in samples.iterdir() if path.is_dir())
    for shard, part in _shards(listed):
        files = [read_jsonl(samples / f"{number:02d}" / f"{shard:05d}.jsonl", "answers") for number in numbers]
        for place, question in enumerate(part):
            yield (
                question,
                [_sample(question, number, lines, place) for number, lines in zip(numbers, files, strict=True)],
            )


def _sample(question: Question, number: int, lines: list[dict], place: int) -> Sample:
    line = lines[place] if place < len(lines) else {}
    if line.get("index") != question.index:
        raise DataError(
            f"answer {place} of draw {number} is to {line.get('index')!r}, expected {question.index!r}; are these "
            "answers to other questions?"
        )
    return Sample(question, number, line["response"], line["finish_reason"])


def _shards(listed: Iterable[Question]) -> Iterator[tuple[int, list[Question]]]:
    rest = iter(listed)
    for shard in count():
        part = list(islice(rest, SHARD))
        if not part:
            return
        yield shard, part


def _request(question: Question, folder: Path, sampling: Sampling) -> Request:
    prompt = sampling.prompt.replace("{question}", shown(question))
    return Request(question.index, prompt, tuple((folder / name).read_bytes() for name in question.images))
