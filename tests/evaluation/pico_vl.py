"""A randomly initialised Qwen2.5-VL of the lab's shape with its processor and questions: no training."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from drift.processing import DriftProcessor, save_processor
from evaluation.engines.base import Request

MARKUP = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"]
THINK = ["<think>", "</think>"]
WORDS = ["<unk>", "user", "assistant", "system", "list", ".", "?", "sum", "think", *"0123456789"]
VOCABULARY = [*MARKUP, *THINK, *WORDS]
TEMPLATE = (
    "{% for m in messages %}<|im_start|> {{ m.role }} {% for c in m.content %}"
    "{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}"
    "{% endfor %} <|im_end|> {% endfor %}{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)


def save_model(folder: Path, *, hidden: int = 32, layers: int = 2, seed: int = 0) -> Path:
    """A checkpoint folder with weights, tokenizer, processor and chat template."""
    torch.manual_seed(seed)
    lm = {
        "vocab_size": len(VOCABULARY),
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "rope_parameters": {"rope_type": "default", "rope_theta": 20.0, "mrope_section": _mrope(hidden // 4)},
        "eos_token_id": VOCABULARY.index("<|im_end|>"),
        "pad_token_id": VOCABULARY.index("<|endoftext|>"),
    }
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_heads": 2,
        "out_hidden_size": hidden,
        "patch_size": 4,
        "window_size": 16,
        "fullatt_block_indexes": [0],
    }
    tokens = {name: VOCABULARY.index(word) for name, word in _TOKENS.items()}
    config = Qwen2_5_VLConfig(text_config=lm, vision_config=vision, tie_word_embeddings=False, **tokens)
    network = Qwen2_5_VLForConditionalGeneration(config)
    with torch.no_grad():  # the default scale is so small that every prompt gets the same answer
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                parameter.mul_(12.0 if "embed" in name or "visual" in name else 6.0)
    network.save_pretrained(folder)
    save_processor(_processor(), folder)
    return folder


def requests(count: int, *, seed: int = 0, with_images: bool = True) -> list[Request]:
    """Questions of different lengths; every other one has an image if asked."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        digits = " ".join(str(d) for d in rng.integers(0, 10, size=rng.integers(1, 9)))
        images = (png(rng),) if with_images and i % 2 else ()
        made.append(Request(index=str(i), prompt=f"list {digits} . sum ? think", images=images))
    return made


def png(rng: np.random.Generator, width: int = 64) -> bytes:
    """A grey strip of noise, 8 pixels high."""
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, size=(8, width), dtype=np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def _mrope(head: int) -> list[int]:
    return [head // 2 - 2, 1, 1]


def _processor() -> DriftProcessor:
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=[*MARKUP[1:], *THINK],
    )
    images = Qwen2VLImageProcessorPil(
        patch_size=4, merge_size=2, min_pixels=64, max_pixels=4096, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return DriftProcessor(images, tokenizer, chat_template=TEMPLATE)


_TOKENS = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<unk>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
