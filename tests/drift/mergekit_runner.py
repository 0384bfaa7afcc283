"""Runs merges with mergekit, under the interpreter that has it: `python mergekit_runner.py jobs.json`.

jobs.json: [{"config": mergekit's YAML as JSON, "out": folder}, ...]. Not a test: test_merging_mergekit.py calls it.
"""

import json
import sys
from pathlib import Path

import torch
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions

torch.set_num_threads(1)
options = MergeOptions(copy_tokenizer=False, random_seed=0, quiet=True, write_model_card=False)
for job in json.loads(Path(sys.argv[1]).read_text()):
    run_merge(MergeConfiguration.model_validate(job["config"]), job["out"], options)
