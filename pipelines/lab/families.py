"""The paper's four model families at laboratory size: which classes, how an image is written, and how it is seen.

Every row builds the real transformers class over the world's LM shape: Qwen2.5-VL and Qwen2-VL over Qwen2, LLaVA-NeXT
over Llama, Idefics2 over Mistral. A family is found by its `model_type`. To add one, add a row and its functions.

Shapes: b strips, c the LM's hidden size, t features of an image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    Idefics2Config,
    Idefics2ForConditionalGeneration,
    Idefics2Processor,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    MistralConfig,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)
from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from drift.errors import FamilyError, closest
from drift.families import get_family
from drift.processing import DriftProcessor
from pipelines.lab.config import WorldConfig
from pipelines.lab.forward import Network, see_strips
from pipelines.lab.images import CELL, CELLS
from pipelines.lab.text_families import language_fields, roped_fields
from pipelines.lab.tokenizer import IDEFICS2, LLAVA_NEXT, QWEN_VL, Markup, build_tokenizer, vocabulary

PATCH = CELL // 2
_GREY: dict[str, Any] = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


@dataclass(frozen=True)
class LabFamily:
    """An MLLM family.

    Args:
        markup: how it writes an image.
        first_cell: the place of the first cell among an image's features.
        has_mrope: whether image tokens have 3-D positions.
        build: world -> model with random weights.
        see: (model, pixels (b, 8, 64) of `images.to_pixels`) -> features (b, t, c) as the LM gets them.
        processor: what a checkpoint folder of it holds.
        draws: what tells its random draws from the other families'.
    """

    name: str
    markup: Markup
    first_cell: int
    has_mrope: bool
    build: Callable[[WorldConfig], PreTrainedModel]
    see: Callable[[Network, Tensor], Tensor]
    processor: Callable[[], ProcessorMixin]
    draws: str

    def vision_parameters(self, model: Network) -> list[nn.Parameter]:
        """Everything but the LM: vision tower, projector or connector."""
        family = get_family(self.name)
        return [p for name, p in model.named_parameters() if family.canonical(name) is None]


def get_lab_family(name: str) -> LabFamily:
    """The row of an MLLM family.

    Raises:
        FamilyError: the laboratory has none of that name; names the closest.
    """
    if name not in LAB_FAMILIES:
        raise FamilyError(f"the laboratory has no MLLM family {name!r}; {closest(name, LAB_FAMILIES)}")
    return LAB_FAMILIES[name]


def _qwen_vl(
    config: Callable[..., Any], model: Callable[..., Any], world: WorldConfig, **tower: Any
) -> PreTrainedModel:
    """A Qwen-VL model over 4x4 patches, its LM with mRoPE; `tower` is what each version's tower calls its own way."""
    language, words = world.language, vocabulary(QWEN_VL)
    rope = {"rope_type": "default", "rope_theta": language.rope_theta, "mrope_section": list(language.mrope_section)}
    own = {"depth": world.vision.depth, "num_heads": world.vision.heads, "patch_size": PATCH, "spatial_merge_size": 2}
    built = config(
        vision_config={**own, **tower},
        text_config=language_fields(language, len(words)) | {"rope_parameters": rope},
        image_token_id=words.ids["<|image_pad|>"],
        video_token_id=words.ids["<|video_pad|>"],
        vision_start_token_id=words.ids["<|vision_start|>"],
        vision_end_token_id=words.ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    return model(built)


def _build_qwen2_5_vl(world: WorldConfig) -> PreTrainedModel:
    """A tower of full attention in every layer."""
    return _qwen_vl(
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        world,
        hidden_size=world.vision.hidden,
        intermediate_size=world.vision.feed_forward,
        out_hidden_size=world.language.hidden,
        fullatt_block_indexes=list(range(world.vision.depth)),
    )


def _build_qwen2_vl(world: WorldConfig) -> PreTrainedModel:
    hidden, ratio = world.vision.hidden, world.vision.feed_forward // world.vision.hidden
    own = {"embed_dim": hidden, "mlp_ratio": ratio, "hidden_size": world.language.hidden}
    return _qwen_vl(Qwen2VLConfig, Qwen2VLForConditionalGeneration, world, **own)


def _see_qwen_vl(model: Network, pixels: Tensor) -> Tensor:
    return see_strips(model.model.visual, pixels)


def _qwen_processor() -> DriftProcessor:
    """Keeps a strip at 8x64 pixels (eight tokens) and shrinks anything larger to that area."""
    size = {"shortest_edge": CELL * CELL, "longest_edge": CELL * CELL * CELLS}
    images = Qwen2VLImageProcessorPil(patch_size=PATCH, merge_size=2, temporal_patch_size=2, size=size, **_GREY)
    return DriftProcessor(images, build_tokenizer(QWEN_VL), chat_template=QWEN_VL.chat_template)


def _tower(world: WorldConfig) -> dict[str, Any]:
    """What CLIP's and SigLIP's towers call by the same names; a cell is a patch."""
    return {
        "hidden_size": world.vision.hidden,
        "intermediate_size": world.vision.feed_forward,
        "num_hidden_layers": world.vision.depth,
        "num_attention_heads": world.vision.heads,
        "patch_size": CELL,
    }


def _build_llava_next(world: WorldConfig) -> PreTrainedModel:
    """CLIP over tiles of one cell; as published, features come from the layer before the last, without CLS."""
    words = vocabulary(LLAVA_NEXT)
    own = {"model_type": "clip_vision_model", "num_hidden_layers": world.vision.depth + 1, "image_size": CELL}
    config = LlavaNextConfig(
        text_config=LlamaConfig(**roped_fields(world.language, len(words))),
        vision_config={**_tower(world), **own, "projection_dim": world.vision.hidden},
        image_token_index=words.ids["<image>"],
        image_grid_pinpoints=[[CELL, CELL * CELLS]],
        tie_word_embeddings=False,
    )
    return LlavaNextForConditionalGeneration(config)


def _see_llava_next(model: Network, pixels: Tensor) -> Tensor:
    """A thumbnail of the strip, its cells, and the learnt end of a row: (b, 10, c)."""
    inner, b = model.model, len(pixels)
    tiles = pixels.view(b, CELL, CELLS, CELL).transpose(1, 2)
    small = F.interpolate(pixels[:, None], size=(CELL, CELL), mode="bicubic", antialias=True)
    thumbnail = ((small.clamp(-1.0, 1.0) * 127.5 + 127.5).round() - 127.5) / 127.5  # the processor resizes 8-bit images
    stack = torch.cat([thumbnail, tiles], dim=1).view(-1, 1, CELL, CELL).expand(-1, 3, -1, -1)
    states = inner.vision_tower(stack, output_hidden_states=True).hidden_states
    features = inner.multi_modal_projector(states[model.config.vision_feature_layer][:, 1:])
    newline = inner.image_newline.expand(b, 1, -1)
    return torch.cat([features.view(b, CELLS + 1, -1), newline], dim=1)


def _llava_next_processor() -> LlavaNextProcessor:
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": CELL},
        crop_size={"height": CELL, "width": CELL},
        image_grid_pinpoints=[[CELL, CELL * CELLS]],
        **_GREY,
    )
    return LlavaNextProcessor(
        images,
        build_tokenizer(LLAVA_NEXT),
        patch_size=CELL,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_NEXT.chat_template,
    )


def _build_idefics2(world: WorldConfig) -> PreTrainedModel:
    """A SigLIP tower over cells and a perceiver with a latent per cell.

    Latents and places start apart and the rest wider than the class has it, whose latents are all one: from there 1000
    steps bring cells to .82, from here 300 to .97.
    """
    words, hidden = vocabulary(IDEFICS2), world.language.hidden
    config = Idefics2Config(
        text_config=MistralConfig(**roped_fields(world.language, len(words)), sliding_window=None),
        vision_config={**_tower(world), "image_size": CELL * CELLS, "initializer_range": 0.1},
        perceiver_config={
            "hidden_size": hidden,
            "resampler_n_latents": CELLS,
            "resampler_depth": 1,
            "resampler_n_heads": 4,
            "resampler_head_dim": hidden // 4,
            "num_key_value_heads": 2,
            "initializer_range": 0.1,
        },
        image_token_id=words.ids["<image>"],
        tie_word_embeddings=False,
    )
    model: Any = Idefics2ForConditionalGeneration(config)
    nn.init.normal_(model.model.connector.perceiver_resampler.latents)
    nn.init.normal_(model.model.vision_model.embeddings.position_embedding.weight)
    return model


def _see_idefics2(model: Network, pixels: Tensor) -> Tensor:
    inner, b = model.model, len(pixels)
    seen = torch.ones(b, 1, CELLS, dtype=torch.bool)
    images = pixels[:, None].expand(-1, 3, -1, -1)
    states = inner.vision_model(pixel_values=images, patch_attention_mask=seen).last_hidden_state
    return inner.connector(states, attention_mask=seen.view(b, -1))


def _idefics2_processor() -> Idefics2Processor:
    size = {"shortest_edge": CELL, "longest_edge": CELL * CELLS}
    images = Idefics2ImageProcessorPil(size=size, do_image_splitting=False, **_GREY)
    tokenizer = build_tokenizer(IDEFICS2)
    return Idefics2Processor(images, tokenizer, image_seq_len=CELLS, chat_template=IDEFICS2.chat_template)


LAB_FAMILIES: dict[str, LabFamily] = {
    row.name: row
    for row in (
        LabFamily("qwen2_5_vl", QWEN_VL, 0, True, _build_qwen2_5_vl, _see_qwen_vl, _qwen_processor, ""),
        LabFamily("qwen2_vl", QWEN_VL, 0, True, _build_qwen2_vl, _see_qwen_vl, _qwen_processor, " qwen2_vl"),
        LabFamily(
            "llava_next", LLAVA_NEXT, 1, False, _build_llava_next, _see_llava_next, _llava_next_processor, " llava_next"
        ),
        LabFamily("idefics2", IDEFICS2, 0, False, _build_idefics2, _see_idefics2, _idefics2_processor, " idefics2"),
    )
}
