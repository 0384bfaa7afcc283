"""Parity with mergekit 0.1.5 on pico text models: bit-exact, but for entries tied at the threshold of TIES.

mergekit's pins and ours do not fit in one environment for sure, so it runs in a subprocess, under MERGEKIT_PYTHON or
.venv-mergekit (`make setup-mergekit`). All its merges are made once, by one process.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pico
import pytest
import torch

from drift.checkpoints import Checkpoint
from drift.merging import merge_checkpoints
from drift.merging import primitives as p
from drift.selection import group_of

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("MERGEKIT_PYTHON", ROOT / ".venv-mergekit" / "bin" / "python"))
FAMILIES = ("llama", "qwen2")
NEAR = {"weight_mllm": 0.9, "weight_expert": 0.1}
TABLE9 = {"weight_mllm": 1.6, "weight_expert": 0.2, "density": 0.2}

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason=f"no mergekit at {PYTHON}; run `make setup-mergekit`")


@dataclass(frozen=True)
class Case:
    """One merge in both programs' words: `extra` is mergekit's, `ours` overrides our hyperparameters."""

    method: str
    hyperparameters: dict
    extra: dict
    ours: dict


CASES = {
    "linear": Case("linear", NEAR, {}, {}),
    "linear, weights that do not sum to 1": Case("linear", {"weight_mllm": 0.7, "weight_expert": 0.6}, {}, {}),
    "task_arithmetic": Case("task_arithmetic", NEAR, {}, {}),
    "ties": Case("ties", TABLE9, {}, {}),
    "dare_linear": Case("dare_linear", TABLE9, {"rescale": False}, {"rescale": "none"}),
    "dare_ties": Case("dare_ties", TABLE9, {"rescale": False}, {"rescale": "none"}),
    "dare_linear, rescaled": Case("dare_linear", TABLE9, {"rescale": True}, {"rescale": "l1"}),
    "slerp": Case("slerp", {"t": 0.3}, {"t": 0.3}, {}),
    "model_stock": Case("model_stock", {}, {}, {}),
}
EXACT = [name for name in CASES if CASES[name].method in ("linear", "task_arithmetic", "dare_linear", "dare_ties")]
EXACT.remove("dare_linear, rescaled")  # the L1 norms are sums, whose order of addition differs


def config_of(case: Case, folders: dict[str, Path]) -> dict:
    """mergekit's configuration of a case."""
    given = case.hyperparameters
    models = []
    for role in ("mllm", "expert"):
        own = {"weight": given[f"weight_{role}"]} if f"weight_{role}" in given else {}
        own |= {"density": given["density"]} if "density" in given else {}
        models.append({"model": str(folders[role]), "parameters": own})
    config = {"merge_method": case.method, "models": models, "dtype": "float32", "out_dtype": "bfloat16"}
    if case.method != "linear":
        config["base_model"] = str(folders["mllm" if case.method == "slerp" else "base"])
    return config | ({"parameters": case.extra} if case.extra else {})


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> dict[str, tuple[dict[str, Path], Path]]:
    """family -> (our source folders, the folder with mergekit's results by case)."""
    root, jobs, found = tmp_path_factory.mktemp("parity"), [], {}
    for family in FAMILIES:
        folders = {
            role: pico.build_and_save(family, root / family / role, seed=seed, dtype=torch.bfloat16)
            for seed, role in enumerate(("mllm", "expert", "base"))
        }
        found[family] = folders, root / family / "merged"
        jobs += [
            {"config": config_of(case, folders), "out": str(found[family][1] / name)} for name, case in CASES.items()
        ]
        first = [{"sources": [{"model": str(folders["mllm"]), "layer_range": [0, 1], "parameters": {"weight": 1.0}}]}]
        rest = [
            {"model": str(folders[role]), "layer_range": [1, 2], "parameters": {"weight": NEAR[f"weight_{role}"]}}
            for role in ("mllm", "expert")
        ]
        swap = {"merge_method": "linear", "slices": [*first, {"sources": rest}], "dtype": "float32"}
        jobs.append({"config": swap | {"out_dtype": "bfloat16"}, "out": str(found[family][1] / "layer_swap")})
    (root / "jobs.json").write_text(json.dumps(jobs))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [str(PYTHON), str(Path(__file__).with_name("mergekit_runner.py")), str(root / "jobs.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return found


def lm(folder: Path) -> dict[str, torch.Tensor]:
    """Layers and final norm, by name."""
    checkpoint = Checkpoint(folder)
    return {n: checkpoint.read(n) for n in checkpoint.names if group_of(n) not in ("embed_tokens", "lm_head")}


def both(world, family: str, name: str, out: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """(ours, mergekit's) tensors of a case."""
    folders, theirs = world[family]
    case = CASES[name]
    chosen = case.hyperparameters | case.ours
    base = None if case.method in ("linear", "slerp") else folders["base"]
    ours = merge_checkpoints(
        case.method, out, mllm=folders["mllm"], expert=folders["expert"], base=base, variant="mergekit", **chosen
    ).folder
    return lm(ours), lm(theirs / name)


def replay_masks(folders: dict[str, Path], density: float) -> dict[tuple[str, str], np.ndarray]:
    """The masks that mergekit draws from one stream: all tensors by name, embeddings included, models in order."""
    torch.manual_seed(0)
    checkpoint, masks = Checkpoint(folders["base"]), {}
    for name in sorted(checkpoint.names):
        for role in ("mllm", "expert"):
            drawn = torch.bernoulli(torch.full(checkpoint.spec(name).shape, density))
            masks[role, name] = drawn.reshape(-1).bool().numpy()
    return masks


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", EXACT)
def test_bit_exact(name, family, world, tmp_path, monkeypatch):
    if name.startswith("dare"):
        masks = replay_masks(world[family][0], TABLE9["density"])
        monkeypatch.setattr(
            p, "random_mask", lambda seed, role, tensor, d, start, stop: masks[role, tensor][start:stop]
        )
    ours, theirs = both(world, family, name, tmp_path / "out")
    assert ours.keys() == theirs.keys()
    for tensor in ours:
        assert torch.equal(ours[tensor], theirs[tensor]), tensor


@pytest.mark.parametrize("family", FAMILIES)
def test_ties_is_equal_outside_exact_ties(family, world, tmp_path):
    ours, theirs = both(world, family, "ties", tmp_path / "out")
    sides = {role: lm(folder) for role, folder in world[family][0].items()}
    tied_in_all = 0
    for tensor in ours:
        deltas = [(sides[role][tensor].float() - sides["base"][tensor].float()).abs() for role in ("mllm", "expert")]
        count = max(1, int(TABLE9["density"] * deltas[0].numel()))
        cuts = [delta.reshape(-1).sort(descending=True).values[count - 1] for delta in deltas]
        tied = (deltas[0] == cuts[0]) | (deltas[1] == cuts[1])
        assert torch.equal(ours[tensor][~tied], theirs[tensor][~tied]), tensor
        tied_in_all += int(tied.sum())
    assert tied_in_all < 0.05 * sum(tensor.numel() for tensor in ours.values())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["dare_linear, rescaled", "slerp", "model_stock"])
def test_methods_with_sums_over_a_tensor_agree_to_one_bf16_step(name, family, world, tmp_path, monkeypatch):
    masks = replay_masks(world[family][0], TABLE9["density"])
    monkeypatch.setattr(p, "random_mask", lambda seed, role, tensor, d, start, stop: masks[role, tensor][start:stop])
    ours, theirs = both(world, family, name, tmp_path / "out")
    for tensor in ours:
        torch.testing.assert_close(ours[tensor], theirs[tensor], rtol=2**-7, atol=1e-6)
    same = sum(int((ours[tensor] == theirs[tensor]).sum()) for tensor in ours)
    assert same > 0.999 * sum(tensor.numel() for tensor in ours.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_layer_swap_is_linear_over_two_slices(family, world, tmp_path):
    folders, theirs = world[family]
    ours = merge_checkpoints(
        "layer_swap",
        tmp_path / "out",
        mllm=folders["mllm"],
        expert=folders["expert"],
        variant="mergekit",
        keep_layers=0,
    ).folder
    a, b = lm(ours), lm(theirs / "layer_swap")
    # mergekit 0.1.5 pairs the final norm with the number of models of the first slice: one. Only layers compare.
    assert all(torch.equal(a[tensor], b[tensor]) for tensor in a if tensor != "model.norm.weight")
