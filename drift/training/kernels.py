"""Faster kernels that a config may ask for: refused where they are not installed, or would be left out in silence."""

import importlib.util
from pathlib import Path

import torch
from transformers.utils import is_flash_attn_2_available

from drift.errors import TrainingError
from drift.families import family_of
from drift.training.config import TrainingConfig

# Liger's other kernels change the forward pass, and with it what the paper's numbers are compared with.
FUSED_CROSS_ENTROPY = {
    "fused_linear_cross_entropy": True,
    "cross_entropy": False,
    "rope": False,
    "rms_norm": False,
    "swiglu": False,
}


def check(config: TrainingConfig, model: Path) -> None:
    """Everything that the config asks for is there and knows the model.

    Raises:
        TrainingError: what is missing, and what to do.
    """
    if config.attn_implementation == "flash_attention_2" and not is_flash_attn_2_available():
        raise TrainingError(
            "attn_implementation is flash_attention_2, which needs a CUDA device and flash-attn "
            "(pip install flash-attn --no-build-isolation); sdpa needs neither"
        )
    if config.fused_cross_entropy:
        _check_liger(family_of(model).name)


def _check_liger(family: str) -> None:
    if not torch.cuda.is_available() or importlib.util.find_spec("liger_kernel") is None:
        raise TrainingError(
            "fused_cross_entropy needs a CUDA device and liger-kernel (pip install liger-kernel); without it the loss "
            "is torch's"
        )
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN

    if family not in MODEL_TYPE_TO_APPLY_LIGER_FN:
        raise TrainingError(
            f"liger-kernel has no fused cross-entropy for {family}; it would train without one and say nothing. "
            "Set fused_cross_entropy=false"
        )
