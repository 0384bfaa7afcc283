"""PEFT models: what is trained whole is biased under its own name, what only adapters train is refused by theirs."""

from pathlib import Path

import pico
import pytest
import torch
from injection_cases import build_model, build_prior
from transformers import PreTrainedModel

from drift import GradientInjector, ReasoningPrior
from drift.adapters import adapters_of, own_parameters
from drift.errors import CoverageError

peft = pytest.importorskip("peft")

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]


def lora(model: PreTrainedModel, **options: object):
    return peft.get_peft_model(model, peft.LoraConfig(r=2, **{"target_modules": ATTENTION, **options}))


@pytest.mark.parametrize("family", ["qwen2", "qwen2_5_vl", "llava_next", "idefics2", "qwen3_vl"])
def test_every_parameter_keeps_its_own_name_behind_peft(family: str):
    names = {name for name, _ in pico.build(family).named_parameters()}
    wrapped = lora(
        pico.build(family), modules_to_save=["lm_head", "up_proj"], target_modules=["q_proj", "embed_tokens"]
    )
    assert set(own_parameters(wrapped.base_model.model)) == names


def test_modules_trained_whole_get_the_bias_that_they_get_without_peft():
    plain, wrapped = build_model(), lora(build_model(), modules_to_save=MLP, init_lora_weights=True).train()
    prior = build_prior(plain, ("mlp",))
    tokens = torch.arange(2, 20).view(2, 9)
    for model in (plain, wrapped):
        injector = GradientInjector(prior).attach(model)
        model(input_ids=tokens, labels=tokens).loss.backward()
        injector.apply()
        assert injector.covered == injector.expected == 6
    biased = own_parameters(wrapped.base_model.model)
    for name in prior.names:
        torch.testing.assert_close(biased[name].grad, plain.get_parameter(name).grad)
    copy = wrapped.get_parameter("base_model.model.model.layers.0.mlp.up_proj.modules_to_save.default.weight")
    assert biased["model.layers.0.mlp.up_proj.weight"] is copy
    with torch.no_grad():
        for name in prior.names:
            biased[name].add_(prior.read(name), alpha=0.25)
    assert injector.w_eff() == pytest.approx(0.25, rel=1e-4)


def test_a_vision_language_model_behind_peft_is_covered_by_a_prior_from_disk(tmp_path: Path):
    mllm, expert, _ = pico.save_pair("qwen2_5_vl", tmp_path)
    prior = ReasoningPrior.extract(mllm, expert, tmp_path / "prior", groups=("mlp",))
    model = lora(pico.build("qwen2_5_vl"), modules_to_save=MLP)
    injector = GradientInjector(prior).attach(model)
    assert injector.covered == injector.expected == 6
    rows = {share.group: share for share in injector.coverage()}
    assert (rows["mlp"].is_covered, rows["mlp"].layers, rows["mlp"].parameters) == (True, (0, 1), 6)
    copied = sum(".original_module." in name for name, _ in model.named_parameters())
    assert rows["adapters"].parameters == 4 * 2 * 2 + copied  # A and B of four projections in two layers
    assert "PEFT's" in rows["adapters"].reason


@pytest.mark.parametrize("kind", ["wrapped", "native"])
def test_weights_that_only_adapters_train_are_refused_with_the_adapters_and_the_remedy(kind: str):
    prior, model = build_prior(build_model(), ("attn", "mlp")), build_model()
    config = peft.LoraConfig(r=2, target_modules=ATTENTION)
    if kind == "native":
        model.add_adapter(config, adapter_name="mine")
    else:
        model = peft.get_peft_model(model, config, adapter_name="mine")
    assert adapters_of(model) == ["mine (LORA)"]
    with pytest.raises(
        CoverageError,
        match=r"self_attn.q_proj.weight' is selected .* 20 of 20: .*adapters mine \(LORA\).*merge_and_unload.*modules_",
    ):
        GradientInjector(prior).attach(model)


def test_prompt_tuning_is_refused_by_name():
    model = peft.get_peft_model(build_model(), peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    with pytest.raises(CoverageError, match=r"adapters default \(PROMPT_TUNING\)"):
        GradientInjector(build_prior(build_model(), ("mlp",))).attach(model)


def test_a_group_of_which_a_part_is_frozen_is_refused():
    model = lora(build_model(), modules_to_save=["up_proj"])
    with pytest.raises(CoverageError, match=r"mlp.gate_proj.weight' .* as are 4 of 6"):
        GradientInjector(build_prior(build_model(), ("mlp",))).attach(model)


def test_a_merged_model_is_a_plain_one():
    model = lora(build_model()).merge_and_unload()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    injector = GradientInjector(build_prior(build_model(), ("attn", "mlp"))).attach(model)
    assert injector.covered == 20
    assert adapters_of(model) == []
