"""Whole jobs on one process: the same bits with and without observation, and with and without an interruption."""

import errno
import itertools
import json
import logging
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import types

import pico
import pytest
import torch
import training_world as tw
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, LlavaNextProcessor
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from drift.errors import CheckpointError, TrainingError
from drift.families import family_of, lm_parameters
from drift.injection import effective_weight
from drift.prior import ReasoningPrior
from drift.processing import load_processor
from drift.training import InjectionConfig, kernels, run_job
from drift.training.checkpoints import find_resume_point
from drift.training.division import identity
from drift.training.trainer import GuardedTrainer, _arguments

DRIFT = InjectionConfig(scale="adaptive", alpha=-0.5)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return tw.save_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def plain(world):
    """Plain SFT without a prior."""
    job = tw.make_job(world, world / "plain", prior=False)
    return job, run_job(job)


@pytest.fixture(scope="module")
def drifted(world):
    """DRIFT with checkpoints at steps 4 and 8 of 12, uninterrupted."""
    job = tw.make_job(world, world / "drifted", injection=DRIFT, save_steps=4)
    return job, run_job(job)


def weights(job):
    return load_file(job.out / "model.safetensors")


def lines(job):
    return [json.loads(line) for line in (job.out / "metrics.jsonl").read_text().splitlines()]


def assert_same_bits(one, two):
    assert one.keys() == two.keys()
    different = [name for name in one if not torch.equal(one[name], two[name])]
    assert not different


def test_injection_none_trains_the_same_bits_with_and_without_a_prior_to_observe(world, plain):
    observed = tw.make_job(world, world / "observed", prior=True)
    result = run_job(observed)
    assert_same_bits(weights(observed), weights(plain[0]))
    assert plain[1].w_eff is None
    prior = ReasoningPrior.load(world / "prior")
    on_disk = effective_weight(observed.out, world / "mllm", prior)["w_eff"]
    assert result.w_eff == pytest.approx(on_disk, rel=1e-4)
    assert all(line["w_eff"] is not None and line["cosine"] is None for line in lines(observed))


def test_only_the_language_model_moves(world, plain):
    before, after = load_file(world / "mllm/model.safetensors"), weights(plain[0])
    family = family_of(world / "mllm")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name for name in moved if family.canonical(name) is None} == set()
    still = {family.canonical(name) for name in before.keys() - moved} - {None}
    assert still == set()


def test_the_projector_trains_only_when_asked(world):
    job = tw.make_job(world, world / "projector", prior=False, train_projector=True, epochs=1)
    run_job(job)
    before, after = load_file(world / "mllm/model.safetensors"), weights(job)
    moved = {name for name in before if name.startswith("visual") and not torch.equal(before[name], after[name])}
    assert moved
    assert all(".merger." in name for name in moved)


def test_each_step_says_how_far_every_group_went_and_at_what_pace(drifted):
    job, _ = drifted
    table = json.loads((job.out / "injection.json").read_text())["layers"]
    for group in {row["group"] for row in table}:
        rows = [(row["w_eff"], row["delta_norm"] ** 2) for row in table if row["group"] == group]
        expected = sum(share * squared for share, squared in rows) / sum(squared for _, squared in rows)
        assert lines(job)[-1][f"w_eff/{group}"] == pytest.approx(expected, rel=1e-6)
    pace = [json.loads(line) for line in (job.out / "pace.jsonl").read_text().splitlines()]
    assert [line["step"] for line in pace] == [line["step"] for line in lines(job)]
    assert all(line["tokens_per_second"] > 0 and line["memory_gb"] > 0 for line in pace)


def test_drift_moves_along_the_prior_and_says_so(world, drifted, plain):
    job, result = drifted
    assert (result.covered, result.expected) == (20, 20)
    on_disk = effective_weight(job.out, world / "mllm", ReasoningPrior.load(world / "prior"))["w_eff"]
    assert result.w_eff == pytest.approx(on_disk, rel=1e-4)
    assert result.w_eff > 0.01
    assert [line["step"] for line in lines(job)] == list(range(1, 13))
    for line in lines(job):
        # adaptive: the injected norm of each tensor is |alpha| (1 + cos) / 2 of the gradient's
        assert 0 < line["injected_share"] < 0.5
        assert line["alpha"] == -0.5
        assert line["grad_norm"] > 0
    report = json.loads((job.out / "injection.json").read_text())
    assert report["covered"] == "20/20"
    assert len(report["layers"]) == 20


def test_the_output_folder_opens_as_a_checkpoint(world, drifted):
    """Weights, processor and tokenizer; nothing that only resuming needs is left."""
    job, _ = drifted
    model = AutoModelForImageTextToText.from_pretrained(job.out)
    saved = set(lm_parameters(model, family_of(job.out)))
    start = AutoModelForImageTextToText.from_pretrained(world / "mllm")
    assert saved == set(lm_parameters(start, family_of(job.out)))
    assert model.dtype == torch.float32
    original, again = load_processor(world / "mllm", "pil"), load_processor(job.out, "pil")
    assert again.image_processor.size == original.image_processor.size
    assert again.chat_template == original.chat_template
    assert not (job.out / "checkpoints").exists()
    assert not (job.out / "training_args.bin").exists()


def test_training_twice_gives_the_same_bits(world, plain):
    again = tw.make_job(world, world / "again", prior=False)
    run_job(again)
    assert_same_bits(weights(again), weights(plain[0]))
    assert lines(again) == lines(plain[0])


def test_another_seed_shows_the_examples_in_another_order(world, plain):
    other = tw.make_job(world, world / "seed43", prior=False, seed=43)
    run_job(other)
    assert [line["loss"] for line in lines(other)] != [line["loss"] for line in lines(plain[0])]


def test_the_seed_of_the_data_is_the_trainings_own(world):
    arguments = _arguments(tw.make_job(world, world / "unused", prior=False, seed=7))
    assert (arguments.seed, arguments.data_seed) == (7, 7)


def test_a_complete_folder_is_not_trained_again(drifted, monkeypatch):
    job, result = drifted
    monkeypatch.setattr(GuardedTrainer, "train", lambda self, **_: pytest.fail("trained again"))
    assert run_job(job) == result


KILLED = """
import os, signal, sys
from pathlib import Path
from drift.training.config import TrainingJob
from drift.training.trainer import run_job
import torch
torch.set_num_threads(1)
job = TrainingJob.read(Path(sys.argv[1]))
run_job(job, lambda line: os.kill(os.getpid(), signal.SIGKILL) if line["step"] == 11 else None)
"""


def test_killed_and_resumed_is_uninterrupted_bit_for_bit(world, drifted):
    """kill -9 at step 11 of 12, torn checkpoints of steps 9 and 10 lie about; resumes from 8."""
    job = tw.make_job(world, world / "killed", injection=DRIFT, save_steps=4)
    job.write(world / "killed.json")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, "-c", KILLED, world / "killed.json"], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    checkpoints = job.out / "checkpoints"
    assert sorted(folder.name for folder in checkpoints.iterdir()) == ["checkpoint-4", "checkpoint-8"]
    shutil.copytree(checkpoints / "checkpoint-8", checkpoints / "checkpoint-9")
    (checkpoints / "checkpoint-9" / "complete.json").unlink()
    shutil.copytree(checkpoints / "checkpoint-8", checkpoints / "checkpoint-10")
    next((checkpoints / "checkpoint-10").rglob("*optim_states.pt")).write_bytes(b"torn")
    with (job.out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 12, "lo')
    result = run_job(job)
    assert_same_bits(weights(job), weights(drifted[0]))
    assert lines(job) == lines(drifted[0])
    assert result.w_eff == drifted[1].w_eff
    assert (job.out / "injection.json").read_text() == (drifted[0].out / "injection.json").read_text()


def test_a_damaged_checkpoint_falls_back_to_the_older_one_beside_it(world, drifted, caplog):
    """Stopped after step 9; the checkpoint of step 8 has one other byte at the same size, so 4 is taken."""
    job = tw.make_job(world, world / "damaged", injection=DRIFT, save_steps=4)

    def stop(line):
        if line["step"] == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(job, stop)
    newest = next((job.out / "checkpoints/checkpoint-8").rglob("*optim_states.pt"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with caplog.at_level(logging.INFO, logger="drift"):
        run_job(job)
    assert re.search(r"dropping checkpoint-8, which is damaged: .*optim_states\.pt fails its checksum", caplog.text)
    assert "going on after step 4" in caplog.text
    assert_same_bits(weights(job), weights(drifted[0]))
    assert lines(job) == lines(drifted[0])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_damage_to_any_file_of_a_checkpoint_is_found(world, tmp_path, caplog):
    """Each file in turn has another byte, is cut in half, is gone: the checkpoint is dropped and the file is named."""
    job = tw.make_job(world, tmp_path / "run", prior=False, save_steps=4)

    def stop(line):
        if line["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(job, stop)
    whole = job.out / "checkpoints" / "checkpoint-4"
    names = [path.relative_to(whole) for path in sorted(whole.rglob("*")) if path.is_file() and path.stat().st_size]
    damages = (_flip, lambda path: os.truncate(path, path.stat().st_size // 2), os.unlink)
    for name, damage in itertools.product(names, damages):
        copy = tmp_path / "copy" / "checkpoints" / whole.name
        shutil.copytree(whole, copy)
        assert find_resume_point(tmp_path / "copy", 0).step == 4
        damage(copy / name)
        caplog.clear()
        assert find_resume_point(tmp_path / "copy", 0).step == 0, (name, damage)
        assert not copy.exists()
        assert name.name in caplog.text or "never finished" in caplog.text


def test_resuming_in_the_middle_of_an_epoch_keeps_the_data_order(world, plain):
    """Stopped after step 5, resumed from 4: two thirds into the first epoch."""
    job = tw.make_job(world, world / "middle", prior=False, save_steps=4)

    def stop(line):
        if line["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(job, stop)
    run_job(job)
    assert_same_bits(weights(job), weights(plain[0]))
    assert lines(job) == lines(plain[0])


RESUMED = {
    "sgd": ({"learning_rate": 0.1, "optimizer": "sgd"}, DRIFT),
    "pull": ({}, InjectionConfig("pull", alpha=-0.1)),
    "budget": ({}, InjectionConfig("gradnorm", alpha=-1.0, target_w_eff=0.01)),
    "grouped": ({"group_by_length": True, "packing": True}, DRIFT),
}


@pytest.mark.parametrize("name", RESUMED)
def test_what_a_config_adds_goes_on_as_uninterrupted_bit_for_bit(world, name):
    """Stopped after step 5, resumed from 4: pull reads theta_0 from the checkpoint that training began from."""
    training, injection = RESUMED[name]
    whole = tw.make_job(world, world / f"whole {name}", injection=injection, save_steps=4, **training)
    result = run_job(whole)
    job = tw.make_job(world, world / f"cut {name}", injection=injection, save_steps=4, **training)

    def stop(line):
        if line["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(job, stop)
    run_job(job)
    assert_same_bits(weights(job), weights(whole))
    assert lines(job) == lines(whole)
    assert result.w_eff > 0.005
    if name == "budget":
        assert 0.01 <= result.w_eff < 0.02, "0.026 without it; twelve steps are few to stop in"
        assert lines(whole)[0]["alpha"] == -1.0
        assert lines(whole)[-1]["alpha"] == 0.0


def test_packed_passes_train_what_padded_ones_do(world, plain):
    packed = tw.make_job(world, world / "packed", prior=False, packing=True)
    run_job(packed)
    found, expected = weights(packed), weights(plain[0])
    assert max((found[name] - expected[name]).abs().max().item() for name in expected) < 2e-6
    assert [line["loss"] for line in lines(packed)] == pytest.approx([x["loss"] for x in lines(plain[0])], rel=1e-5)


@pytest.mark.parametrize("target", [0.0, -0.1])
def test_a_budget_that_alpha_never_reaches_is_refused(target):
    with pytest.raises(TrainingError, match=rf"target_w_eff is {target}, which no alpha of \[-1.0\] leads to"):
        InjectionConfig("adaptive", target_w_eff=target)


def test_a_folder_begun_with_other_settings_is_refused(world):
    job = tw.make_job(world, world / "other", prior=False)
    job.out.mkdir()
    other = tw.make_job(world, world / "other", prior=False, seed=43)
    with pytest.raises(KeyboardInterrupt):
        run_job(job, lambda line: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(TrainingError, match=r"begun with another job: \['training'\] differ"):
        run_job(other)


def copy_model(world, folder, edit):
    shutil.copytree(world / "mllm", folder)
    tensors = load_file(folder / "model.safetensors")
    save_file(edit(tensors), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_loss_that_is_not_finite_stops_at_its_step(world, tmp_path):
    def poison(tensors):
        tensors["lm_head.weight"].fill_(math.nan)
        return tensors

    model = copy_model(world, tmp_path / "mllm", poison)
    job = tw.make_job(world, tmp_path / "out", prior=False)
    broken = type(job)(**{**vars(job), "model": model})
    with pytest.raises(TrainingError, match="the loss is nan at step 1 of 12"):
        run_job(broken)
    assert not (tmp_path / "out" / "summary.json").exists()
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_missing_tensor_is_refused_rather_than_drawn_at_random(world, tmp_path):
    def remove(tensors):
        return {name: tensor for name, tensor in tensors.items() if name != "model.layers.1.mlp.up_proj.weight"}

    model = copy_model(world, tmp_path / "mllm", remove)
    job = tw.make_job(world, tmp_path / "out", prior=False)
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors .*layers\.1\.mlp\.up_proj\.weight"):
        run_job(type(job)(**{**vars(job), "model": model}))


def test_a_full_disk_is_one_clear_error_and_the_run_goes_on_afterwards(world, plain, monkeypatch):
    job = tw.make_job(world, world / "full", prior=False, save_steps=4)

    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("drift.training.trainer.save_processor", no_space)
        with pytest.raises(TrainingError, match=r"no space left at .*last complete checkpoint"):
            run_job(job)
    assert not (job.out / "summary.json").exists()
    run_job(job)
    assert_same_bits(weights(job), weights(plain[0]))


def test_a_disk_too_small_is_refused_before_training(world, monkeypatch):
    usage = shutil.disk_usage(world)
    monkeypatch.setattr("drift.training.disk.shutil.disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(TrainingError, match=r"0\.00 GB free and the run needs up to"):
        run_job(tw.make_job(world, world / "small", prior=False, save_steps=4))


def test_new_tokens_grow_the_vocabulary_once(world):
    """62 to 64 words fit the 64 rows; two more need the next multiple of 64."""
    job = tw.make_job(world, world / "grown", prior=False, add_tokens=("<think>", "<plan>", "</plan>"), epochs=1)
    run_job(job)
    assert weights(job)["lm_head.weight"].shape[0] == 128
    tokenizer = load_processor(job.out, "pil").tokenizer
    assert tokenizer.convert_tokens_to_ids(["<think>", "<plan>", "</plan>"]) == [8, 64, 65]


SLOW = [pytest.param(stage, "bf16", marks=pytest.mark.slow) for stage in (0, 1, 3)]


@pytest.mark.parametrize(("stage", "precision"), [(2, "bf16"), (3, "fp32"), *SLOW])
def test_every_zero_stage_and_precision_saves_in_its_own_type(world, plain, stage, precision):
    job = tw.make_job(world, world / f"{stage}{precision}", injection=DRIFT, zero_stage=stage, precision=precision)
    run_job(job)
    saved = weights(job)
    assert {tensor.dtype for tensor in saved.values()} == {torch.bfloat16 if precision == "bf16" else torch.float32}
    assert {k: v.shape for k, v in saved.items()} == {k: v.shape for k, v in weights(plain[0]).items()}


def test_a_family_that_is_not_sized_by_area_trains_under_an_area_limit(tmp_path):
    """LLaVA-NeXT: its image processor has a grid, so pictures of 16x8 are reduced to 64 pixels ahead of it."""
    root = tmp_path / "world"
    pico.build_and_save("llava_next", root / "mllm")
    own = tw.processor()
    grid = {"image_grid_pinpoints": [[8, 16], [16, 8]], "crop_size": {"height": 8, "width": 8}}
    LlavaNextProcessor(
        LlavaNextImageProcessorPil(size={"shortest_edge": 8}, **grid),
        own.tokenizer,
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<|image_pad|>",
        chat_template=own.chat_template,
    ).save_pretrained(root / "mllm")
    tw.save_data(root / "data", 3)
    result = run_job(tw.make_job(root, tmp_path / "out", prior=False, epochs=1, image_max_pixels=64))
    assert (result.steps, result.examples) == (2, 3)
    assert load_processor(tmp_path / "out", "pil").image_processor.image_grid_pinpoints == [[8, 16], [16, 8]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attn_implementation": "flash_attention_2", "precision": "bf16"}, "needs a CUDA device and flash-attn"),
        ({"fused_cross_entropy": True}, "needs a CUDA device and liger-kernel"),
    ],
)
def test_kernels_that_are_not_there_are_refused_before_the_model_is_loaded(world, changes, message, monkeypatch):
    monkeypatch.setattr("drift.training.trainer.load_model", lambda *_: pytest.fail("loaded"))
    with pytest.raises(TrainingError, match=message):
        run_job(tw.make_job(world, world / "kernels", prior=False, **changes))
    shutil.rmtree(world / "kernels")


def test_a_family_that_liger_does_not_know_is_refused_rather_than_left_as_it_is(monkeypatch):
    known = types.SimpleNamespace(MODEL_TYPE_TO_APPLY_LIGER_FN={"qwen2_5_vl": None})
    monkeypatch.setattr("drift.training.kernels.torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("drift.training.kernels.importlib.util.find_spec", lambda name: name)
    for name in ("liger_kernel", "liger_kernel.transformers", "liger_kernel.transformers.monkey_patch"):
        monkeypatch.setitem(sys.modules, name, known)
    kernels._check_liger("qwen2_5_vl")
    with pytest.raises(TrainingError, match="no fused cross-entropy for idefics2"):
        kernels._check_liger("idefics2")


def test_loader_workers_and_no_cache_give_the_same_bits(world, plain):
    job = tw.make_job(world, world / "workers", prior=False, dataloader_workers=2, image_cache_gb=0.0)
    run_job(job)
    assert_same_bits(weights(job), weights(plain[0]))
    assert identity(job.training) == identity(plain[0].training)
