"""What the environment says unless the user does, set before torch is imported.

One compute thread a process: two stages side by side beat one stage on two threads, runs repeat bit for bit, and idle
OpenMP threads spin (a lab training takes 11 CPU seconds with one thread, 144 to 211 without the variable).
"""

import os

DEFAULTS = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
OUTPUT = "DRIFT_WARM_LOG"  # the file for what libraries say in the process that stages are forked from
SCHEDULER = "DRIFT_WARM_SCHEDULER"  # the process whose end is that process's end too


def set_defaults() -> None:
    """Sets what is not set; children inherit it."""
    os.environ.update(DEFAULTS | os.environ)
