"""How far two models' LMs lie apart: L2 distance and cosine per tensor, per layer and per kind of module (Figure 2).

Streaming and in fp32 as the prior is; two MLLMs, an MLLM and its expert, or two text models.
"""

import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from drift.deltas import Moments, Recipe
from drift.selection import GEOMETRY_GROUPS, group_of, layer_of, module_of
from drift.sources import check_fit, open_source, select_target
from drift.threads import one_thread

log = logging.getLogger(__name__)

# Figure 2's two panels of averages: which modules each bar stands for.
PANELS: dict[str, dict[str, tuple[str, ...]]] = {
    "ffn_norm": {
        "ffn": ("gate_proj", "up_proj", "down_proj"),
        "norm": ("input_layernorm", "post_attention_layernorm"),
    },
    "attention": {"q": ("q_proj",), "k": ("k_proj",), "v": ("v_proj",), "o": ("o_proj",)},
}


def layer_geometry(a: Path | str, b: Path | str, groups: Sequence[str] = GEOMETRY_GROUPS) -> list[dict[str, Any]]:
    """One row per LM tensor of two checkpoints of one architecture.

    Args:
        a: checkpoint folder or hub id (owner/name[@revision]); distances are relative to it (the MLLM in Figure 2).
        b: checkpoint folder or hub id (the expert).
        groups: module groups; vocabularies often differ, so embeddings and lm_head are left out unless asked for.
    Returns:
        rows with name, layer (None outside the layers), group, module, l2 = ||b - a||, relative_l2 = l2 / ||a||,
        cosine, n (elements), norm_a, norm_b, inner = <a, b>. relative_l2 and cosine are NaN where a norm is zero.
    Raises:
        CoverageError: one lacks a tensor of the other.
        CheckpointError: shapes differ, or a checkpoint is broken.
    """
    first, second = open_source(a), open_source(b)
    names = select_target(first, groups)
    check_fit(first, second, names)
    recipe = Recipe(first, second, base=None, sign=1.0, dtype=torch.float32, seed=0)
    with one_thread():
        rows = [_measure(recipe, name) for name in names]
    log.info("geometry of %d LM tensors, %s against %s", len(rows), a, b)
    return rows


def _measure(recipe: Recipe, name: str) -> dict[str, Any]:
    moments = Moments()
    elements = sum(chunk.numel() for chunk in recipe.stream(name, moments))
    return {
        "name": name,
        "layer": layer_of(name),
        "group": group_of(name),
        "module": module_of(name),
        **_relations(moments.mllm, moments.expert, moments.inner, moments.delta),
        "n": elements,
    }


def _relations(square_a: float, square_b: float, inner: float, square_delta: float) -> dict[str, float]:
    norm_a, norm_b, l2 = math.sqrt(square_a), math.sqrt(square_b), math.sqrt(square_delta)
    return {
        "l2": l2,
        "relative_l2": l2 / norm_a if norm_a > 0 else math.nan,
        "cosine": inner / (norm_a * norm_b) if norm_a * norm_b > 0 else math.nan,
        "norm_a": norm_a,
        "norm_b": norm_b,
        "inner": inner,
    }


def per_layer(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """L2 and cosine of each layer taken as one vector (Figure 2, the first two panels).

    Args:
        rows: from `layer_geometry`; tensors outside the layers are not counted.
    Returns:
        rows with layer, l2, relative_l2, cosine, n, norm_a, norm_b, inner, by layer.
    """
    layers = sorted({row["layer"] for row in rows} - {None})
    return [{"layer": layer, **_combine([row for row in rows if row["layer"] == layer])} for layer in layers]


def panel_averages(rows: Iterable[dict[str, Any]], panel: str) -> list[dict[str, Any]]:
    """Mean L2, relative L2 and cosine over the tensors behind each bar (Figure 2, panels 3 and 4).

    A mean over tensors, each counting once; biases are not counted.

    Args:
        rows: from `layer_geometry`.
        panel: a key of `PANELS`.
    Returns:
        rows with panel, bar, l2, relative_l2, cosine, tensors (their number).
    """
    kept = [row for row in rows if row["name"].endswith(".weight")]
    averages = []
    for bar, modules in PANELS[panel].items():
        chosen = [row for row in kept if row["module"] in modules]
        means = {
            key: fmean(row[key] for row in chosen) if chosen else math.nan for key in ("l2", "relative_l2", "cosine")
        }
        averages.append({"panel": panel, "bar": bar, **means, "tensors": len(chosen)})
    return averages


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Everything that Figure 2 shows for one pair: `layers`, `ffn_norm`, `attention`, and `total` over all rows."""
    return {
        "layers": per_layer(rows),
        **{panel: panel_averages(rows, panel) for panel in PANELS},
        "total": [_combine(rows)],
    }


def _combine(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    squares = [math.fsum(row[key] ** 2 for row in rows) for key in ("norm_a", "norm_b", "l2")]
    inner = math.fsum(row["inner"] for row in rows)
    return {**_relations(squares[0], squares[1], inner, squares[2]), "n": sum(row["n"] for row in rows)}
