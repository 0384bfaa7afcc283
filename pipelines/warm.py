"""Imported once by the process that all stages are forked from, so that a stage starts in milliseconds.

Starting a process that imports torch, transformers and deepspeed costs more than a laboratory run. A fork of a warm,
single-threaded process has the imports and nothing else: no state of an earlier stage can leak into a later one.
"""

import gc
import os
import platform
import sys
from pathlib import Path

from drift.processes import die_with_parent
from pipelines.environment import DEFAULTS, OUTPUT, SCHEDULER

if OUTPUT in os.environ:  # what DeepSpeed and others print as they are imported is for a log, not for a screen
    die_with_parent()  # importing, half a minute on a busy machine, it would not see that the scheduler was killed
    if os.getppid() != int(os.environ[SCHEDULER]):
        sys.exit("the scheduler ended before this process could watch it")
    output = Path(os.environ[OUTPUT])
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
os.environ.update(DEFAULTS | os.environ)
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # else asking for CUDA here would forbid it in every fork
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import deepspeed.runtime.zero.muon.muon_optimizer  # pulls in torch's compiler: 6 CPU seconds with deepspeed 0.19
import transformers.models.qwen2_5_vl.modeling_qwen2_5_vl

import drift.training.trainer
import evaluation.engines.transformers
import pipelines.lab.vision
import pipelines.stages.evaluate
import pipelines.stages.models
import pipelines.stages.report
import pipelines.stages.train
import pipelines.stages.weights
import pipelines.worker

pipelines.worker.software()
platform.platform()  # starts a process the first time, and remembers
gc.freeze()  # the collector of a fork need not walk over what was imported here

__all__ = ["deepspeed", "drift", "evaluation", "pipelines", "transformers"]
