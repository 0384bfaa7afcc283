"""One process of a training job: `python -m drift.training.worker job.json`, under torchrun, deepspeed or alone.

An error that the user can mend is one line from rank 0 and exit status 2. It is also written to error.txt beside
job.json, since launchers print their own trace over it.
"""

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from drift.errors import DriftError
from drift.files import write_whole
from drift.processes import die_with_parent
from drift.training.config import TrainingJob
from drift.training.conversations import read_conversations

log = logging.getLogger(__name__)

ERROR_STATUS = 2
ERROR_FILE = "error.txt"


def main(arguments: list[str]) -> int:
    """Runs the job file; 0, or 2 after an error that was reported."""
    if "LOCAL_RANK" in os.environ:  # of a launcher, which would leave its ranks to train on where it is killed
        die_with_parent()
    logging.basicConfig(level=logging.INFO if _is_first() else logging.WARNING, format="%(message)s")
    # The deepspeed launcher adds --local_rank unless told not to; its environment says the same.
    arguments = [argument for argument in arguments if not argument.startswith("--local_rank")]
    if len(arguments) != 1:
        log.error("usage: python -m drift.training.worker job.json (found %d arguments)", len(arguments))
        return ERROR_STATUS
    path = Path(arguments[0])
    try:
        _run(path)
    except DriftError as error:
        _report(path.parent, error)
        return ERROR_STATUS
    return 0


def _run(path: Path) -> None:
    job = TrainingJob.read(path)
    read_conversations(job.data)
    # Heavy modules only once the job and its data are known to be readable.
    from torch import distributed

    from drift.training.trainer import run_job

    run_job(job)
    distributed.destroy_process_group()


def _report(folder: Path, error: DriftError) -> None:
    line = " ".join(f"{type(error).__name__}: {error}".split())
    if _is_first():
        log.error(line)
    if folder.is_dir():
        write_whole(folder / ERROR_FILE, line + "\n")


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def leave(status: int) -> NoReturn:
    """Ends the process without tearing the interpreter down.

    Native threads that wait for the interpreter's lock can abort a process that is already done ("terminate called
    without an active exception", seen once on two gloo processes): a finished training would count as failed.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
