"""Generation with vLLM in this process, for models and benchmarks of real size. Needs the extra `vllm` and a GPU.

vLLM schedules its own batches; what is planned here are chunks that are stored together. Its greedy answers may differ
in the last bits from one batch composition to another, so two runs agree in distribution, not byte for byte.
"""

import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evaluation.engines.base import Batch, Engine, EngineError, GenerationSettings, Request, Response, answered
from evaluation.engines.config import VLLMConfig
from evaluation.engines.identity import checkpoint_folder, folder_sha256
from evaluation.engines.openai import messages

_SMALLEST_CHUNK = 256


class VLLMEngine(Engine):
    """A checkpoint folder served by vLLM inside this process."""

    def __init__(self, config: VLLMConfig, folder: Path) -> None:
        """Load the model onto the GPUs.

        Raises:
            EngineError: vLLM is not installed, or the folder is no checkpoint.
        """
        if importlib.util.find_spec("vllm") is None:
            raise EngineError(
                "vllm is not installed; `pip install .[vllm]` on a GPU machine, or use engine=transformers"
            )
        self._vllm: Any = importlib.import_module("vllm")
        self._images_per_prompt = config.images_per_prompt
        self._model: Any = self._vllm.LLM(
            model=str(checkpoint_folder(folder)),
            dtype=config.dtype,
            tensor_parallel_size=config.tensor_parallel,
            gpu_memory_utilization=config.memory_share,
            max_model_len=config.max_model_len,
            limit_mm_per_prompt={"image": config.images_per_prompt},
            # The checkpoint's generation_config would bring its own repetition penalty and temperature.
            generation_config="vllm",
        )
        self.model = f"vllm/sha256:{folder_sha256(folder)}/{config.dtype}"

    def plan(self, requests: Sequence[Request], settings: GenerationSettings) -> list[Batch]:
        """Chunks in request order, at least 256 each, so that the scheduler is never short of work.

        Raises:
            EngineError: a request has more images than memory was reserved for.
        """
        most = max((len(request.images) for request in requests), default=0)
        if most > self._images_per_prompt:
            raise EngineError(
                f"a request has {most} images, loaded for {self._images_per_prompt}; raise images_per_prompt"
            )
        size = max(settings.batch_size, _SMALLEST_CHUNK)
        return [tuple(requests[i : i + size]) for i in range(0, len(requests), size)]

    def run(self, batches: Sequence[Batch], settings: GenerationSettings) -> Iterator[list[Response]]:
        """The responses of each chunk, in order."""
        sampling = self._vllm.SamplingParams(
            max_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p if settings.do_sample else 1.0,
            top_k=settings.top_k if settings.do_sample and settings.top_k else -1,
            repetition_penalty=settings.repetition_penalty,
            seed=settings.seed if settings.do_sample else None,
            skip_special_tokens=False,
        )
        for batch in batches:
            outputs = self._model.chat(
                [messages(request, settings.system_prompt) for request in batch],
                sampling,
                use_tqdm=False,
                mm_processor_kwargs=settings.pixel_limits or None,
            )
            yield [_response(r, output.outputs[0], settings) for r, output in zip(batch, outputs, strict=True)]


def _response(request: Request, completion: Any, settings: GenerationSettings) -> Response:
    # vLLM counts the end token that its text leaves out.
    tokens = len(completion.token_ids) - (completion.finish_reason == "stop")
    return answered(request, settings, completion.text, completion.finish_reason, tokens)
