"""The records that scoring passes on: the outcome of a rule, the verdict on an item, figures of grouped items."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluation.data.tsv import Item
from evaluation.judging.protocols import MODES

__all__ = ["MODES", "UNMATCHED", "Grouped", "Outcome", "Rule", "Verdict"]


@dataclass(frozen=True)
class Outcome:
    """What a rule says of one response.

    Attributes:
        correct: whether the answer read is the gold one; False where none was read.
        extraction: the answer as it was read, or what stands in its place (a text that is no option); None for nothing.
        rule: the rule that read it.
        evidence: the words of the response that the rule went by.
        conflict: what the response marks says two things (a boxed letter before a value of another option).
        unmatched: the rules abstain: a judge may decide, and without one the item is wrong and counted.
    """

    correct: bool
    extraction: str | None
    rule: str
    evidence: str = ""
    conflict: bool = False
    unmatched: bool = False


UNMATCHED = Outcome(False, None, "unmatched", unmatched=True)
Rule = Callable[[Item, str, str], Outcome]


@dataclass(frozen=True)
class Verdict:
    """The verdict on one item, and where it came from.

    Attributes:
        index: the item's index.
        correct: None is unjudged, neither right nor wrong.
        extraction: the answer that was read; None where nothing stands in its place.
        rule: name of the rule that decided, or "judge".
        evidence, conflict, unmatched: as in Outcome; `unmatched` stays True where no judge decided it.
        position: where the evidence begins in the response, None where it is spelled otherwise there.
        gold: the item's answer.
        mode: "official", "today", "vlmevalkit" or "semantic".
        protocol: name of the protocol that the mode stands for here, such as `math-v@COMMIT`.
        group: the item's group, None without groups.
        is_missing: there was no response for the item.
        is_truncated: the response filled an xlsx cell, so that its end is lost.
        judge: model of the judge, "" when rules decided.
        judge_prompt_sha256: hash of the judge's prompt.
        judge_raw: the judge's words.
        judge_tokens: tokens that the judge used.
    """

    index: str
    correct: bool | None
    extraction: str | None
    rule: str
    evidence: str = ""
    position: int | None = None
    conflict: bool = False
    unmatched: bool = False
    gold: str = ""
    mode: str = "semantic"
    protocol: str = ""
    group: str | None = None
    is_missing: bool = False
    is_truncated: bool = False
    judge: str = ""
    judge_prompt_sha256: str = ""
    judge_raw: str = ""
    judge_tokens: int = 0


@dataclass(frozen=True)
class Grouped:
    """What a benchmark whose items belong together sums up beside the accuracy; intervals resample whole clusters.

    Attributes:
        clusters: the cluster of each unit, (units,).
        statistics: metric -> its value in percent over drawn units, an array of indices with repeats.
        plain: metrics in percent that get no interval.
        counts: what else the summary counts.
    """

    clusters: Sequence[str]
    statistics: Mapping[str, Callable[[Any], float]]
    plain: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
