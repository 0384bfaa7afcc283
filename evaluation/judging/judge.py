"""What a judge is asked and what it answers; the rules-only judge is the absence of a second opinion.

A judge reads a response where a rule can't, or where the benchmark's published protocol always asks one. A failed call
is None, unjudged: neither right nor wrong. The HTTP judge is in evaluation.judging.http.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from drift.files import read_jsonl
from evaluation.data.tsv import Item


@dataclass(frozen=True, kw_only=True)
class JudgeRequest(Item):
    """An item, whose `answer` is the gold one, and one response to it to judge.

    `fields` has the item's other columns (MathVerse's `question_for_eval`, for one).

    Attributes:
        benchmark: registry name of the benchmark.
        response: the model's whole response, its reasoning block included.
        extraction: what the rules read out of the response, None where they found nothing.
    """

    benchmark: str
    response: str
    extraction: str | None = None


@dataclass(frozen=True)
class JudgeReply:
    """A judge's verdict: True or False, or None when no verdict could be had.

    Attributes:
        verdict: None is "unjudged".
        raw: the judge's words, or the reason why there are none.
        model: who judged.
        prompt_sha256: hash of the prompt that was sent, "" without one.
        tokens: tokens used by prompt and reply together.
        extraction: the answer that the judge read out, where it names one.
    """

    verdict: bool | None
    raw: str = ""
    model: str = ""
    prompt_sha256: str = ""
    tokens: int = 0
    extraction: str | None = None


@runtime_checkable
class Judge(Protocol):
    """Gives verdicts on responses, many at once, so that calls may overlap."""

    def judge_all(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """One reply a request, in the same order; never raises for a failed call, answers None instead."""
        ...


class StoredJudge:
    """Replies that were given before, by index; fits Judge."""

    def __init__(self, replies: Mapping[str, JudgeReply]) -> None:
        self._replies = replies

    def judge_all(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """The reply on each item."""
        return [self._replies[request.index] for request in requests]


def stored(path: Path) -> StoredJudge:
    """The judge whose replies a file holds: JSON lines of the fields of JudgeReply, and the item's index."""
    return StoredJudge({line.pop("index"): JudgeReply(**line) for line in read_jsonl(path, "replies")})
