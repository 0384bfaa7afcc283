"""Where the language model (LM) sits in each model family, as a table of rows.

Every tensor of an LM has one canonical name, the one a text expert has on disk:
`model.layers.N.self_attn.q_proj.weight`, `model.norm.weight`, `model.embed_tokens.weight`, `lm_head.weight`.
A row lists the prefixes under which a family has spelled its LM, on disk and in memory, from 4.51-style transformers
(`model.layers`, `language_model.model.layers`) to 5.23 (`model.language_model.layers`). Prefixes are anchored:
Idefics2's connector has `layers.N.self_attn.q_proj` of its own and must not match.
A family is looked up by `model_type` in config.json. To add one, add a row.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from drift.adapters import own_parameters
from drift.errors import CheckpointError, FamilyError, closest
from drift.selection import is_lm_tensor

if TYPE_CHECKING:
    from torch import nn

# A buffer that old Llama checkpoints carry: recomputed from the config, never a parameter.
_BUFFER = re.compile(r"(?:layers\.\d+\.self_attn\.)?rotary_emb\.\w+")
# Names that wrappers put in front of a module's own (DDP, DeepSpeed, torch.compile, FSDP1, activation checkpointing).
_WRAPPER = re.compile(r"(?:(?<=\.)|^)(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


@dataclass(frozen=True)
class Family:
    """One model family: `name` is its `model_type`, `text` the family of the experts that fit its LM.

    Attributes:
        name: the registry key and config.json's `model_type`.
        text: the text family that its LM belongs to; a text family's own name.
        lm: every prefix under which `layers`, `norm` and `embed_tokens` have been spelled.
        head: every spelling of the output projection, without `.weight`.
        sized_by: what bounds a picture in its image processor: an `area` (min_pixels to max_pixels), the length of its
            `edges`, or a `grid` of tiles; empty for a text family.
    """

    name: str
    text: str
    lm: tuple[str, ...]
    head: tuple[str, ...] = ("lm_head",)
    sized_by: Literal["area", "edges", "grid", ""] = ""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        prefixes = "|".join(re.escape(p) for p in self.lm)
        heads = "|".join(re.escape(h) for h in self.head)
        return re.compile(
            rf"(?:(?:{prefixes})\.(?P<body>(?:layers\.\d|norm\.|embed_tokens\.|rotary_emb\.).*)|(?:{heads})\.(?P<head>.+))"
        )

    def canonical(self, name: str) -> str | None:
        """The canonical LM name of a tensor in any known spelling; None for vision tower, projector and buffers.

        Raises:
            FamilyError: the tensor is under the LM's prefix and is none this library knows (LoRA, quantised, experts).
        """
        match = self._pattern.fullmatch(name)
        if match is None:
            return None
        if match["head"] == "weight":
            return "lm_head.weight"
        if match["body"] and is_lm_tensor(f"model.{match['body']}"):
            return f"model.{match['body']}"
        if match["body"] and _BUFFER.fullmatch(match["body"]):
            return None
        raise FamilyError(
            f"unknown LM tensor {name!r} in a {self.name} model; expected dense attention, MLP and norm weights. "
            "Merge adapters and dequantise first"
        )


_QWEN_VL = ("model", "model.language_model", "language_model.model")

FAMILIES: dict[str, Family] = {
    row.name: row
    for row in (
        Family("qwen2", "qwen2", ("model",)),
        Family("qwen3", "qwen3", ("model",)),
        Family("llama", "llama", ("model",)),
        Family("mistral", "mistral", ("model",)),
        Family("qwen2_vl", "qwen2", _QWEN_VL, ("lm_head", "language_model.lm_head"), "area"),
        Family("qwen2_5_vl", "qwen2", _QWEN_VL, ("lm_head", "language_model.lm_head"), "area"),
        Family("qwen3_vl", "qwen3", _QWEN_VL, ("lm_head", "language_model.lm_head"), "area"),
        Family(
            "llava_next",
            "llama",
            ("language_model.model", "model.language_model"),
            ("language_model.lm_head", "lm_head"),
            "grid",
        ),
        Family("idefics2", "mistral", ("model.text_model", "model.language_model"), sized_by="edges"),
    )
}


def get_family(name: str) -> Family:
    """The row of a family.

    Raises:
        FamilyError: no such family; names the closest.
    """
    if name not in FAMILIES:
        raise FamilyError(
            f"unknown model family {name!r}; {closest(name, FAMILIES)}. A family is one row in families.py"
        )
    return FAMILIES[name]


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a checkpoint folder.

    Raises:
        CheckpointError: the file is missing or no JSON object.
    """
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"no config.json in {folder}; expected a checkpoint folder as transformers saves it"
        ) from error
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds a {type(config).__name__}, expected a JSON object")
    return config


def family_of(source: Path | Mapping[str, Any]) -> Family:
    """The family of a checkpoint folder, or of a config given as a mapping, by `model_type` alone.

    Raises:
        FamilyError: `model_type` is missing or unknown.
    """
    config = source if isinstance(source, Mapping) else read_config(source)
    where = "the config" if isinstance(source, Mapping) else str(source)
    if "model_type" not in config:
        raise FamilyError(f"{where} has no model_type; {closest('', FAMILIES)}")
    return get_family(config["model_type"])


@dataclass(frozen=True)
class LMConfig:
    """The numbers of config.json that decide whether two LMs fit; None where the config does not say.

    `is_tied` is False where the config is silent: that is the default of every family here.
    """

    hidden_size: int | None
    num_hidden_layers: int | None
    num_attention_heads: int | None
    num_key_value_heads: int | None
    vocab_size: int | None
    rope_theta: float | None
    is_tied: bool


def lm_config(config: Mapping[str, Any]) -> LMConfig:
    """The LM's part of a config: under `text_config` in newer layouts, at the top in older ones.

    `rope_theta` is read from its old place (top level) and its new one (`rope_parameters`).
    """
    text = {**config, **(config.get("text_config") or {})}
    rope = {**(text.get("rope_scaling") or {}), **(text.get("rope_parameters") or {})}
    tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings"))
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size")
    theta = rope.get("rope_theta", text.get("rope_theta"))
    return LMConfig(**{size: text.get(size) for size in sizes}, rope_theta=theta, is_tied=bool(tied))


def lm_index(names: Iterable[str], family: Family) -> dict[str, str]:
    """{canonical name: the name as found} for the LM's tensors among `names`; the inverse of `Family.canonical`.

    Raises:
        FamilyError: no tensor of an LM layer among the names.
        CheckpointError: two names mean the same tensor.
    """
    found: dict[str, str] = {}
    first = None
    for name in names:
        first = first or name
        canonical = family.canonical(name)
        if canonical is None:
            continue
        if canonical in found:
            raise CheckpointError(
                f"{found[canonical]!r} and {name!r} are both {canonical!r}; a checkpoint spells it once"
            )
        found[canonical] = name
    if not any(name.startswith("model.layers.") for name in found):
        raise FamilyError(
            f"no LM layer of family {family.name} among the names (first: {first!r}); "
            f"expected a name such as '{family.lm[0]}.layers.0.self_attn.q_proj.weight'"
        )
    return found


def lm_parameters(model: "nn.Module", family: Family) -> "dict[str, nn.Parameter]":
    """{canonical name: parameter} of the LM inside a live model, wrapped or not; tied embeddings once, as embed_tokens.

    PEFT's adapters are left out, and what they wrap has its own name again (drift.adapters).

    Raises:
        FamilyError: the model holds no LM of this family.
    """
    parameters = {_WRAPPER.sub("", name): parameter for name, parameter in own_parameters(model).items()}
    return {canonical: parameters[name] for canonical, name in lm_index(parameters, family).items()}
