"""What a judge is asked and what it answers; the rules-only judge is the absence of a second opinion.

A judge reads a response where a rule can't, or where the benchmark's published protocol always asks one. A failed call
is None, unjudged: neither right nor wrong. The HTTP judge is in evaluation.judging.http.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class JudgeRequest:
    """One response to judge.

    Attributes:
        benchmark: registry name of the benchmark.
        index: the item's index.
        question: the question as the item holds it.
        options: letter -> text, empty for a free-form question.
        answer: the gold answer.
        response: the model's whole response, its reasoning block included.
        extraction: what the rules read out of the response, None where they found nothing.
        fields: the item's other columns (MathVerse's `question_for_eval`, for one).
    """

    benchmark: str
    index: str
    question: str
    options: Mapping[str, str]
    answer: str
    response: str
    extraction: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


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


class Judge(Protocol):
    """Gives a verdict on one response."""

    def judge(self, request: JudgeRequest) -> JudgeReply:
        """The verdict; never raises for a failed call, answers None instead."""
        ...


@runtime_checkable
class BatchJudge(Judge, Protocol):
    """A judge that is faster with many requests at once (concurrent calls)."""

    def judge_all(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """One reply a request, in the same order."""
        ...


def ask(judge: Judge, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
    """Replies in the order of `requests`, batched where the judge can."""
    if isinstance(judge, BatchJudge):
        return judge.judge_all(requests)
    return [judge.judge(request) for request in requests]
