"""Somebody else's training script: TRL's SFTTrainer, and the README's ten lines, run as they stand."""

import logging
import re
from pathlib import Path

import pico
import pytest
import torch
from transformers import Trainer, TrainingArguments

from drift import GradientInjector, ReasoningPrior, effective_weight

README = Path(__file__).parents[2] / "README.md"
MARKER = "<!-- drift-in-your-trainer -->"


def _rows(count: int = 8) -> list[dict[str, list[int]]]:
    tokens = torch.randint(3, 60, (count, 12), generator=torch.Generator().manual_seed(0)).tolist()
    return [{"input_ids": row, "labels": row} for row in tokens]


def _arguments(folder: Path) -> dict[str, object]:
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": 2,
        "max_steps": 3,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "bf16": False,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
    }


def test_the_readmes_lines_put_the_prior_into_a_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    match = re.search(re.escape(MARKER) + r"\s*```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert match, f"README.md has no python block after {MARKER}"
    assert len(match[1].strip().splitlines()) <= 10
    mllm, expert, _ = pico.save_pair("qwen2_5_vl", tmp_path)
    trainer = Trainer(
        pico.build("qwen2_5_vl"), TrainingArguments(**_arguments(tmp_path / "out")), train_dataset=_rows()
    )
    monkeypatch.chdir(tmp_path)
    scope = {"trainer": trainer, "mllm": mllm, "expert": expert}
    exec(match[1], scope)
    assert scope["injector"].covered == scope["injector"].expected == 20
    assert scope["injector"].w_eff() > 0.001
    trained = pico.save(trainer.model, tmp_path / "trained")
    assert effective_weight(trained, mllm, scope["prior"])["w_eff"] == pytest.approx(
        scope["injector"].w_eff(), rel=1e-3
    )


def test_the_trainers_own_log_has_what_the_injection_knows_at_logged_steps_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    mllm, expert, _ = pico.save_pair("qwen2_5_vl", tmp_path)
    prior = ReasoningPrior.extract(mllm, expert, tmp_path / "prior")
    arguments = TrainingArguments(**_arguments(tmp_path / "out"), logging_steps=2)
    trainer = Trainer(pico.build("qwen2_5_vl"), arguments, train_dataset=_rows())
    measured, observed = [], GradientInjector.w_eff
    monkeypatch.setattr(GradientInjector, "w_eff", lambda self: measured.append(1) or observed(self))
    injector = GradientInjector(prior, semantics="step").attach(trainer)
    trainer.train()
    (line,) = [line for line in trainer.state.log_history if "loss" in line]
    assert line["step"] == 2
    assert len(measured) == 1  # three steps, one logged
    injector.w_eff()
    names = {f"drift/{key}" for key in injector.metrics()}
    assert {"drift/grad_norm", "drift/cosine", "drift/injected_share", "drift/alpha", "drift/w_eff"} < names
    assert {key for key in line if key.startswith("drift/")} == names
    assert line["drift/alpha"] == -1.0
    assert 0.3 < line["drift/injected_share/mlp"] < 1.0
    assert 0.0 < line["drift/w_eff"] < injector.metrics()["w_eff"]
    assert not any(key.startswith("drift/") for key in trainer.state.log_history[-1])  # the closing summary
    injector.detach()
    assert "log" not in vars(trainer)


def test_trls_sft_trainer_moves_along_the_prior(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    trl = pytest.importorskip("trl", reason="TRL is not installed; see the dev extra in pyproject.toml")
    datasets = pytest.importorskip("datasets")
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    mllm, expert = (pico.build_and_save("qwen2", tmp_path / name, seed=seed) for seed, name in enumerate("ab"))
    prior = ReasoningPrior.extract(mllm, expert, tmp_path / "prior")
    words = {f"w{i}": i for i in range(pico.VOCABULARY)}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="w0", eos_token="w2")
    results = {}
    for inject in (False, True):
        trainer = trl.SFTTrainer(
            pico.build("qwen2"),
            args=trl.SFTConfig(**_arguments(tmp_path / f"out{inject}"), gradient_checkpointing=False),
            train_dataset=datasets.Dataset.from_list(_rows()),
            processing_class=tokenizer,
        )
        with caplog.at_level(logging.INFO, logger="drift"):
            injector = GradientInjector(prior, alpha=-1.0).attach(trainer) if inject else None
            trainer.train()
        trained = pico.save(trainer.model, tmp_path / f"trained{inject}")
        results[inject] = effective_weight(trained, mllm, prior)["w_eff"]
    assert "prior covers 20/20 parameters of Qwen2ForCausalLM" in caplog.text
    assert injector.metrics()["injected_share"] > 0.3
    assert results[True] > 0.001 > 10 * abs(results[False])
