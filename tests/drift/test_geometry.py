"""Distances between two models are those of their flattened weights, per tensor, per layer and per kind of module."""

import math

import pico
import pytest
import torch
from safetensors.torch import load_file

from drift.errors import CoverageError
from drift.geometry import layer_geometry, panel_averages, per_layer, summarise
from drift.prior import ReasoningPrior

NAME = "model.layers.1.self_attn.v_proj.weight"


@pytest.fixture(scope="module")
def rows(pair):
    return layer_geometry(pair[0], pair[1])


def weights(folder):
    return {name: tensor.double() for name, tensor in load_file(folder / "model.safetensors").items()}


def test_a_row_holds_l2_and_cosine_of_its_tensor(pair, rows):
    a, b = weights(pair[0])[NAME], weights(pair[1])[NAME]
    row = next(row for row in rows if row["name"] == NAME)
    assert (row["layer"], row["group"], row["module"], row["n"]) == (1, "attn", "v_proj", a.numel())
    assert row["l2"] == pytest.approx((b - a).norm().item(), rel=1e-6)
    assert row["relative_l2"] == pytest.approx(((b - a).norm() / a.norm()).item(), rel=1e-6)
    assert row["cosine"] == pytest.approx((a.flatten() @ b.flatten() / a.norm() / b.norm()).item(), abs=1e-6)


def test_a_layer_is_one_vector(pair, rows):
    a, b = weights(pair[0]), weights(pair[1])
    names = [name for name in b if name.startswith("model.layers.1.")]
    a, b = (torch.cat([model[name].flatten() for name in names]) for model in (a, b))
    layer = per_layer(rows)[1]
    assert (layer["layer"], layer["n"]) == (1, a.numel())
    assert layer["l2"] == pytest.approx((b - a).norm().item(), rel=1e-6)
    assert layer["cosine"] == pytest.approx((a @ b / a.norm() / b.norm()).item(), abs=1e-6)


def test_a_bar_is_the_mean_over_its_weights_and_counts_no_bias(rows):
    bars = {bar["bar"]: bar for bar in panel_averages(rows, "attention")}
    mine = [row["l2"] for row in rows if row["name"].endswith("v_proj.weight")]
    assert list(bars) == ["q", "k", "v", "o"]
    assert bars["v"]["tensors"] == 2
    assert bars["v"]["l2"] == pytest.approx(sum(mine) / 2)
    assert {bar["bar"]: bar["tensors"] for bar in panel_averages(rows, "ffn_norm")} == {"ffn": 6, "norm": 4}


def test_the_total_is_pythagoras_over_all_rows(rows):
    total = summarise(rows)["total"][0]
    assert total["l2"] == pytest.approx(math.sqrt(sum(row["l2"] ** 2 for row in rows)))


def test_a_model_is_at_distance_zero_from_itself(pair):
    for row in layer_geometry(pair[0], pair[0]):
        assert row["l2"] == 0.0
        assert row["cosine"] == pytest.approx(1.0, abs=1e-6)


def test_distance_is_symmetric(pair, rows):
    back = layer_geometry(pair[1], pair[0])
    assert [row["l2"] for row in back] == pytest.approx([row["l2"] for row in rows])


def test_geometry_and_prior_agree(pair, rows, tmp_path):
    prior = ReasoningPrior.extract(pair[0], pair[1], tmp_path / "p", dtype=torch.float32)
    for row in rows:
        if row["name"] in prior.names:
            assert row["l2"] == pytest.approx(prior.norm(row["name"]), rel=1e-9)
            assert row["cosine"] == pytest.approx(prior.metadata["tensors"][row["name"]]["cosine"], rel=1e-9)


@pytest.mark.parametrize("family", pico.MLLM_FAMILIES)
def test_every_family_has_a_row_for_every_layer_and_module(family, tmp_path):
    mllm, expert, _ = pico.save_pair(family, tmp_path)
    summary = summarise(layer_geometry(mllm, expert))
    assert [row["layer"] for row in summary["layers"]] == [0, 1]
    assert all(bar["tensors"] > 0 for panel in ("ffn_norm", "attention") for bar in summary[panel])


def test_a_zero_tensor_has_no_cosine(own_pair):
    pico.edit_tensors(own_pair[0], lambda tensors: tensors | {NAME: torch.zeros_like(tensors[NAME])})
    row = next(row for row in layer_geometry(own_pair[0], own_pair[1]) if row["name"] == NAME)
    assert math.isnan(row["cosine"])
    assert math.isnan(row["relative_l2"])


def test_models_of_another_depth_are_refused(own_pair, tmp_path):
    deeper = pico.save(pico.build("qwen2", layers=3), tmp_path / "deeper")
    with pytest.raises(CoverageError, match=r"has an unexpected 'model\.layers\.2"):
        layer_geometry(own_pair[0], deeper)
