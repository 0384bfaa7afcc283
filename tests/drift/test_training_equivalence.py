"""DRIFT through Trainer and DeepSpeed against a loop of plain PyTorch, and two processes against one.

The loop is written from section 3.3 and the definition of the schedule alone. All replies have equally many tokens, so
a mean of the ranks' mean losses is the mean over all; every step sees all examples, so no data order enters.
"""

import json
import math
from dataclasses import replace

import pytest
import torch
import training_world as tw
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from drift.errors import TrainingError
from drift.families import family_of, lm_parameters
from drift.prior import ReasoningPrior
from drift.training import InjectionConfig, run_job
from drift.training.batches import collate
from drift.training.conversations import read_conversations
from drift.training.data import encode
from drift.training.launch import LOG, launch_command, run_launched

ALPHA, LEARNING_RATE, STEPS, CLIP = -0.5, 1e-3, 6, 1.0
DRIFT = InjectionConfig(scale="adaptive", alpha=ALPHA, semantics="step")
FULL = {"epochs": STEPS, "global_batch": 12, "learning_rate": LEARNING_RATE, "max_grad_norm": CLIP, "warmup_ratio": 0.3}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return tw.save_world(tmp_path_factory.mktemp("world"))


def learning_rate(step):
    """Cosine with a linear warm-up of ceil(0.3 * 6) = 2 steps; `step` from 0."""
    warmup = 2
    if step < warmup:
        return LEARNING_RATE * step / warmup
    return LEARNING_RATE * (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup))) / 2


def bias(gradient, delta):
    """g + alpha (1 + cos(g, Delta)) / 2 ||g|| Delta / ||Delta||"""
    g_norm, d_norm = gradient.norm(), delta.norm()
    cosine = (gradient * delta).sum() / (g_norm * d_norm)
    return gradient + ALPHA * (1 + cosine) / 2 * g_norm * delta / d_norm


@pytest.fixture(scope="module")
def reference(world):
    """{name on disk: LM weight} after six steps of the plain loop, and the losses."""
    model = AutoModelForImageTextToText.from_pretrained(world / "mllm", dtype=torch.float32).train()
    parameters = lm_parameters(model, family_of(world / "mllm"))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    prior = ReasoningPrior.load(world / "prior")
    conversations = read_conversations(world / "data/train.json")
    batch = collate([encode(tw.processor(), conversation) for conversation in conversations], pad_id=0)
    optimizer = torch.optim.AdamW(parameters.values(), lr=LEARNING_RATE, betas=(0.9, 0.999), weight_decay=0.0)
    losses = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.zero_grad()
        logits = model(**{k: v for k, v in batch.items() if k != "labels"}).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten())
        loss.backward()
        for name in prior.names:
            parameters[name].grad = bias(parameters[name].grad, prior.read(name))
        torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP)
        optimizer.step()
        losses.append(loss.item())
    return {name: parameter.detach() for name, parameter in parameters.items()}, losses


def lm_weights(job):
    """Text names are canonical on disk too (Qwen2.5-VL)."""
    return {k: v for k, v in load_file(job.out / "model.safetensors").items() if not k.startswith("visual")}


def losses(job):
    return [json.loads(line)["loss"] for line in (job.out / "metrics.jsonl").read_text().splitlines()]


def farthest(one, two):
    assert one.keys() == two.keys()
    return max((one[name] - two[name]).abs().max().item() for name in one)


@pytest.fixture(scope="module")
def start(world):
    return {k: v for k, v in load_file(world / "mllm/model.safetensors").items() if not k.startswith("visual")}


@pytest.mark.parametrize("stage", [0, 2])
def test_one_process_is_the_plain_loop(world, reference, start, stage):
    """Every weight within 1e-6, where the weights themselves have moved by more than 1e-3."""
    job = tw.make_job(world, world / f"one{stage}", injection=DRIFT, per_device_batch_size=12, zero_stage=stage, **FULL)
    run_job(job)
    assert farthest(lm_weights(job), start) > 1e-3
    assert farthest(lm_weights(job), reference[0]) < 1e-6
    assert losses(job) == pytest.approx(reference[1], abs=1e-5)


def test_without_the_bias_the_loop_is_another(world, reference):
    """The comparison can fail: plain SFT ends far from the biased loop."""
    job = tw.make_job(world, world / "sft", per_device_batch_size=12, **FULL)
    run_job(job)
    assert farthest(lm_weights(job), reference[0]) > 1e-3


@pytest.fixture(scope="module")
def two(world):
    """Two processes under torchrun on ZeRO-2, six examples each."""
    job = tw.make_job(world, world / "two", injection=DRIFT, per_device_batch_size=6, processes=2, **FULL)
    return job, run_launched(job, "torchrun")


def test_two_processes_are_the_plain_loop(two, reference):
    assert farthest(lm_weights(two[0]), reference[0]) < 1e-6
    assert losses(two[0]) == pytest.approx(reference[1], abs=1e-5)
    assert (two[1].covered, two[1].expected) == (20, 20)


def test_two_processes_are_one_with_twice_the_accumulation(world, two):
    job = tw.make_job(world, world / "twice", injection=DRIFT, per_device_batch_size=6, **FULL)
    result = run_job(job)
    assert farthest(lm_weights(job), lm_weights(two[0])) < 1e-6
    assert result.w_eff == pytest.approx(two[1].w_eff, rel=1e-4)


def test_the_error_of_the_workers_comes_back_once_as_one_line(world):
    """Both ranks find the data file missing; one of them reports it."""
    job = tw.make_job(world, world / "broken", prior=False, processes=2)
    with pytest.raises(TrainingError, match=r"^DataError: can't read the training data .*absent\.json"):
        run_launched(replace(job, data=world / "absent.json"), "torchrun")
    assert (job.out / LOG).read_text().count("DataError: can't read") == 1
    assert not (job.out / "summary.json").exists()


def test_the_number_of_processes_must_be_the_jobs(world):
    with pytest.raises(TrainingError, match="wants 2 processes and 1 run it"):
        run_job(tw.make_job(world, world / "alone", prior=False, processes=2))


def test_an_unknown_launcher_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="did you mean 'torchrun'"):
        launch_command(tmp_path / "job.json", 2, "torchrum")
