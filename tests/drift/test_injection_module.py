"""One process: coverage refusals, metrics by hand, w_eff, schedules, detaching, and injection none."""

from functools import partial
from pathlib import Path
from typing import Any

import pico
import pytest
import torch
from injection_cases import (
    ALPHA,
    LEARNING_RATE,
    Case,
    MemoryPrior,
    MemoryStart,
    batches,
    build_model,
    build_prior,
    reference,
    strength,
)
from torch import nn

from drift import GradientInjector, ReasoningPrior, RunObserver, effective_weight
from drift.errors import CoverageError, DriftError, TrainingError
from drift.injection.shards import ModuleShards
from drift.injection.targets import ModuleSeam


def _backward(model: nn.Module) -> None:
    tokens = batches(1)[0, 0, 0]
    model(input_ids=tokens, labels=tokens).loss.backward()


def _gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.fixture
def model() -> nn.Module:
    return build_model()


@pytest.fixture
def prior(model: nn.Module) -> MemoryPrior:
    return build_prior(model, ("attn", "mlp"))


@pytest.mark.parametrize("semantics", ["step", "micro_batch"])
def test_plain_module_gives_the_reference(semantics: str):
    case = Case("module", semantics=semantics, clip=0.5)
    model = build_model()
    injector = GradientInjector(build_prior(model, case.groups), alpha=ALPHA, semantics=semantics).attach(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    for step in batches(case.accumulation):
        for tokens in step[0]:
            (model(input_ids=tokens, labels=tokens).loss / case.accumulation).backward()
        injector.apply()
        torch.nn.utils.clip_grad_norm_(model.parameters(), case.clip)
        optimizer.step()
        optimizer.zero_grad()
    for name, expected in reference(case, ranks=1).items():
        torch.testing.assert_close(model.get_parameter(name).detach(), expected, atol=1e-6, rtol=0)


def test_bias_is_the_formula_and_touches_only_selected_parameters(model: nn.Module, prior: MemoryPrior):
    injector = GradientInjector(prior, alpha=-0.5).attach(model)
    _backward(model)
    before = _gradients(model)
    injector.apply()
    for name, gradient in _gradients(model).items():
        expected = before[name]
        if name in prior.names:
            delta = prior.read(name)
            expected = expected - 0.5 * strength("adaptive", expected, delta) * delta
        torch.testing.assert_close(gradient, expected)


def test_injection_none_leaves_gradients_bit_identical_and_registers_no_hook(model: nn.Module, prior: MemoryPrior):
    _backward(model)
    plain = _gradients(model)
    model.zero_grad()
    injector = GradientInjector(prior, semantics="micro_batch").attach(model)
    injector.detach()
    assert all(not parameter._backward_hooks for parameter in model.parameters())
    _backward(model)
    for name, gradient in _gradients(model).items():
        assert torch.equal(gradient, plain[name])


class CountingPrior(MemoryPrior):
    """A prior that counts the elements that are read from it."""

    elements = 0

    def read_slice(self, name: str, start: int, stop: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        self.elements += stop - start
        return super().read_slice(name, start, stop, dtype)


@pytest.mark.parametrize("attach", [RunObserver, GradientInjector, partial(GradientInjector, semantics="step")])
def test_observer_and_both_semantics_read_delta_once_and_hold_it_once(attach: Any, model: nn.Module):
    """Once for theta_0, streamed, and once to keep: no log line and no hook reads it again."""
    marks = {name: tuple(p.shape) for name, p in model.named_parameters() if "self_attn" in name}
    prior = CountingPrior(marks, ("attn",))
    whole = sum(torch.Size(shape).numel() for shape in marks.values())
    watcher = attach(prior).attach(model)
    for _ in range(2):
        _backward(model)
        if isinstance(watcher, GradientInjector):
            watcher.apply()
        watcher.w_eff()
    assert prior.elements == 2 * whole


def test_alpha_zero_leaves_gradients_bit_identical(model: nn.Module, prior: MemoryPrior):
    injector = GradientInjector(prior, alpha=0.0, scale="gradnorm").attach(model)
    _backward(model)
    before = _gradients(model)
    injector.apply()
    for name, gradient in _gradients(model).items():
        assert torch.equal(gradient, before[name])


def test_metrics_are_those_of_the_concatenated_gradients(model: nn.Module, prior: MemoryPrior):
    injector = GradientInjector(prior, alpha=-1.0, scale="gradnorm", group_alpha={"mlp": -0.25}).attach(model)
    assert injector.metrics() == {}
    _backward(model)
    gradients = _gradients(model)
    injector.apply()
    seen = injector.metrics()
    for suffix, mark, alpha in (("/attn", "self_attn", 1.0), ("/mlp", ".mlp.", 0.25)):
        names = [name for name in prior.names if mark in name]
        g = torch.cat([gradients[name].flatten() for name in names]).double()
        d = torch.cat([prior.read(name).flatten() for name in names]).double()
        assert seen["grad_norm" + suffix] == pytest.approx(float(g.norm()), rel=1e-5)
        assert seen["cosine" + suffix] == pytest.approx(float(g @ d / (g.norm() * d.norm())), rel=1e-4)
        assert seen["injected_share" + suffix] == pytest.approx(alpha, rel=1e-5)
        assert seen["alpha" + suffix] == -alpha
    assert seen["grad_norm"] == pytest.approx((seen["grad_norm/attn"] ** 2 + seen["grad_norm/mlp"] ** 2) ** 0.5)


def _move(model: nn.Module, prior: MemoryPrior, share: float) -> None:
    with torch.no_grad():
        for name in prior.names:
            model.get_parameter(name).add_(prior.read(name), alpha=share)


def test_pull_adds_what_is_left_of_the_way_to_the_expert(model: nn.Module, prior: MemoryPrior):
    """3/4 of the way there, a quarter of Delta is left: the gradient of mu ||theta - expert||^2 with mu = 0.2."""
    injector = GradientInjector(prior, scale="pull", alpha=-0.4, start=MemoryStart(), semantics="step").attach(model)
    _move(model, prior, 0.75)
    _backward(model)
    before = _gradients(model)
    injector.apply()
    for name, gradient in _gradients(model).items():
        left = -0.4 * 0.25 * prior.read(name) if name in prior.names else 0.0
        torch.testing.assert_close(gradient - before[name], left + torch.zeros_like(gradient), atol=2e-6, rtol=0)
    added = sum((0.4 * 0.25 * prior.norm(name)) ** 2 for name in prior.names) ** 0.5
    seen = injector.metrics()
    assert seen["injected_share"] * seen["grad_norm"] == pytest.approx(added, rel=1e-3)


def test_at_the_expert_pull_adds_nothing_and_beyond_it_pulls_back(model: nn.Module, prior: MemoryPrior):
    injector = GradientInjector(prior, scale="pull", alpha=-1.0, start=MemoryStart(), semantics="step").attach(model)
    for share, expected in ((1.0, 0.0), (1.5, 0.5)):
        model.load_state_dict(build_model().state_dict())
        model.zero_grad()
        _move(model, prior, share)
        _backward(model)
        before = _gradients(model)
        injector.apply()
        name = "model.layers.1.mlp.up_proj.weight"
        added = _gradients(model)[name] - before[name]
        torch.testing.assert_close(added, expected * prior.read(name), atol=2e-6, rtol=0)


def test_a_budget_stops_each_group_on_its_own(model: nn.Module, prior: MemoryPrior):
    budget = {"target_w_eff": 0.5, "total_steps": 2}
    injector = GradientInjector(prior, scale="gradnorm", semantics="step", **budget).attach(model)
    with torch.no_grad():
        for name in prior.names:
            model.get_parameter(name).add_(prior.read(name), alpha=0.4875 if "mlp" in name else 0.6)
    _backward(model)
    before = _gradients(model)
    injector.apply()
    seen = injector.metrics()
    assert seen["alpha/attn"] == 0.0
    assert seen["alpha/mlp"] == pytest.approx(-0.5, rel=1e-3)  # a fortieth of the target is left: half of alpha
    assert all(torch.equal(_gradients(model)[name], before[name]) for name in prior.names if "attn" in name)


@pytest.mark.parametrize("scale", ["absolute", "gradnorm", "adaptive", "adaptive_toward", "pull"])
@pytest.mark.parametrize("semantics", ["step", "micro_batch"])
def test_loss_scaling_scales_the_bias_alike(scale: str, semantics: str, monkeypatch: pytest.MonkeyPatch):
    """fp16 multiplies the loss until the optimizer unscales; `absolute` would otherwise lose its Delta in it."""
    seen = []
    for factor in (1.0, 1024.0):
        monkeypatch.setattr(ModuleSeam, "shards", lambda _, parameters, f=factor: ModuleShards(parameters, lambda: f))
        model = build_model()
        prior = build_prior(model, ("attn", "mlp"))
        start = MemoryStart() if scale == "pull" else None
        injector = GradientInjector(prior, scale=scale, semantics=semantics, start=start).attach(model)
        tokens = batches(1)[0, 0, 0]
        (factor * model(input_ids=tokens, labels=tokens).loss).backward()
        injector.apply()
        gradients = {name: gradient / factor for name, gradient in _gradients(model).items()}
        seen.append((gradients, injector.metrics()))
    torch.testing.assert_close(seen[0][0], seen[1][0], atol=1e-6, rtol=1e-5)
    assert seen[1][1] == pytest.approx(seen[0][1], rel=1e-4)


def test_scheduled_alpha_falls_to_zero_and_survives_a_resume(model: nn.Module, prior: MemoryPrior):
    injector = GradientInjector(prior, alpha_schedule="linear", total_steps=4).attach(model)
    seen = []
    for _ in range(2):
        model.zero_grad()
        _backward(model)
        injector.apply()
        seen.append(injector.metrics()["alpha"])
    state = injector.state_dict()
    injector.detach()
    again = GradientInjector(prior, alpha_schedule="linear", total_steps=4)
    again.load_state_dict(state)
    again.attach(model).apply()
    assert [*seen, again.metrics()["alpha"]] == [-1.0, -0.75, -0.5]


def test_w_eff_is_the_share_of_a_partial_merge(model: nn.Module, prior: MemoryPrior):
    injector = GradientInjector(prior).attach(model)
    watcher = RunObserver(prior).attach(model)
    assert injector.w_eff() == watcher.w_eff() == 0.0
    with torch.no_grad():
        for name in prior.names:
            model.get_parameter(name).add_(prior.read(name), alpha=0.25 if "mlp" in name else 0.75)
    by_group = {row["name"]: row["w_eff"] for row in injector.layer_table()}
    for name, value in by_group.items():
        assert value == pytest.approx(0.25 if "mlp" in name else 0.75, rel=1e-4)
    squares = {name: prior.norm(name) ** 2 for name in prior.names}
    mean = sum(by_group[name] * squares[name] for name in prior.names) / sum(squares.values())
    assert injector.w_eff() == pytest.approx(mean, rel=1e-4)
    assert watcher.w_eff() == pytest.approx(mean, rel=1e-4)


def test_resumed_w_eff_counts_from_the_original_weights(model: nn.Module, prior: MemoryPrior):
    state = RunObserver(prior).attach(model).state_dict()
    with torch.no_grad():
        for name in prior.names:
            model.get_parameter(name).add_(prior.read(name), alpha=0.5)
    fresh = RunObserver(prior).attach(model)
    assert fresh.w_eff() == 0.0
    resumed = RunObserver(prior)
    resumed.load_state_dict(state)
    assert resumed.attach(model).w_eff() == pytest.approx(0.5, rel=1e-4)


def test_w_eff_of_two_folders_needs_no_training_code(tmp_path: Path):
    mllm, expert, _ = pico.save_pair("qwen2_5_vl", tmp_path)
    prior = ReasoningPrior.extract(mllm, expert, tmp_path / "prior", dtype=torch.float32)
    trained = pico.build("qwen2_5_vl")
    parameters = {n.replace("model.language_model.", "model."): p for n, p in trained.named_parameters()}
    with torch.no_grad():
        for name in prior.names:
            parameters[name].add_(prior.read(name), alpha=0.3)
    result = effective_weight(pico.save(trained, tmp_path / "trained"), mllm, prior)
    assert result["w_eff"] == pytest.approx(0.3, rel=1e-4)
    assert result["cosine"] == pytest.approx(1.0, rel=1e-4)
    assert {row["layer"] for row in result["layers"]} == {0, 1}


@pytest.mark.parametrize("spelling", ["model.language_model.", "model."])
def test_one_prior_covers_old_and_new_spellings_alike(spelling: str, tmp_path: Path):
    """4.51-style checkpoints say `model.layers`, 5.x models say `model.language_model.layers`."""
    mllm, expert, _ = pico.save_pair("qwen2_5_vl", tmp_path)
    pico.edit_tensors(mllm, lambda tensors: {_respell(name, spelling): t for name, t in tensors.items()})
    prior = ReasoningPrior.extract(mllm, expert, tmp_path / "prior")
    model = pico.build("qwen2_5_vl")
    injector = GradientInjector(prior).attach(model)
    assert injector.covered == injector.expected == 2 * 10
    assert [name for name in prior.names if "visual" in name] == []


def _respell(name: str, spelling: str) -> str:
    bare = name.replace("model.language_model.", "model.")
    return bare.replace("model.", spelling, 1) if bare.startswith("model.") and "visual" not in bare else name


@pytest.mark.parametrize("family", ["qwen2_5_vl", "llava_next", "idefics2", "qwen3_vl"])
def test_real_models_of_every_family_are_covered(family: str, tmp_path: Path):
    mllm, expert, _ = pico.save_pair(family, tmp_path)
    prior = ReasoningPrior.extract(mllm, expert, tmp_path / "prior", groups=("attn", "mlp", "norm"))
    injector = GradientInjector(prior).attach(pico.build(family))
    assert injector.covered == injector.expected == len(prior.names) > 0


def test_the_coverage_report_accounts_for_every_parameter_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    mllm, expert, _ = pico.save_pair("qwen2_5_vl", tmp_path)
    prior = ReasoningPrior.extract(mllm, expert, tmp_path / "prior", layers=[1])
    model = pico.build("qwen2_5_vl")
    injector = GradientInjector(prior)
    with pytest.raises(DriftError, match=r"call attach\(target\) first"):
        injector.coverage()
    with caplog.at_level("INFO", logger="drift"):
        rows = injector.attach(model).coverage()
    assert sum(row.parameters for row in rows) == len(list(model.parameters()))
    assert sum(row.elements for row in rows) == sum(parameter.numel() for parameter in model.parameters())
    covered = [row for row in rows if row.is_covered]
    assert [(row.group, row.layers, row.parameters) for row in covered] == [("attn", (1,), 7), ("mlp", (1,), 3)]
    assert sum(row.elements for row in covered) == sum(prior.numel(name) for name in prior.names)
    left = {(row.group, row.layers): row.reason for row in rows if not row.is_covered}
    assert left["attn", (0,)] == "its layers are not in the prior"
    assert left["norm", (0, 1)] == "the prior has no such group"
    assert left["outside", ()] == "not the language model's"
    assert "prior covers 10/10 parameters of Qwen2_5_VLForConditionalGeneration: attn 7 in layers 1" in caplog.text
    assert "Left out: " in caplog.text
    assert "norm 4 in layers 0-1, 64 elements (the prior has no such group)" in caplog.text


def test_a_delta_without_a_parameter_is_named(prior: MemoryPrior, model: nn.Module):
    prior.tensors["model.layers.2.mlp.up_proj.weight"] = torch.ones(25, 24)
    with pytest.raises(CoverageError, match=r"covers 20 of 21 .*layers.2.mlp.up_proj.weight' of shape \(25, 24\)"):
        GradientInjector(prior).attach(model)


def test_a_parameter_without_a_delta_is_named(prior: MemoryPrior, model: nn.Module):
    del prior.tensors["model.layers.1.self_attn.k_proj.bias"]
    with pytest.raises(CoverageError, match=r"covers 19 of 20 .*layers.1.self_attn.k_proj.bias'"):
        GradientInjector(prior).attach(model)


def test_two_shapes_are_both_named(prior: MemoryPrior, model: nn.Module):
    prior.tensors["model.layers.0.mlp.up_proj.weight"] = torch.ones(24, 25)
    with pytest.raises(CoverageError, match=r"'model.layers.0.mlp.up_proj.weight' has shape \(25, 24\) .*\(24, 25\)"):
        GradientInjector(prior).attach(model)


def test_a_frozen_selected_parameter_is_refused(prior: MemoryPrior, model: nn.Module):
    model.model.layers[1].self_attn.q_proj.weight.requires_grad_(False)
    with pytest.raises(CoverageError, match=r"'model.layers.1.self_attn.q_proj.weight' is selected .* frozen"):
        GradientInjector(prior).attach(model)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"scale": "gradnorn"}, "unknown scale 'gradnorn'; did you mean 'gradnorm'"),
        ({"semantics": "microbatch"}, "unknown semantics 'microbatch'; did you mean 'micro_batch'"),
        ({"alpha_schedule": "cosin"}, "unknown alpha_schedule 'cosin'"),
        ({"scale": "pull"}, "'pull' needs start=, the checkpoint that training began from"),
        ({"group_alpha": {"norm": 1.0}}, "group_alpha names 'norm'; the prior has the groups attn, mlp"),
    ],
)
def test_unknown_choices_are_refused(choices: dict[str, Any], message: str, prior: MemoryPrior):
    with pytest.raises(DriftError, match=message):
        GradientInjector(prior, **choices)


def test_misuse_is_refused(prior: MemoryPrior, model: nn.Module):
    injector = GradientInjector(prior)
    with pytest.raises(DriftError, match="apply\\(\\) is for an attached plain module"):
        injector.apply()
    with pytest.raises(TrainingError, match="can't attach to a list"):
        injector.attach([])
    injector.attach(model)
    with pytest.raises(DriftError, match="already attached"):
        injector.attach(model)
    with pytest.raises(CoverageError, match="found a Linear without a transformers model"):
        GradientInjector(prior).attach(nn.Linear(2, 2))
