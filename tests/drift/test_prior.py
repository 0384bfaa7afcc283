"""Delta is expert minus MLLM, tensor by tensor, in any layout on disk; controls keep its size and lose its sense."""

import json
import math
import shutil

import pico
import pytest
import torch
from safetensors.torch import load_file

import drift.deltas
from drift.checkpoints import Checkpoint
from drift.errors import CheckpointError, CoverageError
from drift.prior import KINDS, PriorError, ReasoningPrior
from drift.selection import SelectionError

ALL = ("attn", "mlp", "norm", "final_norm", "lm_head")


def lm(folder) -> dict[str, torch.Tensor]:
    """Canonical name -> float64 tensor, read with safetensors and not with the library's reader."""
    names = Checkpoint(folder).lm_names()
    tensors = load_file(folder / "model.safetensors")
    return {name: tensors[on_disk].double() for name, on_disk in names.items()}


@pytest.fixture(scope="module")
def priors(pair, tmp_path_factory):
    mllm, expert, base = pair
    out = tmp_path_factory.mktemp("priors")
    return {
        kind: ReasoningPrior.extract(
            mllm, expert, out / kind, base=base if kind == "hierarchical" else None, kind=kind, groups=ALL
        )
        for kind in KINDS
    }


def test_direct_is_expert_minus_mllm_rounded_once(pair, priors):
    mllm, expert = lm(pair[0]), lm(pair[1])
    for name in priors["direct"].names:
        expected = (expert[name].float() - mllm[name].float()).bfloat16().float()
        assert torch.equal(priors["direct"].read(name), expected)


def test_hierarchical_is_expert_minus_its_base(pair, priors):
    expert, base = lm(pair[1]), lm(pair[2])
    for name in priors["hierarchical"].names:
        assert torch.equal(priors["hierarchical"].read(name), (expert[name] - base[name]).float().bfloat16().float())


def test_reversed_is_minus_direct_bit_for_bit(priors):
    for name in priors["direct"].names:
        assert torch.equal(priors["reversed"].read(name), -priors["direct"].read(name))


def test_shuffled_has_the_same_values_in_another_order(priors):
    for name in priors["direct"].names:
        direct, shuffled = priors["direct"].read(name), priors["shuffled"].read(name)
        assert torch.equal(direct.flatten().sort().values, shuffled.flatten().sort().values)
        assert not torch.equal(direct, shuffled)


def test_random_has_the_same_norm_and_no_common_direction(priors):
    for name in priors["direct"].names:
        assert priors["random"].norm(name) == pytest.approx(priors["direct"].norm(name), rel=5e-3)
    name = "lm_head.weight"  # the largest: a cosine of chance is about 1 / sqrt(1024)
    cosine = torch.cosine_similarity(
        priors["random"].read(name).flatten(), priors["direct"].read(name).flatten(), dim=0
    )
    assert abs(cosine) < 5 / math.sqrt(priors["direct"].numel(name))


@pytest.mark.parametrize("kind", KINDS)
def test_norms_are_those_of_what_is_stored(kind, priors):
    for name in priors[kind].names:
        assert priors[kind].norm(name) == pytest.approx(priors[kind].read(name).double().norm().item(), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_norms_and_cosine_of_the_two_models_stand_beside_every_delta(kind, pair, priors):
    mllm, expert = lm(pair[0]), lm(pair[1])
    for name, row in priors[kind].metadata["tensors"].items():
        cosine = torch.dot(mllm[name].flatten(), expert[name].flatten()) / (mllm[name].norm() * expert[name].norm())
        assert row["mllm"] == pytest.approx(mllm[name].norm().item(), rel=1e-6)
        assert row["expert"] == pytest.approx(expert[name].norm().item(), rel=1e-6)
        assert row["cosine"] == pytest.approx(cosine.item(), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_any_chunk_size_gives_the_same_delta(kind, pair, priors, tmp_path, monkeypatch):
    monkeypatch.setattr(drift.deltas, "CHUNK", 7)
    monkeypatch.setattr(drift.deltas, "BLOCK", 3)
    base = pair[2] if kind == "hierarchical" else None
    small = ReasoningPrior.extract(pair[0], pair[1], tmp_path / "small", base=base, kind=kind, groups=ALL)
    for name in small.names:
        # random is scaled by a norm that is summed in chunks: one rounding step of bf16 is allowed there
        assert torch.allclose(small.read(name), priors[kind].read(name), rtol=8e-3 if kind == "random" else 0, atol=0)


@pytest.mark.parametrize("kind", ["random", "shuffled"])
def test_controls_depend_on_seed_and_name_and_not_on_what_else_is_selected(kind, pair, priors, tmp_path):
    alone = ReasoningPrior.extract(pair[0], pair[1], tmp_path / "a", kind=kind, groups=("mlp",), layers=[1])
    other = ReasoningPrior.extract(pair[0], pair[1], tmp_path / "b", kind=kind, groups=("mlp",), layers=[1], seed=1)
    for name in alone.names:
        assert torch.equal(alone.read(name), priors[kind].read(name))
        assert not torch.equal(alone.read(name), other.read(name))
    first, second = (alone.read(f"model.layers.1.mlp.{m}_proj.weight").flatten() for m in ("gate", "up"))
    assert not torch.equal(first.sign(), second.sign())


@pytest.mark.parametrize("family", pico.MLLM_FAMILIES)
def test_every_family_covers_its_whole_lm(family, tmp_path):
    mllm, expert, _ = pico.save_pair(family, tmp_path, dtype=torch.bfloat16)
    prior = ReasoningPrior.extract(mllm, expert, tmp_path / "prior", groups=ALL)
    ours, theirs = lm(mllm), lm(expert)
    assert set(prior.names) == set(theirs) - {"model.embed_tokens.weight"}
    assert prior.metadata["left_out"] == ["model.embed_tokens.weight"]
    for name in prior.names:
        assert torch.equal(prior.read(name), (theirs[name] - ours[name]).float().bfloat16().float())


@pytest.fixture(scope="module")
def low(pair, tmp_path_factory):
    """Two singular pairs of each matrix."""
    return ReasoningPrior.extract(pair[0], pair[1], tmp_path_factory.mktemp("low") / "prior", rank=2)


def test_a_low_rank_is_the_nearest_matrix_of_that_rank(pair, priors, low):
    """Eckart and Young: what is missed is what the other singular values hold; vectors are whole."""
    mllm, expert = lm(pair[0]), lm(pair[1])
    assert low.rank == 2
    for name in low.names:
        delta = (expert[name].float() - mllm[name].float()).double()
        if delta.dim() == 1:
            assert torch.equal(low.read(name), priors["direct"].read(name))
            continue
        assert low.shape(name) == tuple(delta.shape)
        found, values = low.read(name).double(), torch.linalg.svdvals(delta)
        assert torch.linalg.matrix_rank(found, rtol=1e-4) == 2
        assert (found - delta).norm().item() == pytest.approx(values[2:].norm().item(), rel=1e-4)
        assert low.norm(name) == pytest.approx(found.norm().item(), rel=1e-5)


def test_a_low_rank_takes_two_vectors_a_pair_on_disk_and_is_read_in_any_slice(low):
    spec = low._shard.specs
    name = "model.layers.0.mlp.up_proj.weight"
    rows, columns = low.shape(name)
    assert spec[f"{name}.left"].numel + spec[f"{name}.right"].numel == 2 * (rows + columns)
    whole = low.read(name).flatten()
    for start, stop in ((0, 1), (columns - 1, columns + 1), (3, 3), (5, whole.numel())):
        assert torch.allclose(low.read_slice(name, start, stop), whole[start:stop])
        assert torch.allclose(low.held(name, start, stop, torch.device("cpu"))[:], whole[start:stop])
    again = ReasoningPrior.load(low.folder)
    assert again.names == low.names
    assert again.dtype == torch.float32


def test_a_full_rank_is_the_whole_delta(pair, priors, tmp_path):
    full = ReasoningPrior.extract(pair[0], pair[1], tmp_path / "full", rank=1000)
    for name in full.names:
        torch.testing.assert_close(full.read(name), priors["direct"].read(name), atol=1e-3, rtol=1e-2)


def test_a_rank_of_nothing_is_refused(pair, tmp_path):
    with pytest.raises(PriorError, match="rank is 0, expected at least 1"):
        ReasoningPrior.extract(pair[0], pair[1], tmp_path / "none", rank=0)


RENAMES = {
    "qwen2_5_vl": [("model.", "model.language_model."), ("visual.", "model.visual.")],
    "qwen2_vl": [("model.", "language_model.model."), ("lm_head", "language_model.lm_head")],
    "llava_next": [("language_model.model.", "model.language_model."), ("language_model.lm_head", "lm_head")],
}


@pytest.mark.parametrize("family", RENAMES)
def test_another_layout_on_disk_gives_the_same_prior(family, tmp_path):
    def rename(tensors):
        return {spell(name): tensor for name, tensor in tensors.items()}

    def spell(name):
        hits = [(old, new) for old, new in RENAMES[family] if name.startswith(old)]
        return hits[0][1] + name.removeprefix(hits[0][0]) if hits else name

    mllm, expert, _ = pico.save_pair(family, tmp_path, dtype=torch.bfloat16)
    before = ReasoningPrior.extract(mllm, expert, tmp_path / "before", groups=ALL)
    pico.edit_tensors(mllm, rename)
    after = ReasoningPrior.extract(mllm, expert, tmp_path / "after", groups=ALL)
    assert before.names == after.names
    assert (tmp_path / "before/prior.safetensors").read_bytes() == (tmp_path / "after/prior.safetensors").read_bytes()


def test_a_slice_is_the_slice_of_the_flattened_delta(priors):
    prior = priors["direct"]
    name = "model.layers.1.mlp.down_proj.weight"
    assert torch.equal(prior.read_slice(name, 5, 91), prior.read(name).flatten()[5:91])
    assert prior.read_slice(name, 5, 91, torch.bfloat16).dtype is torch.bfloat16


def test_fp32_keeps_what_bf16_rounds(pair, tmp_path):
    exact = ReasoningPrior.extract(pair[0], pair[1], tmp_path / "p", dtype=torch.float32)
    mllm, expert = lm(pair[0]), lm(pair[1])
    assert exact.dtype is torch.float32
    assert all(torch.equal(exact.read(n), expert[n].float() - mllm[n].float()) for n in exact.names)


def test_bf16_error_stays_under_its_half_step(pair, priors):
    mllm, expert = lm(pair[0]), lm(pair[1])
    for name in priors["direct"].names:
        delta = expert[name] - mllm[name]
        assert ((priors["direct"].read(name).double() - delta).abs() <= delta.abs() * 2**-8).all()


def test_extraction_twice_gives_the_same_folder(pair, priors, tmp_path):
    again = ReasoningPrior.extract(pair[0], pair[1], tmp_path / "again", groups=ALL)
    for file in ("prior.json", "prior.safetensors"):
        assert (again.folder / file).read_bytes() == (priors["direct"].folder / file).read_bytes()


def test_the_metadata_says_where_it_came_from(pair, priors):
    metadata = priors["direct"].metadata
    assert metadata["sources"]["mllm"]["sha256"] == Checkpoint(pair[0]).fingerprint()
    assert metadata["sources"]["expert"]["family"] == "qwen2"
    assert metadata["sources"]["mllm"]["dtypes"] == ["torch.bfloat16"]
    assert (metadata["kind"], metadata["groups"], metadata["seed"]) == ("direct", list(ALL), 0)
    assert metadata["not_lm"] == len([n for n in Checkpoint(pair[0]).names if n.startswith("visual.")])


def refuse(error, message, pair, tmp_path, **options):
    with pytest.raises(error, match=message):
        ReasoningPrior.extract(pair[0], pair[1], tmp_path / "refused", **options)
    assert not (tmp_path / "refused").exists()
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kind": "hierarchical"}, PriorError, "needs base="),
        ({"kind": "hierarchial"}, PriorError, "unknown kind of prior 'hierarchial'; did you mean 'hierarchical'"),
        ({"base": "somewhere"}, PriorError, "base=somewhere was given, but kind 'direct' has no use for it"),
        ({"dtype": torch.float16}, PriorError, "not torch.float16"),
        ({"groups": ("heads",)}, SelectionError, "unknown module group 'heads'"),
        ({"layers": [2]}, SelectionError, "layer 2 was asked for; the model has layers 0 to 1"),
    ],
)
def test_a_request_without_meaning_is_refused(options, error, message, pair, tmp_path):
    refuse(error, message, pair, tmp_path, **options)


def drop(name):
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if key != name}


def test_a_tensor_that_the_expert_lacks_is_named(own_pair, tmp_path):
    name = "model.layers.1.self_attn.k_proj.bias"
    pico.edit_tensors(own_pair[1], drop(name))
    refuse(CoverageError, f"19 of 20 tensors are covered, 1 missing, 0 unexpected.* lacks '{name}'", own_pair, tmp_path)


def test_a_tensor_that_the_mllm_lacks_is_named(own_pair, tmp_path):
    name = "model.layers.0.self_attn.q_proj.bias"
    pico.edit_tensors(own_pair[0], drop(name))
    refuse(CoverageError, f"0 missing, 1 unexpected.* has an unexpected '{name}'", own_pair, tmp_path)


def test_an_expert_with_another_number_of_layers_is_refused(own_pair, tmp_path):
    shutil.rmtree(own_pair[1])
    pico.save(pico.build("qwen2", layers=3), own_pair[1])
    refuse(CoverageError, "has an unexpected 'model.layers.2", own_pair, tmp_path)


def test_another_shape_names_the_tensor_and_both_shapes(own_pair, tmp_path):
    name = "model.layers.0.mlp.up_proj.weight"
    pico.edit_tensors(own_pair[1], lambda tensors: tensors | {name: tensors[name][:20]})
    refuse(CheckpointError, rf"'{name}' has shape \(24, 16\) in .*mllm and \(20, 16\) in .*expert", own_pair, tmp_path)


def test_another_vocabulary_matters_only_where_the_head_is_selected(own_pair, tmp_path):
    names = ("lm_head.weight", "model.embed_tokens.weight")
    pico.edit_tensors(own_pair[1], lambda tensors: tensors | {name: tensors[name][:60] for name in names})
    refuse(
        CheckpointError,
        r"'lm_head.weight' has shape \(64, 16\) .*\(60, 16\).*the vocabularies differ",
        own_pair,
        tmp_path,
        groups=("mlp", "lm_head"),
    )
    assert len(ReasoningPrior.extract(own_pair[0], own_pair[1], tmp_path / "fine").names) == 20


def test_heads_that_do_not_align_are_refused_though_shapes_agree(own_pair, tmp_path):
    pico.edit_config(own_pair[1], num_attention_heads=8)
    refuse(CheckpointError, "num_attention_heads is 4 in .*mllm and 8 in .*expert", own_pair, tmp_path)


def test_key_value_heads_that_do_not_align_are_refused_though_shapes_agree(own_pair, tmp_path):
    pico.edit_config(own_pair[1], num_key_value_heads=4)
    refuse(CheckpointError, "num_key_value_heads is 2 in .*mllm and 4 in .*expert", own_pair, tmp_path)


def test_another_rope_theta_is_a_warning_with_both_values(own_pair, tmp_path, caplog):
    pico.edit_config(own_pair[1], rope_parameters={"rope_type": "default", "rope_theta": 1000000.0})
    ReasoningPrior.extract(own_pair[0], own_pair[1], tmp_path / "prior")
    assert any("rope_theta is 10000.0 in" in line and "1000000.0 in" in line for line in caplog.messages)


def test_a_tied_head_can_t_be_selected(tmp_path):
    pair = pico.save_pair("qwen2_5_vl", tmp_path / "tied", tied=True)
    refuse(CheckpointError, "lm_head was selected, but in .* it is tied", pair, tmp_path, groups=("lm_head",))
    assert len(ReasoningPrior.extract(pair[0], pair[1], tmp_path / "rest").names) == 20


def test_a_tied_expert_s_head_is_its_embeddings(own_pair, tmp_path):
    tied = pico.build_and_save("qwen2", tmp_path / "tied", tied=True, dtype=torch.bfloat16)
    prior = ReasoningPrior.extract(own_pair[0], tied, tmp_path / "prior", groups=("lm_head",))
    expected = lm(tied)["model.embed_tokens.weight"] - lm(own_pair[0])["lm_head.weight"]
    assert torch.equal(prior.read("lm_head.weight"), expected.float().bfloat16().float())


def test_a_nan_is_named_and_nothing_is_left(own_pair, tmp_path):
    name = "model.layers.0.mlp.up_proj.weight"
    pico.edit_tensors(own_pair[1], lambda tensors: tensors | {name: tensors[name] * math.nan})
    refuse(CheckpointError, f"'{name}' holds a NaN", own_pair, tmp_path)


def test_equal_models_give_a_zero_prior_and_say_so(tmp_path, caplog):
    folder = pico.build_and_save("qwen2", tmp_path / "m")
    prior = ReasoningPrior.extract(folder, folder, tmp_path / "prior")
    assert all(prior.norm(name) == 0.0 for name in prior.names)
    assert "Delta is all zeros in 20 of 20 tensors" in caplog.text


def test_a_folder_without_a_prior_or_of_another_format_is_refused(priors, tmp_path):
    with pytest.raises(PriorError, match=r"no prior\.json in"):
        ReasoningPrior.load(tmp_path)
    copy = shutil.copytree(priors["direct"].folder, tmp_path / "copy")
    metadata = json.loads((copy / "prior.json").read_text())
    (copy / "prior.json").write_text(json.dumps(metadata | {"format": 0}))
    with pytest.raises(PriorError, match="has prior format 0, expected 1; extract it again"):
        ReasoningPrior.load(copy)
    metadata["tensors"].pop("lm_head.weight")
    (copy / "prior.json").write_text(json.dumps(metadata))
    with pytest.raises(CoverageError, match=r"has an unexpected 'lm_head\.weight'"):
        ReasoningPrior.load(copy)
