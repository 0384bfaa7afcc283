"""Pico models: the real transformers classes of every family with a two-layer LM of width 16, built in milliseconds.

An MLLM and its expert share the LM's shape, so a prior, a merge and the geometry between them are defined. Weights are
random and seeded.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    Idefics2Config,
    Idefics2ForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

VOCABULARY = 64
LAYERS = 2
HIDDEN = 16

LM = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": 24,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
MROPE = {**ROPE, "mrope_section": [1, 1, 0]}

# family -> the text family of its expert
EXPERT_OF = {
    "qwen2_vl": "qwen2",
    "qwen2_5_vl": "qwen2",
    "llava_next": "llama",
    "idefics2": "mistral",
    "qwen3_vl": "qwen3",
}
MLLM_FAMILIES = tuple(EXPERT_OF)
TEXT_FAMILIES = ("qwen2", "llama", "mistral", "qwen3")


def build(family: str, *, seed: int = 0, tied: bool = False, layers: int = LAYERS) -> PreTrainedModel:
    """A randomly initialised fp32 model of the family; the same seed gives the same weights."""
    lm = {**LM, "tie_word_embeddings": tied, "num_hidden_layers": layers}
    torch.manual_seed(seed)
    model = BUILDERS[family](lm)
    with torch.no_grad():  # norms start at exactly one and biases at zero, which would hide mistakes
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape))
            elif "embed" not in name:
                parameter.mul_(5.0)
    return model


def save(model: PreTrainedModel, folder: Path, *, dtype: torch.dtype = torch.float32, max_shard: str = "1GB") -> Path:
    """The model as `save_pretrained` writes it, cast to `dtype`; the folder."""
    model.to(dtype).save_pretrained(folder, max_shard_size=max_shard)
    model.to(torch.float32)
    return folder


def build_and_save(family: str, folder: Path, *, seed: int = 0, dtype: torch.dtype = torch.float32, tied: bool = False):
    """`build` then `save`; the folder."""
    return save(build(family, seed=seed, tied=tied), folder, dtype=dtype)


def save_pair(
    family: str, root: Path, *, dtype: torch.dtype = torch.float32, tied: bool = False, seed: int = 0
) -> tuple[Path, Path, Path]:
    """An MLLM, its expert and a base of the expert's class, three seeds apart: (mllm, expert, base) folders."""
    text = EXPERT_OF[family]
    return (
        build_and_save(family, root / "mllm", seed=seed, dtype=dtype, tied=tied),
        build_and_save(text, root / "expert", seed=seed + 1, dtype=dtype, tied=tied),
        build_and_save(text, root / "base", seed=seed + 2, dtype=dtype, tied=tied),
    )


def edit_config(folder: Path, **changes: object) -> None:
    """Overwrites top-level fields of config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(folder: Path, edit) -> None:
    """Rewrites model.safetensors with `edit(dict) -> dict`."""
    path = folder / "model.safetensors"
    tensors = edit(load_file(path))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata={"format": "pt"})


def _qwen2(lm: dict) -> PreTrainedModel:
    return Qwen2ForCausalLM(Qwen2Config(**lm, rope_parameters=dict(ROPE)))


def _llama(lm: dict) -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**lm, rope_parameters=dict(ROPE)))


def _mistral(lm: dict) -> PreTrainedModel:
    return MistralForCausalLM(MistralConfig(**lm, sliding_window=None, rope_parameters=dict(ROPE)))


def _qwen3(lm: dict) -> PreTrainedModel:
    return Qwen3ForCausalLM(Qwen3Config(**{"head_dim": 4, **lm}, rope_parameters=dict(ROPE)))


def _qwen2_vl(lm: dict) -> PreTrainedModel:
    vision = {"depth": 1, "embed_dim": 16, "num_heads": 2, "hidden_size": HIDDEN, "mlp_ratio": 2, "patch_size": 4}
    return Qwen2VLForConditionalGeneration(
        Qwen2VLConfig(
            text_config={**lm, "rope_parameters": dict(MROPE)},
            vision_config=vision,
            tie_word_embeddings=lm["tie_word_embeddings"],
            **_QWEN_TOKENS,
        )
    )


def _qwen2_5_vl(lm: dict) -> PreTrainedModel:
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": HIDDEN,
        "patch_size": 4,
        "window_size": 16,
        "fullatt_block_indexes": [0],
    }
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config={**lm, "rope_parameters": dict(MROPE)},
            vision_config=vision,
            tie_word_embeddings=lm["tie_word_embeddings"],
            **_QWEN_TOKENS,
        )
    )


def _qwen3_vl(lm: dict) -> PreTrainedModel:
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": HIDDEN,
        "patch_size": 4,
        "deepstack_visual_indexes": [0],
        "num_position_embeddings": 16,
    }
    return Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(
            text_config={"head_dim": 4, **lm, "rope_parameters": dict(MROPE)},
            vision_config=vision,
            tie_word_embeddings=lm["tie_word_embeddings"],
            **_QWEN_TOKENS,
        )
    )


def _llava_next(lm: dict) -> PreTrainedModel:
    vision = {
        "model_type": "clip_vision_model",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 8,
        "patch_size": 4,
        "projection_dim": 16,
    }
    return LlavaNextForConditionalGeneration(
        LlavaNextConfig(
            text_config=LlamaConfig(**lm, rope_parameters=dict(ROPE)),
            vision_config=vision,
            image_token_index=60,
            image_grid_pinpoints=[[8, 16], [16, 8]],
            tie_word_embeddings=lm["tie_word_embeddings"],
        )
    )


def _idefics2(lm: dict) -> PreTrainedModel:
    return Idefics2ForConditionalGeneration(
        Idefics2Config(
            text_config=MistralConfig(**lm, sliding_window=None, rope_parameters=dict(ROPE)),
            vision_config={
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 8,
                "patch_size": 4,
            },
            perceiver_config={
                "hidden_size": HIDDEN,
                "resampler_n_latents": 2,
                "resampler_depth": 1,
                "resampler_n_heads": 2,
                "resampler_head_dim": 8,
                "num_key_value_heads": 1,
            },
            image_token_id=60,
            tie_word_embeddings=lm["tie_word_embeddings"],
        )
    )


_QWEN_TOKENS = {"image_token_id": 60, "video_token_id": 61, "vision_start_token_id": 62, "vision_end_token_id": 63}

BUILDERS = {
    "qwen2": _qwen2,
    "llama": _llama,
    "mistral": _mistral,
    "qwen3": _qwen3,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "llava_next": _llava_next,
    "idefics2": _idefics2,
}
