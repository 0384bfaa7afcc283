"""The GPU check is sized by the memory it finds, names each fault, and runs whole on any device."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import gpu_check  # noqa: E402 (a program beside the package)

FINE: dict[str, dict[str, Any]] = {
    **{
        f"{way} zero{stage}": {
            "loss": 2.0,
            "steps": 20,
            "covered": 14 * (way == "drift"),
            "expected": 14 * (way == "drift"),
            "seconds": {"sft": 10.0, "release": 16.0, "drift": 11.0}[way],
            "tokens_per_s": 1000.0,
            "peak_bytes": {"sft": 10, "release": 30, "drift": 12}[way],
        }
        for way, stage in gpu_check.WAYS
    },
    "generate": {"answers": 8, "tokens_per_s": 200.0},
    "merge": {"ties": {"bytes_per_s": 1e9, "gap": 0.0}, "tsv": {"bytes_per_s": 1e8, "gap": 1e-5}},
}


@pytest.mark.parametrize(
    ("memory", "name", "layers"), [(80e9, "7B", 6), (40e9, "3B", 12), (24e9, "3B", 5), (16e9, "1B", 5), (0, "tiny", 2)]
)
def test_the_model_is_the_widest_that_trains_in_the_memory(memory: float, name: str, layers: int) -> None:
    found, config = gpu_check.fitting(memory)
    assert (found, config["num_hidden_layers"]) == (name, layers)
    if memory:
        trained = config["vocab_size"] * config["hidden_size"] * (1 if config["tie_word_embeddings"] else 2)
        trained += layers * gpu_check._layer(config)
        assert trained * gpu_check.BYTES_A_PARAMETER <= memory * gpu_check.SHARE_FOR_STATES


def test_rates_are_those_that_the_plan_is_calibrated_by() -> None:
    assert gpu_check.faults_of(FINE, 20) == []
    found = gpu_check.rates(FINE)
    assert (found["train_tokens_per_s"], found["generate_tokens_per_s"], found["merge_bytes_per_s"]) == (1e3, 200, 1e9)
    assert found["overhead"] == {"release": 1.6, "drift": 1.1}
    assert found["memory_added"] == {"release": 20, "drift": 2}


@pytest.mark.parametrize(
    ("part", "change", "fault"),
    [
        ("sft zero3", {"fault": "out of memory"}, "sft zero3: out of memory"),
        ("drift zero2", {"loss": float("nan")}, "drift zero2: loss nan after 20 steps of 20"),
        ("drift zero3", {"covered": 13}, "drift zero3: the prior covers 13 of 14 parameters"),
        ("generate", {"answers": 7}, "generate: 7 answers of 8"),
        ("vllm", {"answers": 0, "equal": 0}, "vllm: 0 answers of 8"),
        (
            "merge",
            {"tsv": {"gap": 0.5}},
            "merge: tsv on the device differs from the CPU by 5.0e-01 of the largest entry",
        ),
    ],
)
def test_each_fault_is_named(part: str, change: dict[str, Any], fault: str) -> None:
    assert gpu_check.faults_of({**FINE, part: FINE.get(part, {}) | change}, 20) == [fault]


def test_without_a_device_it_says_so() -> None:
    done = _run("--device", "cuda", hidden=True)
    assert done.returncode == 1
    assert "no CUDA device is seen by torch" in done.stdout


@pytest.mark.slow
def test_all_of_it_runs_on_the_cpu(tmp_path: Path) -> None:
    _check("cpu", tmp_path)


@pytest.mark.gpu
def test_all_of_it_runs_on_the_gpu(tmp_path: Path) -> None:
    _check("cuda", tmp_path)


def _check(device: str, folder: Path) -> None:
    out = folder / "check.json"
    done = _run("--device", device, "--steps", "3", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert found["faults"] == []
    assert min(found[key] for key in ("train_tokens_per_s", "generate_tokens_per_s", "merge_bytes_per_s")) > 0


def _run(*words: str, hidden: bool = False) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"CUDA_VISIBLE_DEVICES": ""} if hidden else {})
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_check.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
