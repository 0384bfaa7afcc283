"""A scheduler and rank 0 in one process: recorded_training.py FOLDER PAUSE. Begun, it waits for its end at step PAUSE.

Taken up, it goes on from step 4, as a training does from its last checkpoint.
"""

import json
import sys
import time
from pathlib import Path

from recorded import METRICS, World

from drift.files import write_jsonl

if __name__ == "__main__":
    world = World(Path(sys.argv[1]))
    recorder, job = world.recorder(), world.job()
    partial = world.store.partial("train", job.fingerprint)
    out = partial / "model"
    is_first = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    recorder.started("key", job)
    if not is_first:
        write_jsonl(out / "metrics.jsonl", METRICS[:4])
    for line in METRICS if is_first else METRICS[4:]:
        with (out / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        if is_first and line["step"] >= int(sys.argv[2]):
            time.sleep(60)
    recorder(world.training())
    recorder.finish()
    sys.exit(bool(recorder.trouble))
