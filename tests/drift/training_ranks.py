"""Jobs one after another in the processes that torchrun starts, and which examples they saw.

`python -m torch.distributed.run ... training_ranks.py JOB.json ...`; DIE_AT in the environment kills rank 0 at that
step of the last job.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from drift.training.config import TrainingJob
from drift.training.data import ConversationDataset
from drift.training.rendezvous import Rendezvous
from drift.training.trainer import run_job

ALONE = Rendezvous()


def run(job: TrainingJob, die_at: int = 0) -> None:
    """Trains in this process, and leaves the numbers of the examples in the order in which they were asked for."""
    torch.set_num_threads(1)
    seen: list[int] = []
    fetch = ConversationDataset.__getitem__

    def fetched(dataset: ConversationDataset, index: int) -> dict[str, Tensor]:
        seen.append(index)
        return fetch(dataset, index)

    def die(line: Mapping[str, Any]) -> None:
        if line["step"] == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    ConversationDataset.__getitem__ = fetched
    try:
        run_job(job, die)
    finally:
        ConversationDataset.__getitem__ = fetch
    (job.out / f"seen-{os.environ.get('RANK', '0')}.json").write_text(json.dumps(seen))


def launch(jobs: Sequence[TrainingJob], meeting: Rendezvous = ALONE, processes: int = 2, die_at: int = 0) -> list[int]:
    """Runs the jobs in so many processes, below an agent of torchrun for each node of the meeting; their statuses."""
    files = [job.out.with_suffix(".json") for job in jobs]
    for job, file in zip(jobs, files, strict=True):
        job.write(file)
    command = [sys.executable, "-m", "torch.distributed.run", *meeting.torchrun(processes), __file__, *map(str, files)]
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "DIE_AT": str(die_at)}
    agents = [subprocess.Popen(command, env=environment) for _ in range(meeting.nodes)]
    return [agent.wait(240) for agent in agents]


def main(files: Sequence[str]) -> None:
    jobs = [TrainingJob.read(Path(file)) for file in files]
    for job in jobs:
        run(job, int(os.environ["DIE_AT"]) if job is jobs[-1] else 0)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
