"""FRISM: gates add the expert's change pair by pair, learn what the MLLM's answers bear, and end in one checkpoint."""

import json
from dataclasses import replace

import pico
import pytest
import torch
import training_world as tw
from safetensors.torch import load_file
from torch import nn

from drift.config import FrismConfig
from drift.errors import DriftError
from drift.processing import save_processor
from drift.singular import exact, leading
from drift.training.gates import Gated, inject_gated

CONFIG = FrismConfig(rank=4, steps=6, batch=4, image_max_pixels=None, image_backend="pil")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A pico MLLM with its processor, an expert, a base, and data."""
    root = tmp_path_factory.mktemp("world")
    mllm, expert, base = pico.save_pair("qwen2_5_vl", root)
    save_processor(tw.processor(), mllm)
    return mllm, expert, base, tw.save_data(root / "data", 12)


def learned(world, out, **changes):
    result = inject_gated(*world, out, replace(CONFIG, **changes))
    return result, load_file(out / "model.safetensors")


def test_a_gate_by_hand():
    """tau = diag(3, 4), one pair: 4 e_2 e_2^T, half open at first; a scale of 2 makes W = I + 2 * 0.5 * 4 e_2 e_2^T."""
    layer = nn.Linear(2, 2, bias=False).requires_grad_(False)
    layer.weight.copy_(torch.eye(2))
    gated = Gated(layer, leading(torch.diag(torch.tensor([3.0, 4.0])), 1, "a"), scale=2.0)
    torch.testing.assert_close(layer(torch.tensor([[1.0, 1.0]])), torch.tensor([[1.0, 5.0]]))
    gated.is_open = False
    assert layer(torch.tensor([[1.0, 1.0]])).tolist() == [[1.0, 1.0]]
    torch.testing.assert_close(gated.close()[:].view(2, 2), torch.diag(torch.tensor([0.0, 4.0])))
    assert layer(torch.tensor([[1.0, 1.0]])).tolist() == [[1.0, 1.0]]


def test_the_gated_layer_is_the_layer_of_the_written_weight():
    layer, tau = nn.Linear(5, 7), torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    gated, x = Gated(layer, exact(tau), scale=0.3), torch.randn(4, 5)
    with torch.no_grad():
        gated.gate.copy_(torch.linspace(-2, 2, 5))
        expected = layer(x)
        written = layer.weight + gated.close()[:].view(7, 5)
        torch.testing.assert_close(nn.functional.linear(x, written, layer.bias), expected)


def test_a_scale_of_nothing_is_the_mllm_bit_for_bit(world, tmp_path):
    result, weights = learned(world, tmp_path / "out", strengths={"scale": 0.0, "weight": 1.0})
    before = load_file(world[0] / "model.safetensors")
    assert all(torch.equal(before[name], weights[name]) for name in before)
    assert result.divergence == pytest.approx(0.0, abs=1e-6)


def test_gates_close_where_the_answers_alone_count_and_open_where_they_do_not(world, tmp_path):
    kept, weights = learned(world, tmp_path / "kept", strengths={"scale": 3.0, "weight": 0.0})
    taken, _ = learned(world, tmp_path / "taken", strengths={"scale": 3.0, "weight": 1e3})
    assert kept.gate < 0.5 < taken.gate
    assert kept.divergence < taken.divergence
    before = load_file(world[0] / "model.safetensors")
    moved = {name for name in before if not torch.equal(before[name], weights[name])}
    assert moved
    assert all("proj.weight" in name and "visual" not in name for name in moved)
    assert json.loads((tmp_path / "kept" / "frism.json").read_text())["matrices"] == 2 * 7
    again, same = learned(world, tmp_path / "again", strengths={"scale": 3.0, "weight": 0.0})
    assert again == kept
    assert all(torch.equal(weights[name], same[name]) for name in same)


def test_strengths_are_scale_and_weight():
    with pytest.raises(DriftError, match=r"frism.strengths are scale; expected scale and weight"):
        FrismConfig(strengths={"scale": 1.0})
    with pytest.raises(DriftError, match="rank is 0, expected at least 1"):
        FrismConfig(rank=0)
