"""The matrix's cases under transformers' Trainer and under accelerate, from a saved checkpoint as users train them."""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from injection_cases import ALPHA, LEARNING_RATE, STEPS, Case, batches, build_model, build_prior
from torch import Tensor
from torch.utils.data import Dataset, SequentialSampler
from transformers import PreTrainedModel, Qwen2ForCausalLM, Trainer, TrainerCallback, TrainingArguments
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from drift import GradientInjector, RunObserver


class Rows(Dataset):
    """The case's tokens in the order in which a sequential sampler deals them out to two ranks."""

    def __init__(self, accumulation: int) -> None:
        self.tokens = batches(accumulation).transpose(1, 2).flatten(0, 3)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.tokens[index], "labels": self.tokens[index]}


class InOrder(Trainer):
    """A Trainer that does not shuffle."""

    def _get_train_sampler(self, *args: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class StopAfter(TrainerCallback):
    """Ends training after a step, as a killed job would."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = state.global_step >= self._step


def fresh_states() -> None:
    """Forget accelerate's singletons and transformers' DeepSpeed config, so that one process can run several cases."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    unset_hf_deepspeed_config()


def _arguments(case: Case, folder: Path, engine_config: dict[str, Any] | None) -> TrainingArguments:
    config = None
    if engine_config is not None:
        config = {**engine_config, "gradient_clipping": "auto", "train_micro_batch_size_per_gpu": "auto"}
        config["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] = True
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=case.accumulation,
        max_steps=STEPS,
        max_grad_norm=case.clip,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        optim="adamw_torch",
        use_cpu=True,
        ddp_backend="gloo",
        report_to=[],
        save_strategy="steps" if case.resume else "no",
        save_steps=2,
        disable_tqdm=True,
        deepspeed=config,
        seed=0,
    )


def _trainer(case: Case, arguments: TrainingArguments, checkpoint: Path) -> Trainer:
    model = Qwen2ForCausalLM.from_pretrained(checkpoint, attn_implementation="eager", dtype=torch.float32)
    return InOrder(model, arguments, train_dataset=Rows(case.accumulation))


def run_trainer(case: Case, folder: Path, engine_config: dict[str, Any] | None) -> dict[str, Any]:
    """Weights and metrics after Trainer.train(), resumed from step 2 by new objects if the case says so."""
    checkpoint = folder / "start"
    build_model(case.tied).save_pretrained(checkpoint)  # transformers writes on rank 0 alone
    dist.barrier()
    output = folder / f"{case.name}.output"
    arguments = _arguments(case, output, engine_config)
    trainer = _trainer(case, arguments, checkpoint)
    prior = build_prior(build_model(case.tied), case.groups)
    injector = GradientInjector(prior, alpha=ALPHA, scale=case.scale, semantics=case.semantics).attach(trainer)
    watcher = RunObserver(prior).attach(trainer)
    if case.resume:
        trainer.add_callback(StopAfter(2))
        trainer.train()
        injector.detach()
        trainer = _trainer(case, _arguments(case, output, engine_config), checkpoint)
        injector = GradientInjector(prior, alpha=ALPHA, scale=case.scale, semantics=case.semantics).attach(trainer)
        watcher = RunObserver(prior).attach(trainer)
    trainer.train(resume_from_checkpoint=str(output / "checkpoint-2") if case.resume else None)
    seen = {"w_eff": injector.w_eff(), "metrics": injector.metrics(), "table": injector.layer_table()}
    seen |= {"covered": injector.covered, "expected": injector.expected, "watched": watcher.w_eff()}
    weights = _weights(trainer, case)
    injector.detach()
    fresh_states()
    return {"weights": weights, **seen}


def _weights(trainer: Trainer, case: Case) -> dict[str, Tensor]:
    import deepspeed

    model: PreTrainedModel = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    with deepspeed.zero.GatheredParameters(list(model.parameters()), enabled="zero3" in case.backend):
        return {name: p.detach().float().clone() for name, p in model.named_parameters()}


def run_accelerator(case: Case) -> dict[str, Any]:
    """Weights after a hand-written accelerate loop under DDP."""
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=case.accumulation)
    model = build_model(case.tied)
    prior = build_prior(model, case.groups)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    model, optimizer = accelerator.prepare(model, optimizer)
    injector = GradientInjector(prior, alpha=ALPHA, scale=case.scale, semantics=case.semantics).attach(accelerator)
    for step in batches(case.accumulation):
        for tokens in step[dist.get_rank()]:
            with accelerator.accumulate(model):
                accelerator.backward(model(input_ids=tokens, labels=tokens).loss)
                if accelerator.sync_gradients and case.clip:
                    accelerator.clip_grad_norm_(model.parameters(), case.clip)
                optimizer.step()
                optimizer.zero_grad()
    weights = {name: p.detach().clone() for name, p in accelerator.unwrap_model(model).named_parameters()}
    seen = {"w_eff": injector.w_eff(), "metrics": injector.metrics(), "table": injector.layer_table()}
    seen |= {"covered": injector.covered, "expected": injector.expected}
    injector.detach()
    fresh_states()
    return {"weights": weights, **seen}
