"""Who decides where rules can't, as data. Light: no HTTP client."""

from dataclasses import dataclass, field
from typing import Literal

from drift.config import RUNTIME, Natural, NotNegative
from evaluation.engines.base import refuse
from evaluation.engines.config import Endpoint, VLLMConfig

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
        audit: items that the rules decide and that are asked too, in a pipeline: what the judge says of them changes no
            verdict and tells how far it agrees with the rules.
        prompt_price, completion_price: per million tokens; both 0 count no cost.
    """

    name: Literal["openai"]
    mode: Mode = "official"
    audit: Natural = 0
    prompt_price: NotNegative = field(default=0.0, metadata=RUNTIME)
    completion_price: NotNegative = field(default=0.0, metadata=RUNTIME)

    def _ranges(self) -> tuple[tuple[str, bool, str], ...]:
        return (
            *super()._ranges(),
            ("model", bool(self.model), "the judge's name"),
        )


@dataclass(frozen=True, kw_only=True)
class LocalJudge:
    """An open model that vLLM serves on this machine.

    Attributes:
        mode, audit: as of OpenAIJudge.
        repo, revision: the model on the hub; a local folder has no revision.
        vllm: how it is served; its settings are not used, a judge has its own.
    """

    name: Literal["local"]
    repo: str
    revision: str
    vllm: VLLMConfig
    mode: Mode = "official"
    audit: Natural = 0

    def __post_init__(self) -> None:
        """Refuse an unknown mode, and a model without a name (EngineError)."""
        refuse(self, ("repo", bool(self.repo), "a model"), ("revision", self.revision != "locked", "a commit"))


@dataclass(frozen=True)
class PublishedJudge:
    """Whoever published the answers: their own verdicts, as they stand."""

    name: Literal["published"]
    mode: Mode = "official"

    def __post_init__(self) -> None:
        """Refuse an unknown mode (EngineError)."""
        refuse(self)


AskedJudge = OpenAIJudge | LocalJudge
JudgeConfig = RulesJudge | AskedJudge | PublishedJudge
