"""The global batch is what is trained: the same examples, weights and identity on any number of processes.

Weights are compared within 2e-6 where they have moved by more than 1e-3: processes add gradients up in another order,
in fp32, and AdamW divides by the gradient's own size, so the last bits differ and nothing else may.
"""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import training_ranks
import training_world as tw
from safetensors.torch import load_file

from drift.errors import TrainingError
from drift.training import InjectionConfig, checkpoints
from drift.training.division import Division, divide, identity
from drift.training.launch import launch_command
from drift.training.rendezvous import Rendezvous, first_host, rendezvous

DRIFT = InjectionConfig(scale="adaptive", alpha=-0.5)
ABSOLUTE = InjectionConfig(scale="absolute", alpha=-0.002)


@pytest.mark.parametrize(
    ("size", "processes", "expected"), [(1, 8, (8, 1, 1)), (1, 4, (4, 1, 2)), (2, 1, (1, 2, 4)), (8, 1, (1, 8, 1))]
)
def test_passes_follow_from_the_global_batch_and_the_processes(size, processes, expected):
    assert divide(tw.settings(global_batch=8, per_device_batch_size=size), processes) == Division(*expected)


def test_a_division_that_does_not_come_out_even_is_refused_with_what_does():
    settings = tw.settings(global_batch=8, per_device_batch_size=2)
    with pytest.raises(TrainingError, match=r"4 micro batches .* 3 processes can't share out: 1, 2, 4 can; or take"):
        divide(settings, 3)
    with pytest.raises(TrainingError, match="global_batch is 8, expected a multiple of per_device_batch_size 3"):
        replace(settings, per_device_batch_size=3)


def test_the_micro_batch_and_the_global_batch_are_identity():
    settings = tw.settings(global_batch=8, per_device_batch_size=2)
    assert identity(settings) != identity(replace(settings, per_device_batch_size=4))
    assert identity(settings) != identity(replace(settings, global_batch=16))


EXAMPLES = 10


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Ten examples of three lengths: a mean of means is no mean, and two processes have no passes for all of them."""
    root = tw.save_world(tmp_path_factory.mktemp("world"))
    path = root / "data/train.json"
    items = json.loads(path.read_text())[:EXAMPLES]
    for n, item in enumerate(items):
        item["messages"][1]["content"] += " w30 w31 w32" * (n % 3)
    path.write_text(json.dumps(items))
    return root


CASES = {"drift": DRIFT, "absolute": ABSOLUTE, "zero3": DRIFT, "grouped": DRIFT}


def job(world, name, processes):
    settings = {"global_batch": 8, "per_device_batch_size": 2, "epochs": 3, "zero_stage": 3 if name == "zero3" else 2}
    if name == "grouped":
        settings |= {"group_by_length": True, "packing": True}
    return tw.make_job(world, world / f"{name}-{processes}", injection=CASES[name], processes=processes, **settings)


@pytest.fixture(scope="module")
def pairs(world):
    """Each case's job on one process and on two, trained."""
    jobs = {name: (job(world, name, 1), job(world, name, 2)) for name in CASES}
    assert training_ranks.launch([two for _, two in jobs.values()]) == [0]
    for one, _ in jobs.values():
        training_ranks.run(one)
    return jobs


def weights(job):
    return load_file(job.out / "model.safetensors")


def farthest(one, two):
    return max((one[name] - two[name]).abs().max().item() for name in one)


@pytest.mark.parametrize("name", CASES)
def test_one_process_two_and_passes_of_two_are_one_training(world, pairs, name):
    one, two = pairs[name]
    assert identity(one.training) == identity(two.training)
    assert farthest(weights(one), load_file(world / "mllm/model.safetensors")) > 1e-3
    assert farthest(weights(one), weights(two)) < 2e-6


def steps(job, rank):
    """The examples of each optimizer step, blank ones left out, as one process saw them: two a pass."""
    seen = json.loads((job.out / f"seen-{rank}.json").read_text())
    passes, first = len(seen) // 2 // 3, divide(job.training, job.processes).accumulation
    sizes = [2 * first, 2 * (passes - first)] * 3
    return [[n for n in seen[sum(sizes[:k]) : sum(sizes[: k + 1])] if n >= 0] for k in range(len(sizes))]


@pytest.mark.parametrize("name", ["drift", "grouped"])
def test_every_step_sees_the_same_examples_on_one_process_and_on_two(pairs, name):
    one, two = pairs[name]
    alone, shared = steps(one, 0), zip(steps(two, 0), steps(two, 1), strict=True)
    assert [len(step) for step in alone] == [8, 2] * 3
    assert [sorted(first + second) for first, second in shared] == [sorted(step) for step in alone]


@pytest.mark.slow
def test_two_nodes_of_one_process_are_one_of_two_bit_for_bit(world, pairs):
    """Two agents of torchrun that meet at a port of this host, as they would in a job of two nodes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        meeting = Rendezvous(2, f"127.0.0.1:{probe.getsockname()[1]}", "test")
    names = ("drift", "zero3")
    nodes = [replace(pairs[name][1], out=world / f"{name}-nodes") for name in names]
    assert training_ranks.launch(nodes, meeting) == [0, 0]
    for name, job in zip(names, nodes, strict=True):
        found, expected = weights(job), weights(pairs[name][1])
        assert all(torch.equal(found[tensor], expected[tensor]) for tensor in expected)


def test_nodes_meet_where_the_engine_says():
    job = {"SLURM_JOB_ID": "10042", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "64"}
    slurm = rendezvous(job | {"SLURM_JOB_NODELIST": "gpu-[003-004]"}, 2)
    assert slurm.endpoint == "gpu-003:20042"
    command = launch_command(Path("job.json"), 16, "torchrun", slurm)
    assert command[:6] == ["srun", "--overlap", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=64"]
    meeting = "--nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint gpu-003:20042 --rdzv-id drift-10042"
    assert meeting in " ".join(command)
    own = rendezvous({"PET_NNODES": "4", "PET_RDZV_ENDPOINT": "head:29400", "PET_RDZV_ID": "x"}, 4)
    assert own == Rendezvous(4, "head:29400", "x")
    assert rendezvous(job, 1) == Rendezvous()
    with pytest.raises(TrainingError, match="wants 4 nodes and the engine has given it 2"):
        rendezvous(job | {"SLURM_JOB_NODELIST": "a,b"}, 4)
    with pytest.raises(TrainingError, match="neither SLURM_JOB_NODELIST nor PET_RDZV_ENDPOINT says where they meet"):
        rendezvous({}, 2)
    with pytest.raises(TrainingError, match="'deepspeed' starts processes on one node, not on 2; take torchrun"):
        launch_command(Path("job.json"), 2, "deepspeed", slurm)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_killed_on_some_processes_a_training_goes_on_on_others(world, pairs, stage, before, after):
    """Killed at step 5 of 6 and resumed from 4; the older checkpoint is gone once the newer one is converted."""
    job = replace(pairs["drift"][0], out=world / f"resumed-{stage}-{before}", processes=before)
    job = replace(job, training=replace(job.training, zero_stage=stage, save_steps=2))
    assert training_ranks.launch([job], processes=before, die_at=5) != [0]
    assert sorted(folder.name for folder in (job.out / "checkpoints").iterdir()) == ["checkpoint-2", "checkpoint-4"]
    assert training_ranks.launch([replace(job, processes=after)], processes=after) == [0]
    assert farthest(weights(job), weights(pairs["drift"][0])) < 2e-6


def test_a_checkpoint_that_deepspeed_can_not_convert_is_refused_with_the_remedy(tmp_path, monkeypatch):
    folder = tmp_path / "checkpoints/checkpoint-4"
    (folder / "global_step4").mkdir(parents=True)
    (folder / "latest").write_text("global_step4")
    with monkeypatch.context() as eight:
        eight.setattr(checkpoints, "world_size", lambda: 8)
        checkpoints.seal(folder, 1.0)
    with pytest.raises(TrainingError, match=r"can't make checkpoint-4, of 8 .*, fit 1: .*; go on with 8 processes"):
        checkpoints.find_resume_point(tmp_path, zero_stage=2)
    assert checkpoints.find_resume_point(tmp_path, zero_stage=0).step == 4


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("a", "a"), ("a,b", "a"), ("gpu-[003-004,9],x1", "gpu-003"), ("n[7,9]", "n7"), ("r[1-2].site", "r1.site")],
)
def test_the_first_host_of_slurms_short_list(nodes, first):
    assert first_host(nodes) == first


@pytest.mark.parametrize(("environment", "signal"), [({"LOCAL_RANK": "0"}, "9"), ({}, "0")])
def test_a_rank_ends_with_its_launcher_and_a_training_without_one_with_nobody(environment, signal):
    """The kernel is asked for the signal that it would send: PR_GET_PDEATHSIG is 2."""
    ask = "from drift.training import worker; import ctypes; worker.main([]); signal = ctypes.c_int()\n"
    ask += "ctypes.CDLL(None).prctl(2, ctypes.byref(signal)); print(signal.value)"
    kept = {name: value for name, value in os.environ.items() if name != "LOCAL_RANK"}
    done = subprocess.run(
        [sys.executable, "-c", ask], env=kept | environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == signal
