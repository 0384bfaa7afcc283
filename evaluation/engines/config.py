"""One typed description of an engine for command lines and pipelines, and the engine itself. Light: no torch."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from drift.errors import closest
from evaluation.engines.base import Engine, EngineError
from evaluation.engines.chat import Endpoint
from evaluation.engines.openai import OpenAIEngine
from evaluation.engines.precomputed import PrecomputedEngine

ENGINES = ("transformers", "vllm", "openai", "precomputed")


@dataclass(frozen=True)
class EngineConfig:
    """Which engine, and what it needs.

    Attributes:
        name: a key of ENGINES.
        model: a checkpoint folder (transformers, vllm), a model name (openai), or a JSONL of responses (precomputed).
        dtype: transformers and vllm; `auto` is the checkpoint's own.
        device: transformers; `auto` is CUDA where there is one.
        image_backend: transformers; as `drift.processing.load_processor` takes it.
        base_url: openai; up to and including the version.
        server: openai; `openai` or `vllm`, whichever set of settings the server understands.
        concurrency: openai; calls under way at the same time.
        tensor_parallel: vllm; GPUs that share one model.
    """

    name: str = "transformers"
    model: str = ""
    dtype: str = "auto"
    device: str = "auto"
    image_backend: str = "auto"
    base_url: str = "http://127.0.0.1:8000/v1"
    server: str = "openai"
    concurrency: int = 8
    tensor_parallel: int = 1


def load_engine(config: EngineConfig) -> Engine:
    """The engine, loaded and ready; heavy libraries are imported only by the engine that needs them.

    Raises:
        EngineError: an unknown name, no model given, or whatever the engine itself refuses.
    """
    if config.name not in ENGINES:
        raise EngineError(f"unknown engine {config.name!r}; {closest(config.name, ENGINES)}")
    if not config.model:
        raise EngineError(f"engine {config.name!r} needs `model`: a checkpoint folder, a model name or a JSONL file")
    if config.name == "precomputed":
        return PrecomputedEngine(Path(config.model))
    if config.name == "openai":
        endpoint = Endpoint(config.base_url, config.model, concurrency=config.concurrency)
        return OpenAIEngine(endpoint, server=config.server)
    folder = Path(config.model)
    if config.name == "vllm":
        vllm = import_module("evaluation.engines.vllm")
        return vllm.VLLMEngine(folder, dtype=config.dtype, tensor_parallel=config.tensor_parallel)
    local = import_module("evaluation.engines.transformers")
    return local.TransformersEngine(
        folder, dtype=config.dtype, device=config.device, image_backend=config.image_backend
    )
