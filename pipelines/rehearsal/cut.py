"""A published config made small: what a checkpoint is called and counted by stays, its width and depth go.

Kept: the keys and their spelling, the vocabulary, the ratio of query to key heads, rope (its sections in proportion),
norms, ties, the vision tower's kind, patches and picture size, the projector's kind. Cut: two layers each, heads of a
width of 16 and as few as keep the ratio, MLPs in proportion; the tower's heads to two of their own width.
"""

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

LAYERS = 2
HEAD = 16  # three sections of mRoPE, in proportion, still fit into it
_TOWER_HEADS = 2
_WIDTHS = ("hidden_size", "intermediate_size", "embed_dim")


def cut(config: Mapping[str, Any]) -> dict[str, Any]:
    """The small config of a text model or an MLLM, in the hub's own spelling."""
    small = deepcopy(dict(config))
    language = small.get("text_config", small)
    _cut_language(language)
    width = language["hidden_size"]
    if "vision_config" in small:
        _cut_tower(small["vision_config"], small["model_type"], width)
    if "perceiver_config" in small:
        _cut_perceiver(small["perceiver_config"], width)
    return small


def _cut_language(language: dict[str, Any]) -> None:
    heads, keys = language["num_attention_heads"], language["num_key_value_heads"]
    common = math.gcd(heads, keys)
    shrink = heads * HEAD // common / language["hidden_size"]
    wide = language["hidden_size"] // heads
    language |= {
        "num_attention_heads": heads // common,
        "num_key_value_heads": keys // common,
        "hidden_size": heads // common * HEAD,
        "intermediate_size": int(language["intermediate_size"] * shrink),
        "num_hidden_layers": LAYERS,
    }
    if "rope_scaling" in language:
        sections = language["rope_scaling"]["mrope_section"]
        language["rope_scaling"]["mrope_section"] = [size * HEAD // wide for size in sections]


def _cut_tower(tower: dict[str, Any], family: str, width: int) -> None:
    """Qwen2-VL calls the width of what leaves the tower `hidden_size` and its own `embed_dim`; the others do not."""
    heads = "num_heads" if "num_heads" in tower else "num_attention_heads"
    depth = "depth" if "depth" in tower else "num_hidden_layers"
    leaving = {"qwen2_vl": "hidden_size", "qwen2_5_vl": "out_hidden_size"}.get(family)
    for name in _WIDTHS:
        if name in tower and name != leaving:
            tower[name] = tower[name] * _TOWER_HEADS // tower[heads]
    tower |= {heads: _TOWER_HEADS, depth: LAYERS}
    if leaving:
        tower[leaving] = width
    if "fullatt_block_indexes" in tower:
        tower["fullatt_block_indexes"] = [LAYERS - 1]


def _cut_perceiver(perceiver: dict[str, Any], width: int) -> None:
    keys = perceiver["num_key_value_heads"]
    perceiver |= {
        "hidden_size": width,
        "resampler_depth": LAYERS,
        "resampler_n_heads": perceiver["resampler_n_heads"] // keys,
        "num_key_value_heads": 1,
        "resampler_head_dim": HEAD,
    }
