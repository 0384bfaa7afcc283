"""What wandb is told, and how: a live run a training, one an evaluated checkpoint, one for the report.

    scheduler -> journal (a file) -> sidecar (a process of its own, the only one that imports wandb) -> recordings/wandb

The scheduler appends a line and goes on; the sidecar reads the metrics that trainings write, so no training knows of
it, whatever machine it runs on. A run's id is the fingerprint of what it shows: what is made again, taken up after a
kill, or sent twice is the same run.
"""

from pipelines.tracking.recorder import Recorder

__all__ = ["Recorder"]
