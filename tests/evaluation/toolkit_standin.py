"""Stands for VLMEvalKit's runner: `toolkit_standin.py RUNNER commit` names it, `... RUNNER JOB` does a job.

Calls every answer right but that of item 2, whatever the checkpoint.
"""

import csv
import json
import sys
from pathlib import Path

COMMIT = "c" * 40


def main(job: dict) -> None:
    """A verdict an item, the status, and a folder of its own files."""
    out = Path(job["out"])
    for name in job["datasets"]:
        with (Path(job["lmu_data"]) / f"{name}.tsv").open(newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        lines = [{"index": r["index"], "correct": r["index"] != "2", "response": "r" + r["index"]} for r in rows]
        (out / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    status = {name: {"primary_metric": "acc", "metrics": {"acc": 83.3}} for name in job["datasets"]}
    (out / "toolkit.json").write_text(json.dumps({"commit": COMMIT, "datasets": status}))
    (out / "work").mkdir()
    (out / "work" / "link").symlink_to(out / "data")


if __name__ == "__main__":
    if sys.argv[2] == "commit":
        print(COMMIT)
    else:
        main(json.loads(Path(sys.argv[2]).read_text()))
