"""Text and images to model inputs: one loader for every checkpoint folder, and a processor that needs no torchvision.

`image_backend="auto"` is transformers' own AutoProcessor. `image_backend="pil"` resizes with Pillow: for LLaVA-NeXT and
Idefics2 it is their own processor over their Pillow image processor, for the Qwen-VL families `DriftProcessor`: the
Qwen2-VL image processor on Pillow, the tokenizer and the chat template. That exists because the stock Qwen2-VL family
of processors (transformers 5.23) needs torchvision for video, and AutoProcessor without it hands back a bare tokenizer
in silence. The backend is a choice of the caller, never a fallback. Video is out of scope.

Shapes: b sequences, s tokens, p patches over all images, d = 3 * temporal_patch_size * patch_size**2, i images.
A processor call gives input_ids, attention_mask, mm_token_type_ids (b, s), pixel_values (p, d), image_grid_thw (i, 3).
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, PreTrainedTokenizerBase
from transformers.image_processing_backends import PilBackend
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from drift.choices import ImageBackend
from drift.errors import CheckpointError, closest
from drift.families import read_config

IMAGE_TOKEN = "<|image_pad|>"


class DriftProcessor(ProcessorMixin):
    """Expands every `<|image_pad|>` to one token per merged patch of its image, and marks those tokens.

    Differs from Qwen2_5_VLProcessor: no video, and images are resized by Pillow.
    """

    return_mm_token_type_ids = True

    def __init__(
        self,
        image_processor: Qwen2VLImageProcessorPil,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
    ):
        """Raises:
        CheckpointError: the tokenizer has no `<|image_pad|>` token.
        """
        self.image_token = IMAGE_TOKEN
        self.image_token_id = _image_token_id(tokenizer)
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def replace_image_token(self, image_inputs: Mapping, image_idx: int, **_: object) -> str:
        """`<|image_pad|>` repeated t * h * w / merge_size**2 times for image `image_idx`."""
        patches = int(image_inputs["image_grid_thw"][image_idx].prod())
        return self.image_token * (patches // self.image_processor.merge_size**2)

    @property
    def model_input_names(self) -> list[str]:
        """The names a call returns, `mm_token_type_ids` among them (without them mRoPE is skipped in silence)."""
        return [*super().model_input_names, "mm_token_type_ids"]

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: object) -> list:
        """Writes the tokenizer, chat_template.jinja and preprocessor_config.json under their usual names.

        preprocessor_config.json names the stock classes, so that transformers with torchvision and vLLM read it too.
        """
        if push_to_hub or kwargs:
            raise CheckpointError("a DriftProcessor is only saved to a local folder; upload the folder afterwards")
        return save_processor(self, Path(save_directory))


def load_processor(
    folder: Path,
    image_backend: str = "auto",
    *,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
) -> ProcessorMixin:
    """The processor of a checkpoint folder, with both a tokenizer and an image processor.

    Args:
        folder: a checkpoint folder, as saved by transformers or by `save_processor`.
        image_backend: "auto" (AutoProcessor) or "pil" (Pillow, without torchvision).
        min_pixels: overrides the smallest image area, in pixels, that an image is enlarged to.
        max_pixels: overrides the largest image area, in pixels, that an image is reduced to.
    Raises:
        CheckpointError: unknown backend, a missing file, or a folder that gives no image processor.
    """
    if image_backend not in get_args(ImageBackend):
        raise CheckpointError(
            f"unknown image backend {image_backend!r}; {closest(image_backend, get_args(ImageBackend))}"
        )
    if not Path(folder).is_dir():
        raise CheckpointError(f"no checkpoint folder at {folder}; a processor is read from a folder on disk")
    processor = _load_pil(Path(folder)) if image_backend == "pil" else _load_auto(Path(folder))
    set_pixel_limits(processor, min_pixels=min_pixels, max_pixels=max_pixels)
    return processor


def sizes_by_area(processor: ProcessorMixin) -> bool:
    """Whether the image processor bounds a picture's area (drift.families has the table, for planning).

    Only one that merges patches does (Qwen-VL). Idefics2's `size` has the same two keys, and they are edge lengths.
    """
    return hasattr(processor.image_processor, "merge_size")


def set_pixel_limits(
    processor: ProcessorMixin, *, min_pixels: int | None = None, max_pixels: int | None = None
) -> None:
    """Every later call resizes images into [min_pixels, max_pixels]; None keeps the processor's own bound.

    Raises:
        CheckpointError: the image processor is not sized by area (only the Qwen-VL families are), or the bounds cross.
    """
    if min_pixels is None and max_pixels is None:
        return
    size = dict(processor.image_processor.size)
    if not sizes_by_area(processor):
        raise CheckpointError(
            f"{type(processor.image_processor).__name__} is sized by {sorted(size)}, not by area; "
            f"leave min_pixels and max_pixels unset for this family"
        )
    low = size["shortest_edge"] if min_pixels is None else min_pixels
    high = size["longest_edge"] if max_pixels is None else max_pixels
    # A cap under the checkpoint's floor lowers the floor (paper: 262144 at most); two explicit bounds must agree.
    if low > high and min_pixels is not None and max_pixels is not None:
        raise CheckpointError(f"min_pixels {low} is above max_pixels {high}")
    processor.image_processor.size = {"shortest_edge": min(low, high), "longest_edge": max(low, high)}


def adds_specials(processor: ProcessorMixin, text: str) -> bool:
    """Whether the tokenizer puts its special tokens before a formatted prompt: not where the template wrote the first.

    transformers' own rule, for training and generation alike. Llama's and Mistral's tokenizers put one, and the
    published templates of LLaVA-NeXT and Idefics2 leave that to them; Qwen's have none.
    """
    start = processor.tokenizer.bos_token
    return start is None or not text.startswith(start)


def save_processor(processor: ProcessorMixin, folder: Path) -> list[str]:
    """Writes a processor so that `load_processor` reads it back; the files' paths."""
    folder.mkdir(parents=True, exist_ok=True)
    if not isinstance(processor, DriftProcessor):
        return list(processor.save_pretrained(folder))
    tokenizer = processor.tokenizer
    template, tokenizer.chat_template = tokenizer.chat_template, processor.chat_template
    files = list(tokenizer.save_pretrained(folder))
    tokenizer.chat_template = template
    config = folder / "preprocessor_config.json"
    processor.image_processor.save_pretrained(folder)
    fields = json.loads(config.read_text()) | {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
    }
    config.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
    return [*files, str(config)]


def _load_auto(folder: Path) -> ProcessorMixin:
    try:
        processor = AutoProcessor.from_pretrained(folder)
    except (ImportError, OSError, ValueError) as error:
        raise CheckpointError(f"AutoProcessor can't read {folder}: {_first_line(error)}; {_PIL_HINT}") from error
    if not isinstance(processor, ProcessorMixin) or "image_processor" not in processor.get_attributes():
        raise CheckpointError(
            f"AutoProcessor read a {type(processor).__name__} without images from {folder}; {_PIL_HINT}"
        )
    return processor


_PIL_HINT = "install a torchvision that fits torch, or choose image_backend=pil (Qwen2-VL families)"


def _load_pil(folder: Path) -> ProcessorMixin:
    """A Qwen-VL folder's `DriftProcessor`; any other family's own processor over its Pillow image processor."""
    if (folder / "config.json").is_file() and not read_config(folder).get("model_type", "").startswith("qwen"):
        processor = _load_auto(folder)
        if not isinstance(processor.image_processor, PilBackend):
            processor.image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        return processor
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        images = Qwen2VLImageProcessorPil.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder} holds no tokenizer or no preprocessor_config.json: {_first_line(error)}"
        ) from error
    return DriftProcessor(images, tokenizer, chat_template=_chat_template(folder, tokenizer))


def _chat_template(folder: Path, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The processor's template where the folder has one of its own, else the tokenizer's.

    Qwen's folders on the hub keep the template with images in chat_template.json, the older place.
    """
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    if (folder / "chat_template.json").is_file():
        return json.loads((folder / "chat_template.json").read_text(encoding="utf-8"))["chat_template"]
    return tokenizer.chat_template


def _image_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    vocabulary = tokenizer.get_vocab()
    if IMAGE_TOKEN not in vocabulary:
        raise CheckpointError(f"the tokenizer has no {IMAGE_TOKEN!r}; image_backend=pil serves Qwen2-VL families only")
    return vocabulary[IMAGE_TOKEN]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
