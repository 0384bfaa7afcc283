"""Who decides where rules can't, as data. Light: no HTTP client."""

from dataclasses import dataclass, field
from typing import Literal

from drift.config import RUNTIME, NotNegative
from evaluation.engines.base import refuse
from evaluation.engines.config import Endpoint

Mode = Literal["official", "today", "vlmevalkit", "semantic"]


@dataclass(frozen=True)
class RulesJudge:
    """Nobody but the benchmark's own rules."""

    name: Literal["rules"]
    mode: Mode = "official"

    def __post_init__(self) -> None:
        """Refuse an unknown mode (EngineError)."""
        refuse(self)


@dataclass(frozen=True, kw_only=True)
class OpenAIJudge(Endpoint):
    """A chat model behind an OpenAI-compatible endpoint.

    Attributes:
        mode: the rule that compares the answer read with the gold one.
        prompt_price, completion_price: per million tokens; both 0 count no cost.
    """

    name: Literal["openai"]
    mode: Mode = "official"
    prompt_price: NotNegative = field(default=0.0, metadata=RUNTIME)
    completion_price: NotNegative = field(default=0.0, metadata=RUNTIME)

    def _ranges(self) -> tuple[tuple[str, bool, str], ...]:
        return (
            *super()._ranges(),
            ("model", bool(self.model), "the judge's name"),
        )


JudgeConfig = RulesJudge | OpenAIJudge
