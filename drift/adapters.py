"""PEFT seen from outside: which parameters are the model's own, under its own names, and which are an adapter's.

An adapter moves W by factors of its own (LoRA: W = W0 + s B A) and leaves W0 frozen, so that dL/dW, which the injection
adds to, is never formed. A module that PEFT trains whole (`modules_to_save`) has it, as do biases (`bias="all"`).
"""

import re
import sys
from typing import TYPE_CHECKING

from drift.errors import CoverageError

if TYPE_CHECKING:
    from torch import nn

# What PEFT puts between a module's name and its weights.
_BETWEEN = re.compile(r"\.(?:base_layer|original_module|token_adapter|modules_to_save\.[^.]+)(?=\.)")


def own_parameters(model: "nn.Module") -> "dict[str, nn.Parameter]":
    """{name without what PEFT adds to it: parameter} of all but the adapters' factors.

    Where a module is trained whole, its trained copy stands in place of the frozen original.

    Raises:
        CoverageError: two copies of one module are trained.
    """
    tuners = sys.modules.get("peft.tuners.tuners_utils")  # a model can only have adapters if PEFT was imported
    layers = [m for m in model.modules() if tuners is not None and isinstance(m, vars(tuners)["BaseTunerLayer"])]
    factors = {id(p) for layer in layers for name, p in layer.named_parameters() if not name.startswith("base_layer.")}
    own: dict[str, nn.Parameter] = {}
    for name, parameter in model.named_parameters():
        plain = _BETWEEN.sub("", name)
        if id(parameter) in factors or (plain in own and not parameter.requires_grad):
            continue
        if plain in own and own[plain].requires_grad:
            raise CoverageError(f"two trained copies of {plain!r}, one of them {name!r}; activate one PEFT adapter")
        own[plain] = parameter
    return own


def adapters_of(model: "nn.Module") -> list[str]:
    """Each adapter as `name (kind)`, such as "default (LORA)"; empty for a model without PEFT."""
    found: dict[str, str] = {}
    for module in model.modules():
        configs = vars(module).get("peft_config") or vars(module).get("_peft_config") or {}
        found |= {name: f"{name} ({config.peft_type.value})" for name, config in configs.items()}
    return list(found.values())


def inside_peft(module: "nn.Module") -> "list[nn.Module]":
    """What a PeftModel or its tuner wraps; empty for anything else."""
    if type(module).__module__.split(".")[0] != "peft":
        return []
    return [child for name, child in module.named_children() if name in ("base_model", "model")]
