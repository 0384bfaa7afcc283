"""Generation by an OpenAI-compatible endpoint: one call an item, several at a time. The model runs somewhere else.

Each item is its own batch, so an interruption loses nothing that was answered. A request that fails for good leaves no
response (it is never an empty answer); the run goes on, and ends with an error that counts what is missing.
"""

import base64
import io
import json
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from PIL import Image

from evaluation.engines.base import Batch, Engine, EngineError, GenerationSettings, Request, Response, answered
from evaluation.engines.chat import ChatClient, ChatError, ChatReply
from evaluation.engines.config import OpenAIConfig, check_sendable
from evaluation.engines.identity import checkpoint_folder, folder_sha256

log = logging.getLogger(__name__)


class OpenAIEngine(Engine):
    """A chat model behind HTTP, named by its endpoint, or else a checkpoint that is served under its folder's path."""

    def __init__(self, config: OpenAIConfig, folder: Path) -> None:
        """No connection is made before the first request; without a name there must be a checkpoint (EngineError)."""
        name = config.model
        self._client = ChatClient(config, name or str(checkpoint_folder(folder)))
        self._server = config.server
        self._start = start_token(folder) if config.server == "vllm" and not name else {}
        self.model = f"{config.server}/{name or f'sha256:{folder_sha256(folder)}'}"

    def plan(self, requests: Sequence[Request], settings: GenerationSettings) -> list[Batch]:
        """Each request alone: calls don't share anything."""
        return [(request,) for request in requests]

    def run(self, batches: Sequence[Batch], settings: GenerationSettings) -> Iterator[list[Response]]:
        """The responses as they arrive.

        Raises:
            EngineError: the settings can't be honoured; or, after all others, some calls failed.
        """
        options = request_options(settings, self._server) | self._start
        failures: list[str] = []
        pool = ThreadPoolExecutor(self._client.endpoint.concurrency)
        try:
            calls = {
                pool.submit(self._answer, request, settings, options): request for batch in batches for request in batch
            }
            for call in as_completed(calls):
                try:
                    yield [call.result()]
                except ChatError as error:
                    failures.append(f"{calls[call].index!r}: {error}")
                    log.warning("item %s", failures[-1])
        finally:
            pool.shutdown(cancel_futures=True)
        if failures:
            raise EngineError(
                f"{len(failures)} of {len(calls)} requests failed, first {failures[0]}; run again to resume"
            )

    def _answer(self, request: Request, settings: GenerationSettings, options: dict[str, Any]) -> Response:
        reply: ChatReply = self._client.complete(messages(request, settings.system_prompt), options)
        return answered(request, settings, reply.text, reply.finish_reason, reply.completion_tokens or None)


def messages(request: Request, system_prompt: str = "") -> list[dict[str, Any]]:
    """The chat of one request: images first, as data URLs, then the prompt."""
    images = [{"type": "image_url", "image_url": {"url": data_url(data, request.index)}} for data in request.images]
    user = {"role": "user", "content": [*images, {"type": "text", "text": request.prompt}]}
    return [{"role": "system", "content": system_prompt}, user] if system_prompt else [user]


def data_url(data: bytes, index: str) -> str:
    """A picture as an address that holds it.

    Raises:
        EngineError: it can't be opened; names the item.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            kind = Image.MIME.get(image.format or "", "image/png")
    except OSError as error:
        raise EngineError(f"item {index!r}: its image ({len(data)} bytes) cannot be opened: {error}") from error
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def request_options(settings: GenerationSettings, server: str) -> dict[str, Any]:
    """The fields of a request's body that say how to answer (EngineError where the server has none for a setting)."""
    check_sendable(settings, server)
    options: dict[str, Any] = {"max_tokens": settings.max_new_tokens, "temperature": settings.temperature}
    if settings.do_sample:
        options |= {"top_p": settings.top_p, "seed": settings.seed}
    if server == "openai":
        return options
    options["skip_special_tokens"] = False
    if limits := settings.pixel_limits:
        options["mm_processor_kwargs"] = limits
    if settings.do_sample and settings.top_k:
        options["top_k"] = settings.top_k
    if settings.repetition_penalty != 1:
        options["repetition_penalty"] = settings.repetition_penalty
    return options


def start_token(folder: Path) -> dict[str, bool]:
    """What a request says so that a prompt begins as in training: with the start token, where no template writes it.

    vLLM's chat leaves it out unless it is asked for; LLaVA-NeXT's and Idefics2's templates leave it to the tokenizer.
    """
    start = _field(folder / "tokenizer_config.json", "bos_token")
    token = start.get("content") if isinstance(start, dict) else start
    own = folder / "chat_template.jinja"
    files = [folder / f"{name}.json" for name in ("chat_template", "processor_config", "tokenizer_config")]
    written = [own.read_text()] if own.is_file() else [_field(file, "chat_template") for file in files]
    template = next((text for text in written if text), "")
    return {"add_special_tokens": True} if token and "bos_token" not in template and token not in template else {}


def _field(path: Path, name: str) -> Any:
    return json.loads(path.read_text()).get(name) if path.is_file() else None
