"""Merging whole checkpoints: what is merged and what is left alone, streaming, resuming, and what is refused."""

import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pico
import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from drift.checkpoints import Checkpoint
from drift.errors import CheckpointError, CoverageError
from drift.merging import apply, merge_checkpoints
from drift.merging.card import source_name
from drift.merging.config import METHODS, MergeError, get_method, resolve_hyperparameters
from drift.merging.methods import merge_tensors, plan_merge
from drift.selection import group_of

ROWS = sorted(METHODS)


def smaller(key, variant):
    """Hyperparameters that fit a model of two layers."""
    return {"keep_layers": 0, "top_layers": 0} if (key, variant) == ("layer_swap", "paper") else {}


def run(out, pair, method="ties", variant="br2v", **options):
    """A merge of the pair into `out`; the folder."""
    mllm, expert, base = pair
    return merge_checkpoints(
        method, out, mllm=mllm, expert=expert, base=base, variant=variant, **smaller(method, variant), **options
    ).folder


def lm(folder: Path) -> dict[str, torch.Tensor]:
    """{canonical name: tensor} of what merging touches."""
    checkpoint = Checkpoint(folder)
    names = checkpoint.lm_names()
    return {name: checkpoint.read(names[name]) for name in names if group_of(name) not in ("embed_tokens", "lm_head")}


def raw(folder: Path) -> bytes:
    """The bytes of all weights."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob("*.safetensors")))


@pytest.mark.parametrize(("key", "variant"), ROWS)
def test_the_streamed_merge_is_the_merge_in_memory(key, variant, pair, tmp_path):
    method = get_method(key, variant)
    chosen = resolve_hyperparameters(method, smaller(key, variant))
    sides = [lm(folder) for folder in pair]
    expected = merge_tensors(method, chosen, *(sides if method.needs_base else sides[:2]), seed=7)
    merged = lm(run(tmp_path / "out", pair, key, variant, seed=7, chunk_elements=64))
    assert merged.keys() == expected.keys()
    for name, tensor in merged.items():
        assert torch.equal(tensor, expected[name].to(torch.bfloat16)), name


@pytest.mark.parametrize(("key", "variant"), [("linear", "br2v"), ("ties", "br2v"), ("dare_ties", "mergekit")])
def test_any_chunk_size_gives_the_same_bytes(key, variant, pair, tmp_path):
    found = {raw(run(tmp_path / str(n), pair, key, variant, seed=1, chunk_elements=n)) for n in (7, 100, 1 << 20)}
    assert len(found) == 1


@pytest.mark.parametrize("key", ["linear", "ties"])
def test_only_the_layers_and_norms_of_the_lm_change(key, pair, tmp_path):
    before, after = (
        load_file(pair[0] / "model.safetensors"),
        load_file(run(tmp_path / "o", pair, key) / "model.safetensors"),
    )
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    names = Checkpoint(pair[0]).lm_names()
    assert changed == {names[name] for name in names if group_of(name) not in ("embed_tokens", "lm_head")}


def test_a_merge_moves_the_groups_and_layers_that_were_asked_for_and_no_others(pair, tmp_path):
    folder = run(tmp_path / "o", pair, "task_arithmetic", groups=("attn", "mlp"), layers=(1,))
    before, after = lm(pair[0]), lm(folder)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {n for n in before if "layers.1." in n and group_of(n) in ("attn", "mlp")}
    whole = lm(run(tmp_path / "whole", pair, "task_arithmetic"))
    assert all(torch.equal(after[name], whole[name]) for name in changed)


def test_layer_swap_says_itself_which_layers_it_merges(pair, tmp_path):
    refused(pair, tmp_path / "o", MergeError, r"leave layers=\[0\] out", method="layer_swap", layers=(0,))


def test_what_sft_changed_and_delta_add_up_over_the_mllm(pair, tmp_path):
    """Task arithmetic with the MLLM as the base of what was trained from it: W + w Delta, W the trained weights."""
    mllm, expert, trained = pair  # the third serves as what training made of the first
    folder = merge_checkpoints(
        "task_arithmetic", tmp_path / "o", mllm=trained, expert=expert, base=mllm, variant="paper",
        weight_mllm=1.0, weight_expert=0.25, groups=("mlp",),
    ).folder  # fmt: skip
    start, far, sft, merged = (lm(path) for path in (mllm, expert, trained, folder))
    for name in merged:
        moved = 0.25 * (far[name].float() - start[name].float()) if group_of(name) == "mlp" else 0.0
        torch.testing.assert_close(merged[name].float(), sft[name].float() + moved, rtol=8e-3, atol=1e-4)


def test_weights_1_and_0_give_the_mllm_bit_for_bit(pair, tmp_path):
    merged = run(tmp_path / "out", pair, "linear", weight_mllm=1.0, weight_expert=0.0)
    before, after = load_file(pair[0] / "model.safetensors"), load_file(merged / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("family", pico.MLLM_FAMILIES)
def test_a_merge_of_every_family_opens_and_computes_what_its_weights_say(family, tmp_path):
    pair = pico.save_pair(family, tmp_path / "pair")
    folder = run(tmp_path / "out", pair, "task_arithmetic", weight_mllm=0.75, weight_expert=0.25)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    sides, merged = [lm(path) for path in pair], lm(folder)
    for name in merged:
        torch.testing.assert_close(merged[name], 0.75 * sides[0][name] + 0.25 * sides[1][name])
    tokens = torch.arange(3, 11).unsqueeze(0)
    original = AutoModelForImageTextToText.from_pretrained(pair[0], dtype=torch.float32)
    with torch.no_grad():
        assert not torch.allclose(model(input_ids=tokens).logits, original(input_ids=tokens).logits)


def test_sharded_sources_give_the_merge_of_whole_ones(tmp_path):
    model = pico.build("qwen2_5_vl")
    whole = pico.save(model, tmp_path / "whole")
    sharded = pico.save(model, tmp_path / "sharded", max_shard="20KB")
    expert = pico.build_and_save("qwen2", tmp_path / "expert", seed=1)
    assert len(list(sharded.glob("*.safetensors"))) > 1
    merged = [
        merge_checkpoints("linear", tmp_path / f.name / "out", mllm=f, expert=expert).folder for f in (whole, sharded)
    ]
    first, second = (Checkpoint(folder) for folder in merged)
    assert all(torch.equal(first.read(name), second.read(name)) for name in first.names)


def test_an_mllm_serves_as_base(tmp_path):
    mllm, expert, base = pico.save_pair("qwen2_5_vl", tmp_path / "pair")
    other = pico.build_and_save("qwen2_5_vl", tmp_path / "base_vl", seed=2)
    assert lm(other).keys() == lm(base).keys()
    folder = merge_checkpoints(
        "task_arithmetic", tmp_path / "out", mllm=mllm, expert=expert, base=other, variant="paper"
    ).folder
    a, b, c = lm(mllm), lm(expert), lm(other)
    for name, tensor in lm(folder).items():
        torch.testing.assert_close(tensor, c[name] + 0.9 * (a[name] - c[name]) + 0.1 * (b[name] - c[name]))


def watched(see):
    """plan_merge, whose readers call `see(name)` before each slice."""

    def plan(method, chosen, tensors, seed):
        planned = zip(tensors, plan_merge(method, chosen, tensors, seed), strict=True)
        return [replace(new, read=lambda *a, n=each.name, r=new.read: see(n) or r(*a)) for each, new in planned]

    return plan


def killed_at(call: int, out: Path, pair) -> None:
    """A merge in a process of its own that dies, as if by SIGKILL, at its `call`-th slice."""
    child = os.fork()
    if child == 0:
        calls = iter(range(1, 1000))
        apply.plan_merge = watched(lambda name: os._exit(9) if next(calls) == call else None)
        run(out, pair, "dare_linear", seed=3)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_merge_killed_half_way_goes_on_and_gives_the_same_bytes(pair, tmp_path, monkeypatch):
    whole, out = raw(run(tmp_path / "whole", pair, "dare_linear", seed=3)), tmp_path / "out"
    killed_at(10, out, pair)
    assert not out.exists()
    merged = []
    monkeypatch.setattr(apply, "plan_merge", watched(merged.append))
    assert raw(run(out, pair, "dare_linear", seed=3)) == whole
    assert len(merged) == 25 - 9  # a slice a tensor here: the nine that were finished are kept
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_what_was_left_by_another_seed_is_not_taken_up(pair, tmp_path):
    killed_at(10, tmp_path / "out", pair)
    fresh = run(tmp_path / "fresh", pair, "dare_linear", seed=4)
    assert raw(run(tmp_path / "out", pair, "dare_linear", seed=4)) == raw(fresh)


def test_the_result_carries_config_card_and_tokenizer_and_nothing_else_of_the_mllm(own_pair, tmp_path):
    mllm = own_pair[0]
    for name in ("tokenizer.json", "preprocessor_config.json", "chat_template.jinja", "metrics.jsonl", "manifest.json"):
        (mllm / name).write_text("{}")
    folder = run(tmp_path / "out", own_pair, "ties", density=0.5)
    there = {path.name for path in folder.iterdir()}
    assert {"config.json", "tokenizer.json", "preprocessor_config.json", "chat_template.jinja"} <= there
    assert not {"metrics.jsonl", "manifest.json"} & there
    assert json.loads((folder / "config.json").read_text()) == json.loads((mllm / "config.json").read_text())

    config = yaml.safe_load((folder / "mergekit_config.yml").read_text())
    assert config["merge_method"] == "ties"
    assert config["models"] == [
        {"model": "mllm", "parameters": {"weight": 1.6, "density": 0.5}},
        {"model": "expert", "parameters": {"weight": 0.2, "density": 0.5}},
    ]
    assert (config["base_model"], config["dtype"], config["out_dtype"]) == ("base", "float32", "bfloat16")
    assert config["drift"]["variant"] == "br2v"

    _, front, body = (folder / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front) == {
        "base_model": ["mllm", "expert", "base"],
        "library_name": "transformers",
        "tags": ["merge", "ties", "br2v"],
    }
    assert "25 tensors merged" in body  # two layers of seven weights, three biases, two norms; and the final norm


def test_a_snapshot_in_the_hub_cache_is_named_by_its_repository(tmp_path):
    folder = tmp_path / "models--Qwen--Qwen2.5-7B" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    assert source_name(folder) == "Qwen/Qwen2.5-7B"
    assert source_name(tmp_path / "abc123" / "model") == "abc123/model"


def test_another_rope_theta_is_warned_of_with_both_values(own_pair, tmp_path, caplog):
    pico.edit_config(own_pair[1], rope_parameters={"rope_type": "default", "rope_theta": 1e6})
    with caplog.at_level(logging.WARNING):
        mllm, expert, _ = own_pair
        summary = merge_checkpoints("linear", tmp_path / "out", mllm=mllm, expert=expert)
    assert "rope_theta is 10000.0 in" in caplog.text
    assert summary.warnings[0].startswith("rope_theta is 10000 in the MLLM and 1e+06 in the expert")
    assert summary.warnings[0] in (tmp_path / "out" / "README.md").read_text()


def refused(pair, out, error, match, **options):
    """The merge stops with the error and leaves nothing."""
    with pytest.raises(error, match=match):
        run(out, pair, **options)
    assert not out.exists()


def test_a_missing_base_is_refused(pair, tmp_path):
    refused((pair[0], pair[1], None), tmp_path / "out", MergeError, "needs base=")


def test_another_shape_is_refused_with_the_tensor_and_both_shapes(own_pair, tmp_path):
    def widen(tensors):
        name = "model.layers.1.mlp.up_proj.weight"
        return tensors | {name: torch.zeros(25, tensors[name].shape[1])}

    pico.edit_tensors(own_pair[1], widen)
    refused(
        own_pair, tmp_path / "out", CheckpointError,
        r"model.layers.1.mlp.up_proj.weight' has shape \(24, 16\) in .* and \(25, 16\) in",
    )  # fmt: skip


def test_an_expert_without_a_bias_is_refused(own_pair, tmp_path):
    name = "model.layers.0.self_attn.q_proj.bias"
    pico.edit_tensors(own_pair[1], lambda tensors: {key: value for key, value in tensors.items() if key != name})
    refused(own_pair, tmp_path / "out", CoverageError, f"lacks '{name}'")


def test_an_expert_of_another_family_is_refused(pair, tmp_path):
    llama = pico.build_and_save("llama", tmp_path / "llama")
    refused((pair[0], llama, pair[2]), tmp_path / "out", MergeError, "is of family 'qwen2', the expert .* of 'llama'")


def test_another_number_of_heads_is_refused(own_pair, tmp_path):
    pico.edit_config(own_pair[1], num_attention_heads=8)
    refused(own_pair, tmp_path / "out", CheckpointError, "num_attention_heads is 4 in .* and 8 in")


def test_a_full_disk_is_refused_before_anything_is_written(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    refused(pair, tmp_path / "out", CheckpointError, "not enough disk")
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_expert_is_refused(own_pair, tmp_path):
    path = own_pair[1] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused(own_pair, tmp_path / "out", CheckpointError, "truncated")


def test_card_and_summary_say_how_many_layers_were_kept(pair, tmp_path):
    mllm, expert, _ = pair
    summary = merge_checkpoints("layer_swap", tmp_path / "out", mllm=mllm, expert=expert)
    assert summary.hyperparameters["keep_layers"] == 0  # 5/28 of two layers
    assert yaml.safe_load((tmp_path / "out" / "mergekit_config.yml").read_text())["drift"]["keep_layers"] == 0


def test_the_planner_sees_methods_without_torch():
    code = "import sys; import drift.merging.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
