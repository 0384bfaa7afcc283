"""Our merges against mergekit 0.1.5 on the same files, and the prior against our linear merge, as ratios.

Builds a bf16 Qwen2 pair and base of random weights in a scratch folder, then runs the programs as subprocesses in turn,
so that what else the machine does falls on all. CPU is user + system time of the child, import of torch included;
memory is the peak of anonymous memory (file pages that the kernel may drop are no cost), sampled every 20 ms. The prior
is taken over attention and MLP with norms and cosines, from the Hub's cache, where a file's name is its sha256, and
from plain folders, which it reads a second time for their sha256.

    make bench-merge
    python benchmarks/bench_merge.py --parameters 100e6 --rounds 1 --methods linear ties

mergekit runs under MERGEKIT_PYTHON (default .venv-mergekit/bin/python; `make setup-mergekit`).
"""

import argparse
import hashlib
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {"linear": 3.0, "task_arithmetic": 3.0, "ties": 5.0, "dare_linear": 2.0}
PRIOR_TARGET = 1.5  # of the CPU of our linear merge, at most
VARIANT = "mergekit"  # the same arithmetic on both sides

log = logging.getLogger("bench_merge")

_OURS = """
import json, sys
from drift.merging import merge_checkpoints
job = json.loads(sys.argv[1])
merge_checkpoints(job["method"], job["out"], mllm=job["mllm"], expert=job["expert"], base=job["base"],
                  variant="mergekit", **job["hyperparameters"])
"""

_PRIOR = """
import json, sys
from drift.prior import ReasoningPrior
job = json.loads(sys.argv[1])
ReasoningPrior.extract(job["{where}mllm"], job["{where}expert"], job["out"])
"""

_MERGEKIT = """
import json, sys
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
job = json.loads(sys.argv[1])
run_merge(MergeConfiguration.model_validate(job["config"]), job["out"],
          MergeOptions(copy_tokenizer=False, lazy_unpickle=True, random_seed=0, quiet=True))
"""


@dataclass(frozen=True)
class Run:
    """What one merge cost: seconds of CPU and wall, megabytes of anonymous memory at the peak."""

    cpu: float
    wall: float
    memory: float


def build_models(root: Path, parameters: float) -> dict[str, str]:
    """Three Qwen2 folders of about `parameters` parameters each: base, and two models near it."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    layer = 14.5e6  # of width 1024, eight heads' keys shared, MLP of 4096
    config = Qwen2Config(
        vocab_size=8192, hidden_size=1024, intermediate_size=4096, num_attention_heads=16, num_key_value_heads=2,
        num_hidden_layers=max(1, round((parameters - 2 * 8192 * 1024) / layer)), tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config).bfloat16()
    log.info("%.0fM parameters in %d layers", model.num_parameters() / 1e6, config.num_hidden_layers)
    folders = {}
    for role in ("base", "mllm", "expert"):
        if role != "base":
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter), alpha=2e-3)
        folders[role] = str(root / role)
        model.save_pretrained(folders[role])
    return folders


def mergekit_config(method: str, folders: dict[str, str], hyperparameters: dict[str, float]) -> dict:
    """The same merge in mergekit's words."""
    density = {"density": hyperparameters["density"]} if "density" in hyperparameters else {}
    models = [
        {"model": folders[role], "parameters": {"weight": hyperparameters[f"weight_{role}"]} | density}
        for role in ("mllm", "expert")
    ]
    config = {"merge_method": method, "models": models, "dtype": "float32", "out_dtype": "bfloat16"}
    return config | ({} if method == "linear" else {"base_model": folders["base"]})


def hyperparameters_of(method: str) -> dict[str, float]:
    """Table 9's of the method."""
    if method in ("linear", "task_arithmetic"):
        return {"weight_mllm": 0.9, "weight_expert": 0.1}
    return {"weight_mllm": 1.6, "weight_expert": 0.2, "density": 0.2}


def measure(command: list[str], scratch: Path) -> Run:
    """Runs a command to its end and reads its cost.

    Raises:
        RuntimeError: it failed; carries the end of its output.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    with open(scratch / "log.txt", "w+b") as output:
        began = time.perf_counter()
        child = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=scratch)
        peak = 0.0
        while True:
            found, status, usage = os.wait4(child.pid, os.WNOHANG)
            if found:
                break
            peak = max(peak, _anonymous_megabytes(child.pid))
            time.sleep(0.02)
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            output.seek(0)
            raise RuntimeError(f"{command[0]} failed: {output.read().decode()[-2000:]}")
    return Run(usage.ru_utime + usage.ru_stime, wall, peak)


def _anonymous_megabytes(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("RssAnon")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


def compare(method: str, folders: dict[str, str], scratch: Path, rounds: int) -> dict[str, list[Run]]:
    """`rounds` runs of each program, in turn."""
    chosen = hyperparameters_of(method)
    python = os.environ.get("MERGEKIT_PYTHON", str(ROOT / ".venv-mergekit" / "bin" / "python"))
    job = {"method": method, "hyperparameters": chosen, "config": mergekit_config(method, folders, chosen)} | folders
    return interleave(method, {"ours": _OURS, "mergekit": _MERGEKIT}, {"mergekit": python}, job, scratch, rounds)


def compare_prior(folders: dict[str, str], scratch: Path, rounds: int) -> dict[str, list[Run]]:
    """`rounds` runs of the extraction, from both kinds of folder, and of our linear merge, in turn."""
    job = {"method": "linear", "hyperparameters": hyperparameters_of("linear")} | folders
    cached = {f"cached_{role}": as_in_hub_cache(Path(folders[role]), scratch / "hub") for role in ("mllm", "expert")}
    scripts = {
        "prior, from the Hub's cache": _PRIOR.format(where="cached_"),
        "prior, from plain folders": _PRIOR.format(where=""),
        "linear": _OURS,
    }
    return interleave("prior", scripts, {}, job | cached, scratch, rounds)


def as_in_hub_cache(folder: Path, hub: Path) -> str:
    """A second name for a folder, laid out as huggingface_hub does: snapshots link to blobs named by their sha256."""
    blobs, snapshot = hub / folder.name / "blobs", hub / folder.name / "snapshots" / "0"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        with open(path, "rb") as file:
            blob = blobs / hashlib.file_digest(file, "sha256").hexdigest()
        blob.hardlink_to(path)
        (snapshot / path.name).symlink_to(blob)
    return str(snapshot)


def interleave(
    title: str, scripts: dict[str, str], pythons: dict[str, str], job: dict, scratch: Path, rounds: int
) -> dict[str, list[Run]]:
    """Each script's runs, in turn, each with an empty output folder; a script runs under our Python unless said."""
    programs = {name: [pythons.get(name, sys.executable), "-c", code] for name, code in scripts.items()}
    runs: dict[str, list[Run]] = {name: [] for name in programs}
    for turn in range(rounds):
        for name, command in programs.items():
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                out = str(Path(folder) / "out")
                runs[name].append(measure([*command, json.dumps(job | {"out": out})], scratch))
            log.info("%s round %d %s: %s", title, turn + 1, name, runs[name][-1])
    return runs


def row(method: str, runs: dict[str, list[Run]]) -> str:
    """One line of the table: medians, ranges and ratios of medians with the range over rounds."""
    cells = [method]
    for field, digits in (("cpu", 1), ("wall", 1), ("memory", 0)):
        ours, theirs = ([getattr(run, field) for run in runs[name]] for name in ("ours", "mergekit"))
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        cells += [_spread(ours, digits), _spread(theirs, digits), _spread(ratios, 1)]
    return "| " + " | ".join([*cells, f"{TARGETS[method]:.0f}"]) + " |"


def prior_table(runs: dict[str, list[Run]]) -> list[str]:
    """What the extraction costs beside our linear merge."""
    lines = [
        f"| run | CPU s | over linear (at most {PRIOR_TARGET}) | wall s | MB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, of in runs.items():
        ratios = [run.cpu / linear.cpu for run, linear in zip(of, runs["linear"], strict=True)]
        cells = [_spread([run.cpu for run in of], 1), _spread(ratios, 2)]
        cells += [_spread([run.wall for run in of], 1), _spread([run.memory for run in of], 0)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _spread(values: list[float], digits: int) -> str:
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    """Builds, measures, and prints one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parameters", type=float, default=800e6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=[*TARGETS, "prior"], choices=[*TARGETS, "prior"])
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    heads = [f"{what} {who}" for what in ("CPU s", "wall s", "MB") for who in ("ours", "mergekit", "ratio")]
    table: list[str] = []
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="bench-merge-") as root:
        folders = build_models(Path(root), options.parameters)
        merges = [method for method in options.methods if method != "prior"]
        if merges:
            table += ["| method | " + " | ".join(heads) + " | CPU target |", "| --- |" + " --- |" * 10]
            table += [row(method, compare(method, folders, Path(root), options.rounds)) for method in merges]
            table.append("")
        if "prior" in options.methods:
            table += prior_table(compare_prior(folders, Path(root), options.rounds))
    threads = os.environ.get("OMP_NUM_THREADS", "unset")
    sys.stdout.write(f"{options.parameters / 1e6:.0f}M parameters, bf16, {options.rounds} rounds, median (range); ")
    sys.stdout.write(
        f"{os.cpu_count()} CPUs, OMP_NUM_THREADS {threads}, {platform.machine()}, load {os.getloadavg()}\n\n"
    )
    sys.stdout.write("\n".join(table).rstrip() + "\n")


if __name__ == "__main__":
    main()
