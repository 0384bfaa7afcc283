"""Process group and DeepSpeed: the only module that imports deepspeed, and the ZeRO config of a run.

Under torchrun or the deepspeed launcher the group comes from their environment. A process alone makes a group of one
over an in-memory store, so that it needs no launcher and no port.
Measured with deepspeed 0.19.8: the shared-memory op would compile for minutes on CPU at the first use, hence it is off;
CPUAdam likewise, hence torch's AdamW; bf16 with fp32 accumulation has no implementation in ZeRO 0.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import deepspeed
import torch
from torch import distributed

from drift.injection.shards import world_size
from drift.training.config import TrainingConfig

# Each of DeepSpeed's buckets is allocated in full (its default of 5e8 elements is 2 GB); a small model needs less.
LARGEST_BUCKET = 500_000_000


def start_process_group() -> None:
    """A process group exists afterwards: the launcher's, or one of this process alone. Idempotent."""
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if backend == "gloo":
        # The table is made at its first use by running a compiler once per op; only this entry is ever asked for here.
        vars(deepspeed.ops).setdefault("__compatible_ops__", {})["deepspeed_shm_comm"] = False
    if not distributed.is_initialized() and "WORLD_SIZE" not in os.environ:
        os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    if not distributed.is_initialized() and os.environ["WORLD_SIZE"] == "1":
        distributed.init_process_group(backend, store=distributed.HashStore(), rank=0, world_size=1)
    deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False, verbose=False)


def barrier() -> None:
    """Waits for every process."""
    if world_size() > 1:
        distributed.barrier()


def is_true_anywhere(flag: torch.Tensor) -> bool:
    """Whether a bool scalar holds on any rank, so that all of them raise the same error at the same step."""
    if world_size() > 1:
        flag = flag.to(torch.int32)
        distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
    return bool(flag)


def mend_loaded(optimizer: Any, decays: Sequence[float]) -> None:
    """What DeepSpeed 0.19.8 mixes up where ZeRO-3 takes a universal checkpoint.

    All parts get one step counter, which AdamW then raises once for each part; all groups the first one's weight decay.
    """
    for state in optimizer.state.values():
        if torch.is_tensor(state.get("step")):
            state["step"] = state["step"].clone()
    for group, decay in zip(optimizer.param_groups, decays, strict=True):
        group["weight_decay"] = decay


def total(count: int) -> int:
    """The sum over all processes."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sums = torch.tensor(count, device=device)
    distributed.all_reduce(sums)
    return int(sums)


def zero_config(config: TrainingConfig, model: Path, is_universal: bool = False) -> dict[str, Any]:
    """DeepSpeed's config for one run; batch sizes and clipping are filled in by transformers from its own arguments.

    Args:
        config: zero_stage, offload and precision are read.
        model: the checkpoint folder, whose size bounds the buckets.
        is_universal: the run goes on from a universal checkpoint.
    """
    shards = sum(shard.stat().st_size for shard in model.glob("*.safetensors"))
    bucket = min(LARGEST_BUCKET, max(shards, 1))
    zero: dict[str, Any] = {
        "stage": config.zero_stage,
        "reduce_bucket_size": bucket,
        "allgather_bucket_size": bucket,
        "contiguous_gradients": True,
        "overlap_comm": torch.cuda.is_available(),
        # true (as in LLaMA-Factory's ZeRO-2 config) makes DeepSpeed point a parameter at another's gradient
        "round_robin_gradients": False,
    }
    if config.zero_stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    if config.offload == "cpu":
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    fields: dict[str, Any] = {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": config.precision == "bf16"},
        "checkpoint": {"load_universal": is_universal},
    }
    if config.precision == "bf16" and config.zero_stage > 0:
        fields["data_types"] = {"grad_accum_dtype": "fp32"}
    return fields
