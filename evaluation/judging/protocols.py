"""Scoring protocols as named, pinned data: what a mode means on a benchmark, and whom it asks.

A score is comparable with another only under one protocol, so a score carries its protocol's name and hash. The name
says whose rule it is and at which commit or version it was read; the hash covers everything stated here about it, so
that a changed statement is another protocol.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

Asks = Literal["never", "undecided", "always"]
MODES = ("official", "today", "vlmevalkit", "semantic")


@dataclass(frozen=True)
class ScoringProtocol:
    """One protocol.

    Attributes:
        name: whose it is, `@`, and the commit or version that it is pinned to.
        asks: which items a judge is asked about: never (the protocol has rules alone), undecided (those that its rules
            leave open), always.
        facts: what else makes the verdicts what they are: repository, files, tolerances, the judge's prompts.
    """

    name: str
    asks: Asks
    facts: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def sha256(self) -> str:
        """Hash of all that is stated about the protocol."""
        stated = json.dumps([self.name, self.asks, dict(self.facts)], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(stated.encode()).hexdigest()

    def is_asked(self, *, unmatched: bool, conflict: bool) -> bool:
        """Whether a judge is asked about an item that the rules left in this state."""
        return self.asks == "always" or (self.asks == "undecided" and (unmatched or conflict))


def _pinned(owner: str, commit: str, asks: Asks, **facts: Any) -> ScoringProtocol:
    return ScoringProtocol(f"{owner}@{commit}", asks, {"commit": commit, **facts})


SEMANTIC = ScoringProtocol(
    "semantic@3", "undecided", {"rule": "the closing statement of the answer part, typed and compared by meaning"}
)
MATH_V = _pinned(
    "math-v",
    "1d361180b02cbff417c77c02acf1b4cacf2d55ea",
    "never",
    repository="mathllm/MATH-V",
    files=["evaluation/evaluate.py", "evaluation/utils.py"],
    rule="a published regular-expression cut, then equality as text or as values rounded to two decimals",
)
_MATHVISTA = {"repository": "lupantech/MathVista", "files": ["evaluation/calculate_score.py"]}
MATHVISTA_PAPER = ScoringProtocol(
    "mathvista@paper",
    "undecided",
    {**_MATHVISTA, "commit": "ed0d56de2146e75ec9d389ffce6e8af05431e846", "integer": "int(extraction)"},
)
MATHVISTA_TODAY = ScoringProtocol(
    "mathvista@today",
    "undecided",
    {**_MATHVISTA, "commit": "e999481e7c42e70b8c97094bb5c7729d4a69c201", "integer": "int(float(extraction))"},
)
MATHVERSE = ScoringProtocol(
    "mathverse@paper", "always", {"paper": "arXiv 2403.14624", "compared": "text, then a judge"}
)
LOGICVISTA = ScoringProtocol("logicvista@paper", "always", {"paper": "arXiv 2407.04973", "compared": "sets of letters"})
WE_MATH = ScoringProtocol(
    "we-math@2024-07",
    "undecided",
    {"paper": "arXiv 2407.01284", "rule": "letter rules, else the letter after `Answer`"},
)
TOOLKIT_COMMIT = "e8e78f05f3080fe28154f2130321f17951c3be94"
VLMEVALKIT = _pinned(
    "vlmevalkit",
    TOOLKIT_COMMIT,
    "undecided",
    repository="open-compass/VLMEvalKit",
    files=["vlmeval/utils/matching_util.py", "vlmeval/dataset/utils"],
    rule="can_infer",
)
VLMEVALKIT_ALWAYS = replace(VLMEVALKIT, asks="always")
