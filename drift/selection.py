"""Module groups times layers to tensor names, and the check that two sides cover the same ones.

Groups follow the paper's Table 4: attn, mlp, norm (input and post-attention norms), lm_head. `final_norm` and
`embed_tokens` complete them, so that every canonical LM name belongs to exactly one group. Biases and Qwen3's q/k norms
belong to attn.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from drift.errors import CoverageError, DriftError, closest

_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")
# Every tensor that a dense LM may have; anything else under its prefix (LoRA, quantised weights, experts) is refused.
_GROUP_PATTERNS: dict[str, re.Pattern[str]] = {
    "attn": re.compile(r"model\.layers\.\d+\.self_attn\.(?:[qkvo]_proj\.(?:weight|bias)|[qk]_norm\.weight)"),
    "mlp": re.compile(r"model\.layers\.\d+\.mlp\.(?:gate|up|down)_proj\.(?:weight|bias)"),
    "norm": re.compile(r"model\.layers\.\d+\.(?:input|post_attention)_layernorm\.weight"),
    "final_norm": re.compile(r"model\.norm\.weight"),
    "lm_head": re.compile(r"lm_head\.weight"),
    "embed_tokens": re.compile(r"model\.embed_tokens\.weight"),
}
GROUPS = tuple(_GROUP_PATTERNS)
DEFAULT_GROUPS = ("attn", "mlp")
# What two LMs are compared by: vocabularies often differ, so embeddings and lm_head are left out.
GEOMETRY_GROUPS = ("attn", "mlp", "norm", "final_norm")


class SelectionError(DriftError):
    """A group or a layer that does not exist was asked for."""


def is_lm_tensor(name: str) -> bool:
    """Whether it is a canonical LM name."""
    return any(pattern.fullmatch(name) for pattern in _GROUP_PATTERNS.values())


def group_of(name: str) -> str:
    """The one group of a canonical LM name.

    Raises:
        SelectionError: not a canonical LM name.
    """
    for group, pattern in _GROUP_PATTERNS.items():
        if pattern.fullmatch(name):
            return group
    raise SelectionError(f"{name!r} is no canonical LM name; expected one such as 'model.layers.0.mlp.up_proj.weight'")


def layer_of(name: str) -> int | None:
    """The layer's number, None for tensors outside the layers."""
    match = _LAYER.fullmatch(name)
    return int(match[1]) if match else None


def module_of(name: str) -> str:
    """The module inside the layer: 'q_proj', 'gate_proj', 'input_layernorm', ...; 'norm', 'lm_head' outside it."""
    return name.split(".")[-2]


def select(
    names: Iterable[str], groups: Sequence[str] = DEFAULT_GROUPS, layers: Sequence[int] | None = None
) -> list[str]:
    """The names in the given groups and layers, in the model's order (embeddings, layers by number, norm, head).

    Args:
        names: canonical LM names.
        groups: keys of `GROUPS`.
        layers: layer numbers, from 0; None for all. Tensors outside the layers are not filtered by it.
    Raises:
        SelectionError: an unknown group, a layer the model lacks, or a group that matches nothing.
    """
    check_groups(groups)
    known = sorted(set(names), key=_position)
    there = {layer for layer in map(layer_of, known) if layer is not None}
    if layers is not None and (not layers or set(layers) - there):
        missing = next((layer for layer in layers if layer not in there), None)
        raise SelectionError(f"layer {missing} was asked for; the model has layers 0 to {max(there, default=-1)}")
    within = None if layers is None else {None, *layers}
    chosen = [name for name in known if group_of(name) in groups and (within is None or layer_of(name) in within)]
    empty = [group for group in groups if not any(group_of(name) == group for name in chosen)]
    if empty:
        raise SelectionError(
            f"group {empty[0]!r} matches none of {len(known)} LM tensors; is it tied or left out of the names?"
        )
    return chosen


def check_groups(groups: Sequence[str]) -> None:
    """Raises:
    SelectionError: no group, or one that does not exist (names the closest).
    """
    if isinstance(groups, str) or not groups:
        raise SelectionError(f"groups must be a non-empty list of {', '.join(GROUPS)}; found {groups!r}")
    for group in groups:
        if group not in GROUPS:
            raise SelectionError(f"unknown module group {group!r}; {closest(group, GROUPS)}")


def check_coverage(
    selected: Iterable[str] | Mapping[str, tuple[int, ...]],
    available: Iterable[str] | Mapping[str, tuple[int, ...]],
    what: str,
) -> None:
    """Both sides hold the same names and, where both are {name: shape}, the same shapes; otherwise it stops here.

    Args:
        selected: what is wanted, names or {name: shape}.
        available: what there is.
        what: how the message calls the two, such as "prior against model".
    Raises:
        CoverageError: names the first mismatch, and both shapes if that is what differs.
    """
    wanted, there = set(selected), set(available)
    missing, extra = sorted(wanted - there, key=_position), sorted(there - wanted, key=_position)
    if missing or extra:
        side, name = ("lacks", missing[0]) if missing else ("has an unexpected", extra[0])
        raise CoverageError(
            f"{what}: {len(wanted & there)} of {len(wanted)} tensors are covered, {len(missing)} missing, "
            f"{len(extra)} unexpected; the second {side} {name!r}"
        )
    if isinstance(selected, Mapping) and isinstance(available, Mapping):
        for name in sorted(wanted, key=_position):
            if tuple(selected[name]) != tuple(available[name]):
                raise CoverageError(
                    f"{what}: {name!r} has shape {tuple(selected[name])} on the first side "
                    f"and {tuple(available[name])} on the second"
                )


def _position(name: str) -> tuple[int, int, str]:
    layer = layer_of(name)
    if layer is not None:
        return 1, layer, name
    return (0 if "embed_tokens" in name else 2 if name == "model.norm.weight" else 3), 0, name
