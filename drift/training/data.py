"""Conversations to training examples, with the loss on the assistant's turns alone.

Shapes: s tokens. Image tensors keep the processor's own layout, stacked along their first axis.
"""

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm
from transformers.processing_utils import ProcessorMixin

from drift.errors import DataError
from drift.images import open_rgb
from drift.processing import sizes_by_area
from drift.training.batches import IGNORED, concatenate, is_sequence
from drift.training.config import TrainingConfig
from drift.training.conversations import Conversation
from drift.training.order import BLANK
from drift.training.pixels import PixelFile, Place
from drift.training.turns import segments, tokens

log = logging.getLogger(__name__)

_BOX = "\\boxed"


@dataclass(frozen=True)
class Counts:
    """What became of the items: read = kept + dropped; truncated ones are among the kept.

    Of the truncated, `unboxed` have lost the box of their answer.
    """

    examples: int
    truncated: int
    unboxed: int
    dropped: int
    tokens: int
    reply_tokens: int


def encode(
    processor: ProcessorMixin,
    conversation: Conversation,
    *,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
) -> dict[str, Tensor]:
    """One example: input_ids and labels (s,), mm_token_type_ids (s,) if the processor gives it, image tensors.

    labels are input_ids on replies and -100 on prompts; pictures are brought into the limits ahead of the processor.
    The tokens in front of the first reply are those that an engine generates from.

    Raises:
        DataError: an image that can't be read, or a template that no cut fits.
    """
    opened = (_open(path, conversation.name) for path in conversation.images)
    images = [fit_area(image, min_pixels=min_pixels, max_pixels=max_pixels) for image in opened]
    parts: list[dict[str, Tensor]] = []
    for segment in segments(processor, conversation):
        taken, images = images[: segment.images], images[segment.images :]
        part = tokens(processor, segment, taken)
        ids = part["input_ids"]
        part["labels"] = ids.clone() if segment.is_reply else torch.full_like(ids, IGNORED)
        parts.append(part)
    return concatenate(parts)


def fit_area(image: Image.Image, *, min_pixels: int | None = None, max_pixels: int | None = None) -> Image.Image:
    """The picture at its own aspect ratio with an area in [min_pixels, max_pixels]; the same one where it has it.

    What LLaMA-Factory's image_max_pixels and image_min_pixels do for every family: a resize ahead of the processor.
    """
    area = image.width * image.height
    bound = min(max(area, min_pixels or 0), max_pixels or math.inf)
    if bound == area:
        return image
    factor = math.sqrt(bound / area)
    return image.resize((max(1, int(image.width * factor)), max(1, int(image.height * factor))))


def truncate(example: Mapping[str, Tensor], length: int, image_id: int, name: str) -> dict[str, Tensor]:
    """The example's first `length` tokens.

    Raises:
        DataError: the cut takes image tokens (their features would have no place) or leaves no reply.
    """
    ids, labels = example["input_ids"], example["labels"]
    if bool((ids[length:] == image_id).any()):
        raise DataError(
            f"{name}: cutoff_len {length} cuts through its images ({len(ids)} tokens); lower image_max_pixels"
        )
    if bool((labels[:length] == IGNORED).all()):
        raise DataError(
            f"{name}: no reply is left within cutoff_len {length} ({len(ids)} tokens); choose overlong=drop"
        )
    return {key: value[:length] if is_sequence(key) else value for key, value in example.items()}


def image_token_id(processor: ProcessorMixin) -> int:
    """The id that the processor repeats for each image feature."""
    return processor.tokenizer.convert_tokens_to_ids(processor.image_token)  # type: ignore[attr-defined]


class ConversationDataset(Dataset):
    """Every example encoded once, before the first step, so that a bad item stops the run before it costs anything.

    Tokens stay in memory; image tensors stay in a file that all processes map while they fit in image_cache_gb, and are
    made again from the picture beyond that.
    Differs from LLaMA-Factory: where the processor bounds areas itself (`set_pixel_limits`: Qwen-VL) it resizes, once
    and to whole patches; LLaMA-Factory resizes ahead of every family's, as is done here for the others.
    """

    def __init__(
        self,
        conversations: Sequence[Conversation],
        processor: ProcessorMixin,
        config: TrainingConfig,
        name: str | None = None,
    ):
        """Encodes; all processes of a training call this together.

        Args:
            conversations: what was read.
            processor: the checkpoint's.
            config: lengths, pixels, cache.
            name: of the training, where several processes share its image tensors.

        Raises:
            DataError: an item that can't be encoded, is too long where that is an error, or no item left.
            TrainingError: no room for the cache.
        """
        self._processor = processor
        self._config = config
        self._pixels = PixelFile(config.image_cache_gb * 1e9, name or str(os.getpid()))
        self._kept: list[tuple[Conversation, dict[str, Tensor], dict[str, Place] | None]] = []
        by_processor = sizes_by_area(processor)
        self._limits = {
            "min_pixels": None if by_processor else config.image_min_pixels,
            "max_pixels": None if by_processor else config.image_max_pixels,
        }
        self._truncated = self._unboxed = self._dropped = 0
        for conversation in tqdm(conversations, desc="encode", disable=None, leave=False):
            self._add(conversation)
        self._pixels.open()
        if not self._kept:
            raise DataError(
                f"no example is left: {self._dropped} of {len(conversations)} exceed {config.cutoff_len} tokens"
            )
        log.info("%d examples (%d truncated, %d dropped)", len(self._kept), self._truncated, self._dropped)
        if self._unboxed:
            log.warning(
                "%d of %d truncated examples have lost their boxed answer; raise cutoff_len, or choose overlong=drop",
                self._unboxed,
                self._truncated,
            )

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if index == BLANK:
            example = self._example(0)
            return example | {"labels": torch.full_like(example["labels"], IGNORED)}
        return self._example(index)

    def _example(self, index: int) -> dict[str, Tensor]:
        conversation, example, places = self._kept[index]
        if places is None:
            return self._fit(conversation, encode(self._processor, conversation, **self._limits))
        return example | self._pixels.read(places)

    def lengths(self) -> list[int]:
        """Tokens of each example, its images' among them."""
        return [len(example["input_ids"]) for _, example, _ in self._kept]

    def counts(self) -> Counts:
        """Examples, tokens and how many were cut or left out."""
        rows = [example for _, example, _ in self._kept]
        return Counts(
            examples=len(rows),
            truncated=self._truncated,
            unboxed=self._unboxed,
            dropped=self._dropped,
            tokens=sum(len(row["input_ids"]) for row in rows),
            reply_tokens=sum(int((row["labels"] != IGNORED).sum()) for row in rows),
        )

    def image_shares(self) -> tuple[int, int]:
        """(examples with images, examples without): ZeRO-3 on several processes can't mix them."""
        with_images = sum(bool(conversation.images) for conversation, _, _ in self._kept)
        return with_images, len(self._kept) - with_images

    def _add(self, conversation: Conversation) -> None:
        example = encode(self._processor, conversation, **self._limits)
        length, limit = len(example["input_ids"]), self._config.cutoff_len
        if length > limit:
            if self._config.overlong == "error":
                raise DataError(
                    f"{conversation.name} has {length} tokens, more than cutoff_len {limit}; "
                    f"raise it, or choose overlong=truncate or overlong=drop"
                )
            if self._config.overlong == "drop":
                self._dropped += 1
                return
            self._truncated += 1
            self._unboxed += self._loses_box(example["labels"])
        example = self._fit(conversation, example)
        places = self._pixels.keep({key: value for key, value in example.items() if not is_sequence(key)})
        self._kept.append((conversation, {k: v for k, v in example.items() if is_sequence(k)}, places))

    def _loses_box(self, labels: Tensor) -> bool:
        """Whether the cut takes a box that the replies had."""
        decode = self._processor.tokenizer.decode
        kept = labels[: self._config.cutoff_len]
        before, after = (decode(part[part != IGNORED]).partition(_BOX)[2] for part in (labels, kept))
        return "}" in before and "}" not in after

    def _fit(self, conversation: Conversation, example: dict[str, Tensor]) -> dict[str, Tensor]:
        if len(example["input_ids"]) <= self._config.cutoff_len:
            return example
        token = image_token_id(self._processor)
        return truncate(example, self._config.cutoff_len, token, conversation.name)


def _open(path: Path, name: str) -> Image.Image:
    try:
        return open_rgb(path)
    except DataError as error:
        raise DataError(f"{name}: {path} {error}") from error
