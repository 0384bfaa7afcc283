"""How the examples of an optimizer step are divided over processes and passes: arithmetic on three numbers, no torch.

What is trained is a global batch, cut into micro batches of per_device_batch_size, one a pass. The cut is part of what
is computed: a pass's loss is the mean over its reply tokens and passes count alike (Qwen-VL under transformers), and an
injection may read each pass's gradient. How many processes share the passes out is not.
"""

from dataclasses import dataclass
from typing import Any

from drift.config import identity_of
from drift.errors import TrainingError
from drift.training.config import TrainingConfig


@dataclass(frozen=True)
class Division:
    """One optimizer step: each of `processes` makes `accumulation` passes over `per_device` examples."""

    processes: int
    per_device: int
    accumulation: int


def divide(training: TrainingConfig, processes: int) -> Division:
    """The passes that make up one optimizer step.

    Raises:
        TrainingError: the micro batches can't be shared out evenly; says what can.
    """
    total, size = training.global_batch, training.per_device_batch_size
    passes = _passes(training)
    if passes % processes:
        raise TrainingError(
            f"global_batch {total} is {passes} micro batches of per_device_batch_size {size}, which {processes} "
            f"processes can't share out: {_divisors(passes)} can; or take a per_device_batch_size that divides "
            f"{total}/{processes}, which is another training"
        )
    return Division(processes, size, passes // processes)


def identity(training: TrainingConfig) -> dict[str, Any]:
    """What decides the result, by name: the division is the one that a process alone would make."""
    fields = identity_of(training)
    del fields["global_batch"]
    return {**fields, "gradient_accumulation_steps": _passes(training)}


def _passes(training: TrainingConfig) -> int:
    return training.global_batch // training.per_device_batch_size


def _divisors(number: int) -> str:
    return ", ".join(str(each) for each in range(1, number + 1) if number % each == 0)
