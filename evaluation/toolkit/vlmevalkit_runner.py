"""Runs inside VLMEvalKit's own environment, as `python vlmevalkit_runner.py JOB.json`: never imported by this project.

As `vlmevalkit_runner.py commit` it prints the toolkit's commit, without an argument how many models the toolkit knows.

It registers one model, a checkpoint folder or a file of responses, and hands over to the toolkit's own run.py: the
toolkit builds the prompts, loops over the items, writes its files and scores them. Afterwards the verdict on each item
is read from the toolkit's files, and its own tables are kept beside them.
"""

import importlib.util
import json
import os
import runpy
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path


def toolkit_commit():
    """The commit of the toolkit's source, `-dirty` added where it was changed; exits where there is none."""
    found = importlib.util.find_spec("vlmeval")
    if found is None or found.origin is None:
        sys.exit("vlmeval is not installed there")
    source = Path(found.origin).resolve().parents[1]

    def git(*words):
        return subprocess.run(["git", "-C", str(source), *words], capture_output=True, text=True, check=False).stdout

    # A copy in site-packages may lie inside another repository, whose commit says nothing about it.
    if git("rev-parse", "--show-toplevel").strip() != str(source):
        sys.exit(f"{source} is no git checkout")
    changed = git("status", "--porcelain", "--untracked-files=no").strip()
    return git("rev-parse", "HEAD").strip() + ("-dirty" if changed else "")


if sys.argv[1:] == ["commit"]:
    sys.stdout.write(toolkit_commit() + "\n")
    sys.exit()

JOB = json.loads(Path(sys.argv[1]).read_text()) if len(sys.argv) > 1 else {}
MODEL_NAME = "checkpoint"
# Read by the toolkit when it is imported. xlsx, its default, cuts a prediction at 32,767 characters; with json its
# scorers fail (commit e8e78f05: a file is read back as a list where they expect a table).
os.environ |= {"LMUData": JOB.get("lmu_data", ""), "PRED_FORMAT": "tsv", "HF_HUB_OFFLINE": "1"}

import torch  # noqa: E402

try:
    import torchvision  # noqa: F401
except RuntimeError:
    # The package index pairs a CPU torch with a torchvision built for CUDA: its operators don't load, and the import
    # fails on their names. Neither the toolkit's scoring nor our model calls them, so empty ones do.
    LIBRARY = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]

import vlmeval  # noqa: E402
from vlmeval.config import supported_VLM  # noqa: E402
from vlmeval.smp import load  # noqa: E402
from vlmeval.vlm.base import BaseModel  # noqa: E402


class Checkpoint(BaseModel):
    """Answers the toolkit's messages with our engine, or with stored responses by index."""

    INTERLEAVE = True

    def __init__(self, job):
        super().__init__()
        self._job = job
        self._index = ""
        self._responses = {}
        if job["responses"]:  # no model is loaded; every import of ours waits until it is needed
            from evaluation.data.predictions import read_predictions

            self._responses = read_predictions(Path(job["responses"]))
        else:
            from evaluation.engines.base import GenerationSettings
            from evaluation.engines.config import TransformersConfig, load_engine

            settings = GenerationSettings(**job["engine"].pop("settings"))
            self._config = TransformersConfig(**job["engine"], settings=settings)
            self._engine = load_engine(self._config, job["model"])

    def use_custom_prompt(self, dataset):
        """Lab tables carry our prompt; stored responses need the item's index, which only a custom prompt gets."""
        return bool(self._job["prompt_column"] or self._responses)

    def build_prompt(self, line, dataset=None):
        """The images, then our prompt."""
        self._index = str(line["index"])
        images = [{"type": "image", "value": path} for path in self.dump_image(line, dataset)]
        return [*images, {"type": "text", "value": str(line[self._job["prompt_column"] or "question"])}]

    def generate_inner(self, message, dataset=None):
        """The response to one item."""
        if self._responses:
            return self._responses[self._index]
        from evaluation.engines.base import Request

        images = tuple(Path(part["value"]).read_bytes() for part in message if part["type"] == "image")
        text = "\n".join(part["value"] for part in message if part["type"] == "text")
        [response] = self._engine.generate([Request("0", text, images)], self._config.settings)
        return response.text


def main() -> None:
    """Run the toolkit on the job's data sets and write one line an item to `out`/<data set>.jsonl."""
    threading.Thread(target=end_with_the_caller, daemon=True).start()
    for cls in vlmeval.dataset.DATASET_CLASSES:  # a table with another md5 than the published one would be downloaded
        ours = set(JOB["datasets"]) & set(cls.supported_datasets())
        if ours:
            cls.DATASET_MD5 = {name: md5 for name, md5 in cls.DATASET_MD5.items() if name not in ours}
    supported_VLM[MODEL_NAME] = partial(Checkpoint, job=JOB)
    script = Path(vlmeval.__file__).parents[1] / "run.py"
    sys.argv = [str(script), "--data", *JOB["datasets"], "--model", MODEL_NAME, "--work-dir", JOB["work"]]
    sys.argv += ["--judge", JOB["judge"], "--api-nproc", "4", "--judge-retry", "2"]
    if JOB["judge_url"]:
        sys.argv += ["--judge-base-url", JOB["judge_url"]]
        sys.argv += ["--judge-key", os.environ.get(JOB["judge_key_env"], "") or "none"]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")
    write_provenance(Path(JOB["out"]))
    for dataset in JOB["datasets"]:
        write_verdicts(dataset, Path(JOB["work"]) / MODEL_NAME, Path(JOB["out"]) / f"{dataset}.jsonl")


def end_with_the_caller():
    """Whoever started this run holds the other end of standard input; once that is closed nobody wants the result."""
    while os.read(0, 1024):
        pass
    os._exit(1)


def write_verdicts(dataset: str, folder: Path, out: Path) -> None:
    """{index, response, extraction, correct} of every item, from the toolkit's scored file."""
    table = scored_table(dataset, folder)
    with out.open("w") as stream:
        for _, row in table.iterrows():
            line = {
                "index": str(row["index"]),
                "response": str(row["prediction"]),
                "extraction": next((str(row[name]) for name in ("res", "extract", "log") if name in table), None),
                "correct": is_correct(dataset, row),
            }
            stream.write(json.dumps(line) + "\n")


def scored_table(dataset: str, folder: Path):
    """The toolkit's file with one row an item and its verdict or its judge's extraction."""
    candidates = sorted(folder.rglob(f"{MODEL_NAME}_{dataset}*.tsv"), key=lambda path: -len(path.name))
    for path in candidates:
        table = load(str(path))
        if hasattr(table, "columns") and {"index", "prediction"} <= set(table.columns):
            table.columns = [str(name) for name in table.columns]
            if {"hit", "score", "res"} & set(table.columns):
                return table
    sys.exit(f"the toolkit left no scored table of {dataset} in {folder}; it has {[path.name for path in candidates]}")


def is_correct(dataset: str, row) -> bool:
    """The toolkit's verdict on one item: as it stored it, else by the very function that it sums up with."""
    for name in ("hit", "score"):
        if name in row:
            return str(row[name]).lower() in {"true", "1", "1.0"}
    if dataset.startswith("MathVista"):
        from vlmeval.dataset.utils.mathvista import post_check
    else:
        from vlmeval.dataset.utils.mathv import post_check
    return bool(post_check(row, prefetch=False))


def write_provenance(out: Path) -> None:
    """The toolkit's own status file, with its metrics, and the commit of its source."""
    reports = sorted((Path(JOB["work"]) / MODEL_NAME).glob("*/status.json"))
    record = {"commit": toolkit_commit(), "judge": JOB["judge"], "datasets": {}}
    if reports:
        record["datasets"] = json.loads(reports[-1].read_text())["datasets"]
    (out / "toolkit.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    if JOB:
        main()
    else:  # a check that the toolkit can be imported at all
        sys.stdout.write(f"{len(supported_VLM)} models known\n")
