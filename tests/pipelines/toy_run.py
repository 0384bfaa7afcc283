"""A scheduler in a process of its own, for tests that kill it: python toy_run.py STORE BEHAVIOUR [ROWS [GPUS]]."""

import logging
import sys
from pathlib import Path

from toy_stages import toy

from pipelines.executors.local import Local
from pipelines.scheduler import Scheduler
from pipelines.session import guarded
from pipelines.stage import Runtime


def main() -> int:
    count, gpus = map(int, [*sys.argv[3:], *("6", "0")[len(sys.argv) - 3 :]])
    rows = [toy(float(value), behaviour=sys.argv[2], gpus=gpus) for value in range(count)]
    runtime = Runtime(Path(sys.argv[1]))
    Scheduler(runtime, Local(runtime, 2), lambda artifact: None).execute([toy(6.0, *rows)])
    return 0


if __name__ == "__main__":
    logging.disable()
    sys.exit(guarded(main))
