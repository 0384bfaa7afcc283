"""From responses to verdicts to one summary: the rules decide, a judge is asked where they or the protocol can't.

A mode names a protocol of the benchmark (evaluation.judging.protocols): `official` imitates the benchmark's published
rule, defects included, `today` its repository's present one, `vlmevalkit` the toolkit's, and `semantic` is what a
careful reader would say. Nothing is random: what no rule can read is `unmatched`, which is wrong and counted where no
judge is asked; a judge call that failed is `unjudged`, outside the accuracy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from drift.errors import DataError, closest
from evaluation.answers.symbolic import prepare
from evaluation.answers.text import XLSX_CELL_LIMIT, clip_answer, last_boxed
from evaluation.data.tsv import Item
from evaluation.judging.judge import Judge, JudgeRequest
from evaluation.judging.summary import summarise
from evaluation.judging.verdicts import MODES, Verdict

if TYPE_CHECKING:
    from evaluation.benchmarks import Benchmark

__all__ = ["ask_judge", "open_to_judge", "request_of", "score", "score_by_rules", "summarise"]


def score(
    benchmark: "Benchmark",
    items: Sequence[Item],
    responses: Mapping[str, str],
    mode: str = "official",
    judge: Judge | None = None,
) -> list[Verdict]:
    """One verdict an item, in the items' order.

    Args:
        benchmark: gives the rule and the judge's protocol.
        items: from evaluation.data.tsv.load_items.
        responses: index -> response; an item without one is wrong and flagged `is_missing`.
        mode: one of evaluation.judging.protocols.MODES.
        judge: asked about the items that the protocol would ask about; None decides by rules alone.
    Raises:
        DataError: unknown mode, or one that the benchmark has no protocol for.
        HelperError: the process that compares formulas can't be started, or stopped answering.
    """
    verdicts = score_by_rules(benchmark, items, responses, mode)
    return verdicts if judge is None else ask_judge(benchmark, items, responses, verdicts, judge)


def score_by_rules(
    benchmark: "Benchmark", items: Sequence[Item], responses: Mapping[str, str], mode: str
) -> list[Verdict]:
    """As `score`, without a judge."""
    if mode not in MODES:
        raise DataError(f"unknown mode {mode!r}: {closest(mode, MODES)}")
    benchmark.pinned(mode)  # refuses a mode that the benchmark has no protocol for
    if mode not in benchmark.unclipped:
        prepare(text for item in items for text in (item.answer, *benchmark.options(item).values()))
    return [_verdict(benchmark, item, responses.get(item.index), mode) for item in items]


def _verdict(benchmark: "Benchmark", item: Item, response: str | None, mode: str) -> Verdict:
    name = benchmark.pinned(mode).name
    blank = Verdict(item.index, False, None, "missing", gold=item.answer, mode=mode, protocol=name, group=item.group)
    if response is None:
        return replace(blank, is_missing=True)
    is_cut = len(response) == XLSX_CELL_LIMIT
    if is_cut and mode == "semantic" and last_boxed(response) is None:
        return replace(blank, rule="truncated", is_truncated=True, unmatched=True)
    outcome = benchmark.rule(item, response if mode in benchmark.unclipped else clip_answer(response), mode)
    return replace(blank, **vars(outcome), position=_place(response, outcome.evidence), is_truncated=is_cut)


def _place(response: str, evidence: str) -> int | None:
    place = response.rfind(evidence) if evidence else -1
    return place if place >= 0 else None


def open_to_judge(benchmark: "Benchmark", verdicts: Sequence[Verdict]) -> list[int]:
    """The places of those verdicts that their protocol would ask a judge about."""
    return [
        place
        for place, verdict in enumerate(verdicts)
        if not verdict.is_missing
        and benchmark.pinned(verdict.mode).is_asked(unmatched=verdict.unmatched, conflict=verdict.conflict)
    ]


def request_of(benchmark: "Benchmark", item: Item, responses: Mapping[str, str], verdict: Verdict) -> JudgeRequest:
    """What a judge is asked about an item that the rules gave this verdict on."""
    response, extraction = responses[item.index], verdict.extraction
    return JudgeRequest(**vars(item), benchmark=benchmark.name, response=response, extraction=extraction)


def ask_judge(
    benchmark: "Benchmark", items: Sequence[Item], responses: Mapping[str, str], verdicts: list[Verdict], judge: Judge
) -> list[Verdict]:
    """The rules' verdicts, those that are open to a judge replaced by what it says."""
    asked = open_to_judge(benchmark, verdicts)
    if not asked:
        return verdicts
    requests = [request_of(benchmark, items[k], responses, verdicts[k]) for k in asked]
    judged = list(verdicts)
    for position, reply in zip(asked, judge.judge_all(requests), strict=True):
        judged[position] = replace(
            verdicts[position],
            correct=reply.verdict,
            extraction=reply.extraction if reply.extraction is not None else verdicts[position].extraction,
            rule="judge" if reply.verdict is not None else "unjudged",
            unmatched=reply.verdict is False and reply.extraction is None,
            judge=reply.model,
            judge_prompt_sha256=reply.prompt_sha256,
            judge_raw=reply.raw,
            judge_tokens=reply.tokens,
        )
    return judged
