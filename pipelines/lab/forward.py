"""Lean forward passes over the parameters of the real models, for training and gating a world on one core.

The same functions as the decoders of Qwen2, Llama, Mistral and the Qwen2-VL families, and as the vision towers of the
latter (tests hold them to that), for what a world needs: right-padded batches, one strip per prompt, no masks. Measured
on one core, transformers 5.23, batch 32 x 44: 42 ms forward and backward through transformers, 28 ms here; the tower
gains more, because the stock one loops over images.

Notation: b sequences, s tokens, q queries, h heads, k key-value heads, d head size, c channels.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.vision_utils import get_vision_position_ids

from pipelines.lab.config import LanguageShape
from pipelines.lab.images import CELL, CELLS

Network = Any  # an nn.Module; torch types every submodule as "Tensor | Module", which says nothing
MAX_TOKENS = 128
TEXT, IMAGE = 0, 1


@dataclass(frozen=True)
class Rope:
    """Rotary tables (2, MAX_TOKENS, 1, d): row TEXT counts tokens, row IMAGE is for prompts that open with a strip."""

    cos: Tensor
    sin: Tensor


@dataclass
class Cache:
    """Keys (b, k, d, s) and values (b, k, s, d) of each layer, filled by `decode`."""

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)


def build_rope(shape: LanguageShape, mrope_start: int | None = None) -> Rope:
    """Text positions are 0, 1, 2...; an image's are too, but for the families with mRoPE.

    There, within the strip that begins at `mrope_start`, time and height stand still and only the width counts on: a
    strip is one row of merged cells, so the width position of every token is its place, as in text.
    """
    half = shape.hidden // shape.heads // 2
    frequencies = 1.0 / (shape.rope_theta ** (torch.arange(half, dtype=torch.float32) / half))
    places = torch.arange(MAX_TOKENS, dtype=torch.float32)
    still = places.clone()
    if mrope_start is not None:
        still[mrope_start : mrope_start + CELLS] = mrope_start
    axes = torch.stack([still, still, places])
    owner = torch.repeat_interleave(torch.arange(3), torch.tensor(shape.mrope_section))
    angles = torch.stack([places[:, None] * frequencies, axes[owner].T * frequencies])
    angles = torch.cat([angles, angles], dim=-1)[:, :, None]
    return Rope(angles.cos(), angles.sin())


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of x (..., d), halves convention."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def _attention(layer: Network, x: Tensor, cos: Tensor, sin: Tensor, keep_from: int, cache: Cache | None) -> Tensor:
    """Causal grouped-query attention of the queries from position `keep_from` on; (b, q, c)."""
    attn, (b, s, _), d = layer.self_attn, x.shape, layer.self_attn.head_dim
    k = attn.k_proj.out_features // d
    groups = attn.q_proj.out_features // d // k
    projections = (attn.q_proj, attn.k_proj, attn.v_proj)
    weight = torch.cat([p.weight for p in projections])
    bias = None if attn.q_proj.bias is None else torch.cat([p.bias for p in projections])
    qkv = F.linear(x, weight, bias).view(b, s, (groups + 2) * k, d)
    rotated = rotate(qkv[:, :, : (groups + 1) * k], cos, sin)
    query = rotated[:, keep_from:, : groups * k].view(b, -1, k, groups, d).permute(0, 2, 3, 1, 4)
    key, value = rotated[:, :, groups * k :].permute(0, 2, 3, 1), qkv[:, :, -k:].transpose(1, 2)
    if cache is not None:
        key, value = _extend(cache, attn.layer_idx, key, value)
    q, total = s - keep_from, key.shape[-1]
    mask = torch.full((q, total), float("-inf")).triu(total - q + 1).repeat(groups, 1)
    scores = torch.baddbmm(mask, query.reshape(b * k, groups * q, d), key.reshape(b * k, d, total), alpha=d**-0.5)
    mixed = torch.bmm(scores.softmax(-1), value.reshape(b * k, total, d))
    mixed = mixed.view(b, k, groups, q, d).permute(0, 3, 1, 2, 4).reshape(b, q, groups * k * d)
    return F.linear(mixed, attn.o_proj.weight)


def _extend(cache: Cache, index: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    if index == len(cache.keys):
        cache.keys.append(key)
        cache.values.append(value)
    else:
        cache.keys[index] = torch.cat([cache.keys[index], key], dim=-1)
        cache.values[index] = torch.cat([cache.values[index], value], dim=-2)
    return cache.keys[index], cache.values[index]


def _norm(x: Tensor, norm: Network) -> Tensor:
    if isinstance(norm, nn.LayerNorm):
        return norm(x)
    return F.rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)


def decode(
    language: Network, x: Tensor, cos: Tensor, sin: Tensor, *, keep_from: int = 0, cache: Cache | None = None
) -> Tensor:
    """Final hidden states of the positions from `keep_from` on.

    Args:
        language: the decoder of any family here.
        x: (b, s, c) input embeddings, right-padded; padding needs no mask because attention is causal.
        cos, sin: (1 or b, s, 1, d).
        keep_from: the last layer works only on positions from here on, which is where the targets are.
        cache: earlier tokens' keys and values; extended in place.
    Returns:
        (b, s - keep_from, c), after the final norm.
    """
    last = len(language.layers) - 1
    for index, layer in enumerate(language.layers):
        start = keep_from if index == last else 0
        attended = _attention(layer, _norm(x, layer.input_layernorm), cos, sin, start, cache)
        x = x[:, start:] + attended
        mlp, normed = layer.mlp, _norm(x, layer.post_attention_layernorm)
        gate, up = F.linear(normed, torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])).chunk(2, dim=-1)
        x = x + F.linear(F.silu(gate) * up, mlp.down_proj.weight)
    return _norm(x, language.norm)


def see_strips(visual: Network, pixels: Tensor) -> Tensor:
    """A Qwen2-VL or Qwen2.5-VL vision tower on strips: one feature per cell.

    The processor repeats each patch over three channels and two frames; the copies are equal, so one is enough here.

    Args:
        visual: the tower; every layer attends to the whole strip.
        pixels: (b, 8, 64), from `images.to_pixels`.
    Returns:
        (b, 8, c).
    """
    b, half, s = len(pixels), CELL // 2, 4 * CELLS
    patches = pixels.view(b, 2, half, CELLS, 2, half).permute(0, 3, 1, 4, 2, 5).reshape(b, s, half * half)
    position_ids = get_vision_position_ids(torch.tensor([[1, 2, 2 * CELLS]]), visual.spatial_merge_size)
    cos, sin = (t[:, None, None] for t in visual.rotary_pos_emb(patches, position_ids))
    kernel = visual.patch_embed.proj.weight
    x = F.linear(patches, kernel.sum((1, 2)).flatten(1))
    for block in visual.blocks:
        attn = block.attn
        qkv = attn.qkv(_norm(x, block.norm1)).view(b, s, 3, attn.num_heads, -1)
        query, key = rotate(qkv[:, :, :2], cos, sin).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, qkv[:, :, 2].transpose(1, 2))
        x = x + attn.proj(mixed.transpose(1, 2).reshape(b, s, -1))
        x = x + block.mlp(_norm(x, block.norm2))
    merger = visual.merger
    return merger.mlp(_norm(x, merger.ln_q).view(b, CELLS, -1))
