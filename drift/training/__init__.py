"""Full fine-tuning of an MLLM's language model: data, DeepSpeed set-up, checkpoints. Light to import; see trainer."""

from collections.abc import Callable, Mapping
from typing import Any

from drift.training.config import InjectionConfig, TrainingConfig, TrainingJob, TrainingResult

__all__ = ["InjectionConfig", "TrainingConfig", "TrainingJob", "TrainingResult", "run_job"]


def run_job(job: TrainingJob, on_metrics: Callable[[Mapping[str, Any]], None] | None = None) -> TrainingResult:
    """Trains in this process; see drift.training.trainer.run_job, which imports torch and DeepSpeed."""
    from drift.training.trainer import run_job as run

    return run(job, on_metrics)
