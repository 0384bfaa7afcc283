"""Runs one call in a process of its own: checks its inputs, runs the stage, seals the artifact.

`python -m pipelines.worker JOB.json` does so on any machine that sees the store; doing it twice is doing it once. The
only reply is the store: an artifact, or an error file for a DriftError or a full disk. Anything else is a defect, and
its traceback is in `log.txt` beside the stage's files.
"""

import errno
import logging
import os
import platform
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from multiprocessing import connection, parent_process
from pathlib import Path
from types import FrameType
from typing import Any

from drift.errors import DriftError
from drift.files import write_whole
from drift.processes import die_with_parent, guard
from pipelines import job as jobs
from pipelines.environment import set_defaults
from pipelines.fingerprint import canonical
from pipelines.integrity import LINKS
from pipelines.job import Job
from pipelines.stage import Runtime
from pipelines.staleness import behind
from pipelines.store import LOG, Artifact, Store

log = logging.getLogger(__name__)
ERROR_STATUS = 2
PACKAGES = ("torch", "transformers", "deepspeed", "accelerate", "datasets", "numpy", "pandas", "safetensors")


def main(job: Job, runtime: Runtime, environment: Mapping[str, str]) -> None:
    """The body of a worker process that was forked for one job.

    It ends with the scheduler, and leads a group of its own so that a Ctrl-C does not reach it before the scheduler
    does. A guardian would be a second fork of a process of a gigabyte, a tenth of a second a call; so what a stage
    starts must be started below one (`drift.processes.guarded`).
    """
    os.setsid()
    die_with_parent()
    threading.Thread(target=_die_with_scheduler, daemon=True).start()
    os.environ.update(environment)
    _leave_on_request()
    sys.exit(work(job, runtime))


def _die_with_scheduler() -> None:
    """The process that forked this one outlives the scheduler for a second or two."""
    scheduler = parent_process()
    if scheduler is not None:
        connection.wait([scheduler.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)


def work(job: Job, runtime: Runtime) -> int:
    """Makes the artifact unless it is there; an error goes into the store's error file. The exit status."""
    store = Store(runtime.store)
    error_file = store.error(job.stage.name, job.fingerprint)
    try:
        with store.holding(job.stage.name, job.fingerprint):
            error_file.unlink(missing_ok=True)
            found = store.claim(job.stage.name, job.fingerprint, job.inputs)
            if found is None or found.evicted or job.wanted.word(found, store) in ("stale", "forced"):
                begun_by = "" if job.wanted.trusts else job.wanted.digest
                partial = store.begin(job.stage.name, job.fingerprint, begun_by)
                _redirect_output(partial / LOG)
                run(job, runtime, partial)
    except DriftError as error:
        log.error("%s", error)
        write_whole(error_file, f"{error}")
        return ERROR_STATUS
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        write_whole(error_file, f"no space left on the disk of {store.root}; free some and start again: {error}")
        return ERROR_STATUS
    return 0


def run(job: Job, runtime: Runtime, partial: Path) -> Artifact:
    """Runs the stage in this process and seals its artifact."""
    store = Store(runtime.store)
    for artifact in job.inputs.values():
        store.check(artifact)
    _set_threads(runtime.threads)
    started, clock = datetime.now(UTC), time.perf_counter()
    inputs = {name: artifact.path for name, artifact in job.inputs.items()}
    values = job.stage.function()(job.params, runtime, inputs, partial)
    code = job.wanted.sealed(job.stage.run)
    manifest = {
        "stage": job.stage.name,
        "version": job.stage.version,
        "fingerprint": job.fingerprint,
        "label": job.label,
        "params": canonical(job.params, whole=True),
        "inputs": {name: artifact.fingerprint for name, artifact in job.inputs.items()},
        LINKS: {name: artifact.content for name, artifact in job.inputs.items()},
        "values": canonical(values),
        **code,
        **behind(job.stage.name, code, job.inputs.values()),
        **job.about,
        "started": started.isoformat(timespec="milliseconds"),
        "seconds": round(time.perf_counter() - clock, 2),
        "cpu_seconds": round(sum(os.times()[:4]), 2),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "place": {"host": platform.node(), "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", "")},
        **environment(),
    }
    return store.commit(partial, manifest)


def environment() -> dict[str, Any]:
    """The code, packages and hardware at hand: recorded with each artifact, hashed into none."""
    hardware = {"cpu": _cpu_model(), "cores": os.cpu_count(), "gpus": _gpus(), "system": platform.platform()}
    return {**software(), "hardware": hardware}


@cache
def software() -> dict[str, Any]:
    """The code's commit and the packages' versions, read once for all forks of a process (`pipelines.warm`)."""
    return {
        "git": revision(Path(__file__).resolve().parent.parent),
        "packages": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
    }


def revision(root: Path) -> dict[str, Any]:
    """A checkout's commit, and whether there are changes beside it: results are none, a run that ends writes them."""
    git = ["git", "-C", str(root)]
    sha = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    status = [*git, "status", "--porcelain", "--", ".", ":(exclude)results"]
    dirty = subprocess.run(status, capture_output=True, text=True, check=False).stdout
    return {"sha": sha or None, "dirty": bool(dirty.strip())}


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _leave_on_request() -> None:
    """SIGTERM ends the process by way of its `finally` blocks, so that its lease is free at once on every host."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def _redirect_output(path: Path) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    with open(path, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", force=True)


if __name__ == "__main__":
    set_defaults()
    guard()
    _leave_on_request()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    sys.exit(work(*jobs.read(Path(sys.argv[1]))))
