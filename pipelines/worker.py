"""Runs one call in a process of its own: checks its inputs, runs the stage, seals the artifact.

The stage's output goes to `log.txt` beside its files. A DriftError, or a disk that is full, comes back as a message;
anything else is a defect, and its traceback is in the log.
"""

import errno
import logging
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

from drift.errors import DriftError
from drift.processes import guard
from pipelines.fingerprint import canonical
from pipelines.stage import Runtime, Stage
from pipelines.store import LOG, Artifact, Store

log = logging.getLogger(__name__)
PACKAGES = ("torch", "transformers", "deepspeed", "accelerate", "datasets", "numpy", "pandas", "safetensors")


@dataclass(frozen=True)
class Job:
    """A call with everything resolved: what the worker process is sent."""

    stage: Stage
    fingerprint: str
    params: Any
    inputs: Mapping[str, Artifact]
    label: str


def main(job: Job, runtime: Runtime, reply: connection.Connection) -> None:
    """The body of the worker process: sends ("ok", "") or ("error", message); sends nothing on a defect."""
    scheduler = parent_process()
    guard(scheduler.is_alive if scheduler else None)
    try:
        store = Store(runtime.store)
        with store.holding(job.stage.name, job.fingerprint):
            if store.find(job.stage.name, job.fingerprint) is None:
                partial = store.partial(job.stage.name, job.fingerprint)
                partial.mkdir(exist_ok=True)
                _redirect_output(partial / LOG)
                run(job, runtime, partial)
        reply.send(("ok", ""))
    except DriftError as error:
        log.error("%s", error)
        reply.send(("error", f"{error}"))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        reply.send(("error", f"no space left on the disk of {runtime.store}; free some and start again: {error}"))


def run(job: Job, runtime: Runtime, partial: Path) -> Artifact:
    """Runs the stage in this process and seals its artifact."""
    for artifact in job.inputs.values():
        artifact.verify()
    _set_threads(runtime.threads)
    started, clock = datetime.now(UTC), time.perf_counter()
    inputs = {name: artifact.path for name, artifact in job.inputs.items()}
    values = job.stage.function()(job.params, runtime, inputs, partial)
    manifest = {
        "stage": job.stage.name,
        "version": job.stage.version,
        "fingerprint": job.fingerprint,
        "label": job.label,
        "params": canonical(job.params),
        "inputs": {name: artifact.fingerprint for name, artifact in job.inputs.items()},
        "values": canonical(values),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 2),
        "cpu_seconds": round(sum(os.times()[:4]), 2),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        **environment(),
    }
    return Store(runtime.store).commit(partial, manifest)


@cache
def environment() -> dict[str, Any]:
    """The code, packages and hardware at hand: recorded with each artifact, hashed into none."""
    root = Path(__file__).resolve().parent.parent
    git = ["git", "-C", str(root)]
    sha = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    dirty = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False).stdout
    return {
        "git": {"sha": sha or None, "dirty": bool(dirty.strip())},
        "packages": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "hardware": {"cpu": _cpu_model(), "cores": os.cpu_count(), "gpus": _gpus(), "system": platform.platform()},
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _redirect_output(path: Path) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    with open(path, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", force=True)
