"""Whether this machine's GPU does what the full run asks of it, and how fast: `make gpu-check`, minutes, one JSON.

A random Qwen2.5-VL as large as fits is trained for a few steps, by plain SFT and with the injection, under ZeRO-2 and
3, and under ZeRO-2 also in the release's way (a hook per parameter with the whole Delta); the trained checkpoint is
opened again and asked, by vLLM too where that is set up; TIES and TSV-Merge run on the device and are compared with
the CPU. Each part is a process of its own, so that its peak of memory is its own. Any fault ends it with status 1 and
stands in the JSON. On the CPU (--device cpu) all of it runs on a tiny model, to show that the check itself works.

    python benchmarks/gpu_check.py --out gpu-check.json
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from bench_injection import release_hooks

from drift import ReasoningPrior
from drift.checkpoints import Checkpoint
from drift.families import get_family
from drift.merging.config import get_method, resolve_hyperparameters
from drift.merging.methods import merge_tensors
from drift.sources import open_source
from drift.training.config import InjectionConfig, TrainingConfig, TrainingJob
from evaluation.engines.base import EngineError, GenerationSettings, Request
from evaluation.engines.config import TransformersConfig, VLLMConfig, load_engine
from evaluation.engines.vllm import executable
from pipelines.rehearsal import hub
from pipelines.rehearsal.cut import cut
from pipelines.rehearsal.facts import facts

MLLM, EXPERT = "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-7B"
# Weights, gradients, their fp32 sums, master weights, two moments, a resident Delta: bytes for each trained parameter.
BYTES_A_PARAMETER = 22
SHARE_FOR_STATES = 0.7  # of the memory; activations and logits get the rest
WIDTHS: Mapping[str, Mapping[str, Any]] = {
    "7B": {},
    "3B": {"hidden_size": 2048, "intermediate_size": 11008, "num_attention_heads": 16, "num_key_value_heads": 2},
    "1B": {"hidden_size": 1536, "intermediate_size": 8960, "num_attention_heads": 12, "num_key_value_heads": 2},
}
FEWEST_LAYERS = 4
WAYS = (("sft", 2), ("release", 2), ("drift", 2), ("sft", 3), ("drift", 3))
EXAMPLE_REPEATS = 60  # of a reply's line: about 800 tokens
MERGES = ("ties", "tsv")
CLOSE = 1e-3  # of a merged tensor's largest entry


def fitting(memory: float) -> tuple[str, dict[str, Any]]:
    """The widest Qwen2.5-VL of which at least four layers train in so many bytes, and its config."""
    room = memory * SHARE_FOR_STATES / BYTES_A_PARAMETER
    for name, widths in WIDTHS.items():
        config = deepcopy(dict(facts(MLLM).config)) | widths
        config["tie_word_embeddings"] = name != "7B"
        config["vision_config"]["out_hidden_size"] = config["hidden_size"]
        heads = 1 if config["tie_word_embeddings"] else 2
        layers = int((room - heads * config["vocab_size"] * config["hidden_size"]) / _layer(config))
        if layers >= FEWEST_LAYERS:
            config["num_hidden_layers"] = min(layers, facts(MLLM).config["num_hidden_layers"])
            return name, config
    return "tiny", cut(facts(MLLM).config)


def _layer(config: Mapping[str, Any]) -> int:
    """Parameters of one layer of the LM, to a thousandth."""
    width, head = config["hidden_size"], config["hidden_size"] // config["num_attention_heads"]
    return int(width * (2 * width + 2 * config["num_key_value_heads"] * head + 3 * config["intermediate_size"]))


def write_world(config: Mapping[str, Any], folder: Path, steps: int) -> None:
    """MLLM, expert, prior and data."""
    for name, repo in (("mllm", MLLM), ("expert", EXPERT)):
        known = facts(repo)
        own = {key: config[key] for key in known.config if key in config} | _text(known.config)
        (folder / name).mkdir()
        hub.write_checkpoint(known, config if name == "mllm" else own, folder / name)
    ReasoningPrior.extract(folder / "mllm", folder / "expert", folder / "prior")
    hub.write_data(folder / "data", steps, EXAMPLE_REPEATS)


def _text(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: config[key] for key in ("architectures", "model_type")}


def train(folder: Path, way: str, stage: int) -> dict[str, Any]:
    """One training in this process: its summary, tokens a second, and the peak of the device's memory."""
    from drift.training import run_job, trainer

    schedule = TrainingConfig(epochs=1, zero_stage=stage, save_steps=0, logging_steps=5, image_backend="pil")  # type: ignore[arg-type]
    injection = InjectionConfig(scale="adaptive", semantics="micro_batch") if way == "drift" else InjectionConfig()
    out = folder / f"{way}-{stage}"
    job = TrainingJob(folder / "mllm", folder / "data" / "train.json", out, folder / "prior", schedule, injection)
    if way == "release":
        trainer._observer = _hooked
    result = run_job(replace(job, prior=None) if way == "sft" else job)
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return asdict(result) | {"tokens_per_s": result.tokens / result.seconds, "peak_bytes": peak}


def _hooked(job: TrainingJob, trainer: Any) -> None:
    """The release's hooks on a Trainer's model, in place of our observer."""
    family = get_family("qwen2_5_vl")
    named = ((family.canonical(name), parameter) for name, parameter in trainer.model.named_parameters())
    assert job.prior is not None
    release_hooks({name: parameter for name, parameter in named if name}, ReasoningPrior.load(job.prior))()


def generate(folder: Path, device: str) -> dict[str, Any]:
    """The trained checkpoint opened again and asked, in batches of eight: tokens a second, and how many answers."""
    settings = GenerationSettings(max_new_tokens=64 if device != "cpu" else 8, batch_size=8)
    config = TransformersConfig("transformers", settings, "bfloat16", "pil", device)
    engine = load_engine(config, folder / "drift-2")
    asked = [Request(str(n), f"Which number is in picture {n}?", (hub.strip(str(n)),)) for n in range(8)]
    list(engine.generate(asked, replace(settings, max_new_tokens=2)))
    started = time.perf_counter()
    said = list(engine.generate(asked, settings))
    seconds = time.perf_counter() - started
    return {"answers": len(said), "tokens_per_s": sum(answer.tokens or 0 for answer in said) / seconds}


def agree(folder: Path, device: str) -> dict[str, Any]:
    """vLLM's answers from the trained checkpoint, beside transformers': how many there are, and how many are equal.

    Random weights make near ties of every token, so that only the number of answers is a fault.
    """
    settings = GenerationSettings(max_new_tokens=16, batch_size=8)
    asked = [Request(str(n), f"Which number is in picture {n}?", (hub.strip(str(n)),)) for n in range(8)]
    said = []
    for config in (
        VLLMConfig("vllm", settings, "bfloat16", memory_share=0.6, max_model_len=4096),
        TransformersConfig("transformers", settings, "bfloat16", "pil", device),
    ):
        with load_engine(config, folder / "drift-2").opened(folder) as engine:
            said.append({answer.index: answer.text for answer in engine.generate(asked, settings)})
    return {"answers": len(said[0]), "equal": sum(said[0][index] == text for index, text in said[1].items())}


def has_vllm() -> bool:
    """Whether `make setup-vllm` was run."""
    try:
        return bool(executable(VLLMConfig.command))
    except EngineError:
        return False


def merge(folder: Path, device: str) -> dict[str, Any]:
    """Each merge of one layer on the device: bytes of the MLLM a second, and how far the CPU's result is from it."""
    sides = {name: open_source(folder / name) for name in ("mllm", "expert")}
    names = [name for name in sides["expert"].index if name.startswith("model.layers.0.")]
    on_cpu = {
        side: {name: source.checkpoint.read(source.index[name]) for name in names} for side, source in sides.items()
    }
    on_cpu["base"] = {name: (tensor * 0.5).to(tensor.dtype) for name, tensor in on_cpu["mllm"].items()}
    found = {}
    for word in MERGES:
        method = get_method(word, "paper")
        chosen = resolve_hyperparameters(method, {})
        expected = merge_tensors(method, chosen, *on_cpu.values())
        placed = [{name: tensor.to(device) for name, tensor in side.items()} for side in on_cpu.values()]
        started = time.perf_counter()
        merged = {name: tensor.cpu() for name, tensor in merge_tensors(method, chosen, *placed).items()}
        seconds = time.perf_counter() - started
        size = sum(tensor.nbytes for tensor in on_cpu["mllm"].values())
        gap = max(float((merged[n] - t).abs().max() / t.abs().max().clamp_min(1e-12)) for n, t in expected.items())
        found[word] = {"bytes_per_s": size / seconds, "gap": gap}
    return found


def part(arguments: argparse.Namespace, folder: Path, *words: str) -> dict[str, Any]:
    """One part in a process of its own; what it printed last, or the end of what it said."""
    command = [sys.executable, __file__, "--device", arguments.device, "--folder", str(folder), "--part", *words]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if arguments.device == "cpu" else {}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | hidden)
    if done.returncode:
        return {"fault": " ".join(done.stderr.split())[-1500:]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def check(arguments: argparse.Namespace) -> dict[str, Any]:
    """All parts, and what is wrong with them."""
    is_cuda = arguments.device != "cpu"
    memory = torch.cuda.get_device_properties(0).total_memory if is_cuda else 0.0
    size, config = fitting(memory)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as name:
        folder = Path(name)
        write_world(config, folder, arguments.steps)
        found = {f"{way} zero{stage}": part(arguments, folder, "train", way, str(stage)) for way, stage in WAYS}
        found["generate"] = part(arguments, folder, "generate")
        found["merge"] = part(arguments, folder, "merge")
        if is_cuda and has_vllm():
            found["vllm"] = part(arguments, folder, "agree")
        checkpoint = Checkpoint(folder / "mllm")
        parameters = sum(checkpoint.spec(name).numel for name in checkpoint.names)
    faults = faults_of(found, arguments.steps)
    result = {
        "device": torch.cuda.get_device_name(0) if is_cuda else f"cpu {platform.machine()}",
        "memory_bytes": memory,
        "torch": torch.__version__,
        "size": size,
        "layers": config["num_hidden_layers"],
        "parameters": parameters,
        "faults": faults,
        "parts": found,
    }
    return result if faults else result | rates(found)


def faults_of(found: Mapping[str, Mapping[str, Any]], steps: int) -> list[str]:
    """What is not as it should be, by part."""
    faults = [f"{name}: {row['fault']}" for name, row in found.items() if "fault" in row]
    for name, row in found.items():
        if "loss" in row and (not math.isfinite(row["loss"]) or row["steps"] != steps):
            faults.append(f"{name}: loss {row['loss']} after {row['steps']} steps of {steps}")
        if name.startswith("drift") and "loss" in row and not 0 < row["covered"] == row["expected"]:
            faults.append(f"{name}: the prior covers {row['covered']} of {row['expected']} parameters")
    for name in ("generate", "vllm"):
        if found.get(name, {}).get("answers", 8) != 8:
            faults.append(f"{name}: {found[name]['answers']} answers of 8")
    for word, row in found["merge"].items() if "fault" not in found["merge"] else ():
        if row["gap"] > CLOSE:
            faults.append(f"merge: {word} on the device differs from the CPU by {row['gap']:.1e} of the largest entry")
    return faults


def rates(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the plan's costs are calibrated by, and what the injection adds to plain SFT."""
    plain = found["sft zero2"]
    return {
        "train_tokens_per_s": found["drift zero2"]["tokens_per_s"],
        "generate_tokens_per_s": found["generate"]["tokens_per_s"],
        "merge_bytes_per_s": found["merge"]["ties"]["bytes_per_s"],
        "overhead": {way: found[f"{way} zero2"]["seconds"] / plain["seconds"] for way in ("release", "drift")},
        "memory_added": {
            way: found[f"{way} zero2"]["peak_bytes"] - plain["peak_bytes"] for way in ("release", "drift")
        },
    }


def main() -> int:
    """Prints the JSON, and writes it where asked; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, help="write the JSON here too")
    parser.add_argument("--scratch", help="a folder with room for three checkpoints; the system's own otherwise")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        name, *rest = arguments.part
        if name == "train":
            found = train(arguments.folder, rest[0], int(rest[1]))
        else:
            found = {"generate": generate, "merge": merge, "agree": agree}[name](arguments.folder, arguments.device)
        print(json.dumps(found))
        return 0
    if arguments.device != "cpu" and not torch.cuda.is_available():
        print(f"no CUDA device is seen by torch {torch.__version__}; --device cpu shows that the check works")
        return 1
    result = check(arguments)
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    return int(bool(result["faults"]))


if __name__ == "__main__":
    sys.exit(main())
