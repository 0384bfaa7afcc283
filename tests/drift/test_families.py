"""Every spelling of an LM tensor that a family has had maps to one canonical name, and nothing else maps to any."""

import pico
import pytest
import torch
from torch import nn

from drift.checkpoints import Checkpoint
from drift.errors import CheckpointError, FamilyError
from drift.families import FAMILIES, family_of, get_family, lm_config, lm_index, lm_parameters

Q = "model.layers.1.self_attn.q_proj.weight"


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_disk_and_memory_agree_on_every_lm_tensor(name, tied, tmp_path):
    model = pico.build(name, tied=tied)
    checkpoint = Checkpoint(pico.save(model, tmp_path / "m"))
    memory = lm_parameters(model, get_family(name))
    disk = checkpoint.lm_names()
    assert set(disk) == set(memory)
    assert ("lm_head.weight" in disk) is not tied
    assert all(torch.equal(checkpoint.read(disk[key]), memory[key].data) for key in disk)


@pytest.mark.parametrize("name", pico.MLLM_FAMILIES)
def test_an_mllm_s_lm_has_the_names_and_shapes_of_its_text_expert(name):
    mllm = lm_parameters(pico.build(name), get_family(name))
    expert = lm_parameters(pico.build(pico.EXPERT_OF[name]), get_family(FAMILIES[name].text))
    assert {key: p.shape for key, p in mllm.items()} == {key: p.shape for key, p in expert.items()}


@pytest.mark.parametrize(
    ("family", "spelling"),
    [
        ("qwen2_5_vl", "model.layers.1.self_attn.q_proj.weight"),
        ("qwen2_5_vl", "model.language_model.layers.1.self_attn.q_proj.weight"),
        ("qwen2_5_vl", "language_model.model.layers.1.self_attn.q_proj.weight"),
        ("qwen2_vl", "model.layers.1.self_attn.q_proj.weight"),
        ("qwen3_vl", "model.language_model.layers.1.self_attn.q_proj.weight"),
        ("llava_next", "language_model.model.layers.1.self_attn.q_proj.weight"),
        ("llava_next", "model.language_model.layers.1.self_attn.q_proj.weight"),
        ("idefics2", "model.text_model.layers.1.self_attn.q_proj.weight"),
    ],
)
def test_old_and_new_layouts_mean_the_same_tensor(family, spelling):
    assert get_family(family).canonical(spelling) == Q


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("idefics2", "model.connector.perceiver_resampler.layers.1.self_attn.q_proj.weight"),
        ("idefics2", "model.connector.perceiver_resampler.norm.weight"),
        ("idefics2", "model.vision_model.encoder.layers.1.self_attn.q_proj.weight"),
        ("idefics2", "model.layers.1.self_attn.q_proj.weight"),
        ("llava_next", "vision_tower.vision_model.encoder.layers.1.self_attn.q_proj.weight"),
        ("llava_next", "model.vision_tower.encoder.layers.1.self_attn.q_proj.weight"),
        ("llava_next", "image_newline"),
        ("qwen2_5_vl", "visual.blocks.1.mlp.gate_proj.weight"),
        ("qwen2_5_vl", "model.visual.blocks.1.mlp.gate_proj.weight"),
        ("qwen3_vl", "model.visual.deepstack_merger_list.0.norm.weight"),
        ("llama", "model.layers.1.self_attn.rotary_emb.inv_freq"),
    ],
)
def test_vision_connector_and_buffers_are_no_lm_tensors(family, name):
    assert get_family(family).canonical(name) is None


@pytest.mark.parametrize("head", ["lm_head.weight", "language_model.lm_head.weight"])
def test_llava_next_s_head_has_two_spellings(head):
    assert get_family("llava_next").canonical(head) == "lm_head.weight"


@pytest.mark.parametrize("tail", ["q_proj.lora_A.default.weight", "q_proj.base_layer.weight", "q_proj.qweight"])
def test_adapters_and_quantised_weights_are_refused_by_name(tail):
    with pytest.raises(FamilyError, match=rf"unknown LM tensor 'model.layers.0.self_attn.{tail}'"):
        get_family("qwen2").canonical(f"model.layers.0.self_attn.{tail}")


def test_two_spellings_of_one_tensor_in_one_checkpoint_are_refused():
    with pytest.raises(CheckpointError, match=r"'model.language_model.norm.weight'.*both 'model.norm.weight'"):
        lm_index(["model.norm.weight", "model.language_model.norm.weight"], get_family("qwen2_vl"))


def test_a_model_of_another_family_is_refused():
    with pytest.raises(FamilyError, match=r"no LM layer of family idefics2 .*model.text_model"):
        lm_parameters(pico.build("qwen2"), get_family("idefics2"))


def test_the_family_is_read_from_model_type_never_from_the_path(tmp_path):
    folder = pico.build_and_save("mistral", tmp_path / "Qwen2.5-VL-7B")
    assert family_of(folder).name == "mistral"


def test_an_unknown_family_names_the_closest():
    with pytest.raises(FamilyError, match=r"unknown model family 'qwen2_5vl'; did you mean 'qwen2_5_vl'"):
        family_of({"model_type": "qwen2_5vl"})
    with pytest.raises(FamilyError, match="has no model_type"):
        family_of({})


# The LMs' numbers in the published config.json files, cut to two layers: (MLLM, expert).
PUBLISHED = {
    "qwen2_5_vl": ((3584, 18944, 28, 4, 152064), (3584, 18944, 28, 4, 152064)),  # 7B-Instruct, R1-Distill-Qwen-7B
    "qwen2_vl": ((3584, 18944, 28, 4, 152064), (3584, 18944, 28, 4, 152064)),  # 7B-Instruct, Qwen2-Math-7B
    "llava_next": ((4096, 14336, 32, 8, 128320), (4096, 14336, 32, 8, 128256)),  # llama3-llava-next-8b, Llama-3-8B
    "idefics2": ((4096, 14336, 32, 8, 32003), (4096, 14336, 32, 8, 32000)),  # idefics2-8b, Mistral-7B
    "qwen3_vl": ((4096, 12288, 32, 8, 151936), (4096, 12288, 32, 8, 151936)),  # 8B-Instruct, Qwen3-8B
}


def published(family, numbers):
    keys = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "vocab_size")
    with torch.device("meta"):
        model = pico.BUILDERS[family](
            pico.LM | dict(zip(keys, numbers, strict=True)) | {"head_dim": 128, "tie_word_embeddings": False}
        )
    return {name: tuple(p.shape) for name, p in lm_parameters(model, get_family(family)).items()}


@pytest.mark.parametrize("family", PUBLISHED)
def test_published_shapes_agree_in_all_but_the_vocabulary(family):
    mllm, expert = PUBLISHED[family]
    ours, theirs = published(family, mllm), published(pico.EXPERT_OF[family], expert)
    differing = {name for name in ours if ours[name] != theirs[name]}
    assert ours.keys() == theirs.keys()
    assert differing == ({"model.embed_tokens.weight", "lm_head.weight"} if mllm[-1] != expert[-1] else set())
    assert ours["model.layers.1.self_attn.k_proj.weight"] == (128 * mllm[3], mllm[0])  # grouped-query attention
    assert ours["model.layers.1.mlp.down_proj.weight"] == (mllm[0], mllm[1])


def test_wrappers_do_not_hide_the_lm():
    model = pico.build("qwen2_5_vl")
    wrapped = nn.Module()
    wrapped.module = nn.Module()
    wrapped.module._orig_mod = model
    assert list(lm_parameters(wrapped, get_family("qwen2_5_vl"))) == list(
        lm_parameters(model, get_family("qwen2_5_vl"))
    )


@pytest.mark.parametrize(
    "config",
    [
        {"rope_theta": 1e6, "tie_word_embeddings": True},
        {"text_config": {"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}, "tie_word_embeddings": True}},
        {"rope_scaling": {"rope_theta": 1e6}, "text_config": {"tie_word_embeddings": True}},
    ],
)
def test_rope_and_tying_are_found_in_every_layout_of_the_config(config):
    assert lm_config(config).rope_theta == 1e6
    assert lm_config(config).is_tied
