"""The text families of the laboratory: the LM that base, experts and MLLM of a pair share, in its real classes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from drift.errors import FamilyError, closest
from pipelines.lab.config import LanguageShape
from pipelines.lab.tokenizer import vocabulary

STEADY = 0.1  # five times the standard deviation that embeddings start with


@dataclass(frozen=True)
class TextFamily:
    """A text LM: its classes, and what tells its random draws from the other families'.

    Without biases on queries and keys, attending by place alone is learnt late: after 2500 steps world 0's Llama and
    Mistral bases had .40 and .49 of their short chains right, Qwen2's .89. There one channel of every embedding starts
    at one value and serves as a bias: .75 and .935.
    """

    config: Callable[..., Any]
    model: Callable[..., Any]
    has_bias: bool
    draws: str

    def build(self, shape: LanguageShape) -> PreTrainedModel:
        """A model with random weights."""
        model = self.model(self.config(**roped_fields(shape, len(vocabulary())), tie_word_embeddings=False))
        if not self.has_bias:
            nn.init.constant_(model.model.embed_tokens.weight[:, 0], STEADY)
        return model


def language_fields(shape: LanguageShape, words: int) -> dict[str, Any]:
    """The LM's config fields, shared by the text configs and the MLLMs' text parts."""
    return {
        "vocab_size": words,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        "bos_token_id": None,
        "eos_token_id": vocabulary().end,
        "pad_token_id": vocabulary().pad,
    }


def roped_fields(shape: LanguageShape, words: int) -> dict[str, Any]:
    """`language_fields`, and positions as text has them."""
    rope = {"rope_type": "default", "rope_theta": shape.rope_theta}
    return language_fields(shape, words) | {"rope_parameters": rope}


TEXT = {
    "qwen2": TextFamily(Qwen2Config, Qwen2ForCausalLM, True, ""),
    "llama": TextFamily(LlamaConfig, LlamaForCausalLM, False, " llama"),
    "mistral": TextFamily(MistralConfig, MistralForCausalLM, False, " mistral"),
}


def get_text_family(name: str) -> TextFamily:
    """The row of a text family.

    Raises:
        FamilyError: the laboratory has none of that name; names the closest.
    """
    if name not in TEXT:
        raise FamilyError(f"the laboratory has no text family {name!r}; {closest(name, TEXT)}")
    return TEXT[name]
