"""What each engine is told, and the engine itself: a component owns its config whole. Light: no torch, no HTTP client.

A field marked RUNTIME changes no response. What decides is who answers and what is asked: so `dtype` counts (other
rounding, other words), and `batch_size`, `device` and `tensor_parallel` do not, though their last bits may differ.
"""

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from drift.choices import ImageBackend
from drift.config import RUNTIME, Count, Natural, NotNegative, Positive, Share, SomeShare
from evaluation.engines.base import Engine, EngineError, GenerationSettings, refuse

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Endpoint:
    """Where a chat model answers, and how patient to be with it.

    Attributes:
        url: up to and including the version, `http://127.0.0.1:8000/v1`.
        model: the name under which the server knows it; empty where the caller knows it (a checkpoint's own folder).
        key_env: environment variable with the key; empty, or not set, sends none.
        concurrency: calls under way at the same time.
        timeout: seconds for one attempt, from the request to the last byte.
        attempts: tries for one call, the first included.
        pause: seconds before the second try; doubles each time, at most 60.
        failures_in_a_row: failed calls (each with all its attempts) after which the endpoint counts as lost.
    """

    url: str  # counts: one name may stand for different models on two servers
    model: str = ""
    key_env: str = field(default="OPENAI_API_KEY", metadata=RUNTIME)
    concurrency: Count = field(default=8, metadata=RUNTIME)
    timeout: Positive = field(default=300.0, metadata=RUNTIME)
    attempts: Count = field(default=5, metadata=RUNTIME)
    pause: NotNegative = field(default=1.0, metadata=RUNTIME)
    failures_in_a_row: Count = field(default=8, metadata=RUNTIME)

    def __post_init__(self) -> None:
        """Refuse an address without a scheme or host or with a name in it, and counts below one (EngineError)."""
        if "@" in self.url:  # it may be a key: it is not repeated
            raise EngineError("url holds a name or a key before its @; a key belongs into the variable of key_env")
        refuse(self, *self._ranges())

    def _ranges(self) -> tuple[tuple[str, bool, str], ...]:
        parts = urlsplit(self.url)
        return (("url", parts.scheme in ("http", "https") and bool(parts.netloc), "http(s)://host/v1"),)


@dataclass(frozen=True)
class TransformersConfig:
    """A checkpoint folder opened by transformers, in this process or in several.

    Attributes:
        dtype: `auto` is the checkpoint's own.
        image_backend: as `drift.processing.load_processor` takes it; the two resize differently.
        device: `auto` is CUDA where there is one.
        replicas: processes that share the batches, a GPU each.
    """

    name: Literal["transformers"]
    settings: GenerationSettings
    dtype: Dtype = "auto"
    image_backend: ImageBackend = "auto"
    device: str = field(default="auto", metadata=RUNTIME)
    replicas: Count = field(default=1, metadata=RUNTIME)

    def __post_init__(self) -> None:
        """Refuse an unknown choice, and no process at all (EngineError)."""
        refuse(self)

    @property
    def gpus(self) -> int:
        """How many it takes."""
        return 0 if self.device == "cpu" else self.replicas


@dataclass(frozen=True)
class VLLMConfig:
    """A checkpoint folder behind replicas of `vllm serve`, started here.

    Attributes:
        dtype: `auto` is the checkpoint's own.
        replicas: servers that share the items.
        tensor_parallel: GPUs of each that share one model.
        memory_share: of each GPU's memory, in (0, 1].
        max_model_len: prompt and answer together, in tokens, which may cut an answer; None is the model's own limit.
        images_per_prompt: the most images of any request, for which memory is reserved; one with more is refused.
        command: vLLM's program; a path is from the checkout on, a bare name is looked for on the PATH.
        concurrency: items under way at each replica.
        timeout: seconds for one answer.
        patience: seconds that a replica may take to start.
        agreement: before it answers for a pair, the untouched MLLM answers `agreement_items` items of each benchmark
            greedily by vLLM and by transformers, and at least this share must come out alike; 0 does not ask.
    """

    name: Literal["vllm"]
    settings: GenerationSettings
    dtype: Dtype = "auto"
    replicas: Count = field(default=1, metadata=RUNTIME)
    tensor_parallel: Count = field(default=1, metadata=RUNTIME)
    memory_share: SomeShare = field(default=0.9, metadata=RUNTIME)
    max_model_len: Count | None = None
    images_per_prompt: Natural = field(default=1, metadata=RUNTIME)
    command: str = field(default=".venv-vllm/bin/vllm", metadata=RUNTIME)
    concurrency: Count = field(default=32, metadata=RUNTIME)
    timeout: Positive = field(default=1800.0, metadata=RUNTIME)
    patience: Positive = field(default=1200.0, metadata=RUNTIME)
    agreement: Share = field(default=0.9, metadata=RUNTIME)
    agreement_items: Count = field(default=16, metadata=RUNTIME)

    def __post_init__(self) -> None:
        """Refuse an unknown choice, counts below one and a share outside (0, 1] (EngineError)."""
        refuse(self)

    @property
    def gpus(self) -> int:
        """How many it takes."""
        return self.replicas * self.tensor_parallel


@dataclass(frozen=True, kw_only=True)
class OpenAIConfig(Endpoint):
    """An endpoint that answers for a checkpoint; `server` says which settings it understands.

    `openai` has no top_k, repetition penalty or pixel limits, and asking for them is refused; `vllm` (vLLM's own
    server) takes all of them and keeps special markup in the text. Without a model's name the checkpoint goes by its
    own folder's path, as under `vllm serve FOLDER`.
    """

    name: Literal["openai"]
    settings: GenerationSettings
    server: Literal["openai", "vllm"] = "openai"

    def __post_init__(self) -> None:
        """Refuse an unknown server, and settings that it can't honour (EngineError)."""
        super().__post_init__()
        check_sendable(self.settings, self.server)


@dataclass(frozen=True)
class PrecomputedConfig:
    """Responses that somebody else made: `responses` is a JSONL of {index, response}; the settings are not applied."""

    name: Literal["precomputed"]
    settings: GenerationSettings
    responses: str

    def __post_init__(self) -> None:
        """Refuse an empty path (EngineError)."""
        refuse(self, ("responses", bool(self.responses), "the path of a JSONL file"))


EngineConfig = TransformersConfig | VLLMConfig | OpenAIConfig | PrecomputedConfig


def check_sendable(settings: GenerationSettings, server: str) -> None:
    """Refuse what a plain `openai` server has no field for (EngineError)."""
    plain = GenerationSettings()
    names = ["min_pixels", "max_pixels", "repetition_penalty", *(["top_k"] if settings.do_sample else [])]
    extra = [name for name in names if getattr(settings, name) != getattr(plain, name)]
    if server == "openai" and extra:
        raise EngineError(
            f"{extra} can't be sent to a plain OpenAI endpoint; say engine.server=vllm where vLLM serves the model, or "
            "leave them at their defaults"
        )


_ENGINES = {
    "transformers": "evaluation.engines.transformers:TransformersEngine",
    "vllm": "evaluation.engines.vllm:VLLMEngine",
    "openai": "evaluation.engines.openai:OpenAIEngine",
    "precomputed": "evaluation.engines.precomputed:PrecomputedEngine",
}


def load_engine(config: EngineConfig, model: Path | str = "") -> Engine:
    """The engine, ready to be opened (`Engine.opened`); heavy libraries are imported by the engine that needs them.

    Args:
        model: a checkpoint folder, for every engine that does not say itself who answers.
    Raises:
        EngineError: no checkpoint where one is needed, or whatever the engine itself refuses.
    """
    module, name = _ENGINES[config.name].split(":")
    if isinstance(config, TransformersConfig) and config.replicas > 1:
        module, name = "evaluation.engines.parallel", "ParallelTransformers"
    return getattr(import_module(module), name)(config, Path(model))
