"""Local generation with transformers: one model in memory, left-padded batches of similar length, a KV cache.

Follows the checkpoint's own processor and chat template, and takes from its generation_config only the special
tokens: a published config's repetition penalty or temperature would otherwise change greedy decoding in silence.
Special markup such as `<think>` is kept in the text; the end and padding tokens are not. b = batch, s = prompt
length, n = new tokens.
"""

import hashlib
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText, GenerationConfig

from drift.errors import DataError
from drift.images import UNREADABLE, open_rgb
from drift.processing import adds_specials, load_processor, set_pixel_limits
from evaluation.engines.base import Batch, Engine, EngineError, GenerationSettings, Request, Response, answered
from evaluation.engines.config import TransformersConfig
from evaluation.engines.identity import checkpoint_folder, folder_sha256

log = logging.getLogger(__name__)

Planner = Callable[[Sequence[Request], GenerationSettings], list[Batch]]


class TransformersEngine(Engine):
    """A checkpoint folder opened by from_pretrained, answering in batches."""

    def __init__(self, config: TransformersConfig, folder: Path) -> None:
        """Load the model and its processor; a folder without a checkpoint is refused (EngineError)."""
        device = config.device
        chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        loaded: Any = AutoModelForImageTextToText.from_pretrained(checkpoint_folder(folder), dtype=config.dtype)
        self._network = loaded.to(chosen).eval()
        self._processor = load_processor(folder, config.image_backend)
        self._default_size = self._processor.image_processor.size
        self._end_ids, self._pad_id = _special_tokens(self._network.generation_config, self._processor.tokenizer)
        self._network.generation_config = GenerationConfig(
            eos_token_id=sorted(self._end_ids), pad_token_id=self._pad_id
        )
        self.model = f"sha256:{folder_sha256(folder)}/{str(self._network.dtype).removeprefix('torch.')}"
        log.info("loaded %s in %s on %s", folder, self._network.dtype, chosen)

    def plan(self, requests: Sequence[Request], settings: GenerationSettings) -> list[Batch]:
        """`plan_batches` with the checkpoint's own tokenizer."""
        return plan_batches(self._processor, requests, settings)

    def run(self, batches: Sequence[Batch], settings: GenerationSettings) -> Iterator[list[Response]]:
        """The responses of each batch, in the order of the plan.

        Raises:
            CheckpointError: pixel limits were set and the processor has none.
            EngineError: an image cannot be opened.
        """
        self._processor.image_processor.size = self._default_size
        set_pixel_limits(self._processor, **settings.pixel_limits)
        sampling: dict[str, Any] = {}
        if settings.do_sample:
            sampling = {name: getattr(settings, name) for name in ("temperature", "top_k", "top_p")}
        config = GenerationConfig(
            max_new_tokens=settings.max_new_tokens,
            do_sample=settings.do_sample,
            repetition_penalty=settings.repetition_penalty,
            eos_token_id=sorted(self._end_ids),
            pad_token_id=self._pad_id,
            use_cache=True,
            **sampling,
        )
        for batch in batches:
            inputs = self._encode(batch, settings)
            if settings.do_sample:
                torch.manual_seed(_batch_seed(batch, settings))
            with torch.inference_mode():
                output = self._network.generate(**inputs, generation_config=config)
            new_tokens: Tensor = output[:, inputs["input_ids"].shape[1] :]  # (b, n)
            yield [self._response(*pair, settings) for pair in zip(batch, new_tokens.tolist(), strict=True)]

    def _encode(self, batch: Batch, settings: GenerationSettings) -> dict[str, Tensor]:
        texts = [
            self._processor.apply_chat_template(
                _messages(request, settings.system_prompt), add_generation_prompt=True, tokenize=False
            )
            for request in batch
        ]
        images = [[_open(data, request.index) for data in request.images] for request in batch]
        self._processor.tokenizer.padding_side = "left"
        inputs = self._processor(
            text=texts,
            images=images if any(images) else None,
            padding=True,
            return_tensors="pt",
            add_special_tokens=adds_specials(self._processor, texts[0]),
        ).to(self._network.device)
        return {
            name: value.to(self._network.dtype) if value.is_floating_point() else value
            for name, value in inputs.items()
        }

    def _response(self, request: Request, new_tokens: list[int], settings: GenerationSettings) -> Response:
        end = next((i for i, token in enumerate(new_tokens) if token in self._end_ids), None)
        kept = new_tokens[:end] if end is not None else new_tokens
        text = self._processor.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return answered(request, settings, text, "length" if end is None else "stop", len(kept))


def load_planner(config: TransformersConfig, folder: Path) -> Planner:
    """`plan` of a checkpoint's engine, without its weights; a folder without a checkpoint is refused (EngineError)."""
    return partial(plan_batches, load_processor(checkpoint_folder(folder), config.image_backend))


def plan_batches(processor: Any, requests: Sequence[Request], settings: GenerationSettings) -> list[Batch]:
    """Batches of similar length, longest first, so that too little memory shows at once and little is padding.

    Requests with different numbers of images don't share a batch: some processors can't pad them.
    """
    tokenize = processor.tokenizer
    lengths = [len(ids) for ids in tokenize([r.prompt for r in requests]).input_ids] if requests else []
    cost = {r.index: n + _pixels(r) // 784 for r, n in zip(requests, lengths, strict=True)}
    by_images: dict[int, list[Request]] = {}
    for request in requests:
        by_images.setdefault(len(request.images), []).append(request)
    batches = []
    for alike in by_images.values():
        alike.sort(key=lambda request: -cost[request.index])
        batches += [tuple(alike[i : i + settings.batch_size]) for i in range(0, len(alike), settings.batch_size)]
    return batches


def _messages(request: Request, system_prompt: str) -> list[dict[str, Any]]:
    system = [{"role": "system", "content": [{"type": "text", "text": system_prompt}]}] if system_prompt else []
    content = [{"type": "image"} for _ in request.images] + [{"type": "text", "text": request.prompt}]
    return [*system, {"role": "user", "content": content}]


def _open(data: bytes, index: str) -> Image.Image:
    try:
        return open_rgb(io.BytesIO(data))
    except DataError as error:
        raise EngineError(f"item {index!r}: its image ({len(data)} bytes) {error}") from error


def _pixels(request: Request) -> int:
    """Pixels of all images, from the file headers alone; an image that can't be opened is reported when it is used."""
    total = 0
    for data in request.images:
        try:
            with Image.open(io.BytesIO(data)) as image:
                total += image.width * image.height
        except UNREADABLE:
            continue
    return total


def _special_tokens(config: GenerationConfig, tokenizer: Any) -> tuple[frozenset[int], int]:
    found = config.eos_token_id if config.eos_token_id is not None else tokenizer.eos_token_id
    if found is None:
        raise EngineError(
            "neither generation_config nor the tokenizer names an end token; set eos_token_id in one of them"
        )
    ends = frozenset([found] if isinstance(found, int) else found)
    pads = (config.pad_token_id, tokenizer.pad_token_id, min(ends))
    return ends, next(pad for pad in pads if pad is not None)


def _batch_seed(batch: Batch, settings: GenerationSettings) -> int:
    """A seed of the settings and the batch's own requests, so that skipping other batches changes nothing."""
    text = "\0".join([str(settings.seed), *(request.index for request in batch)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
