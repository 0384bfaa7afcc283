"""What a call needs follows from its parameters, is printed by the plan, and changes no identity."""

from dataclasses import replace

import pytest

from drift.errors import TrainingError
from pipelines import compose, plan, stages
from pipelines.errors import ConfigError
from pipelines.stage import Call, Needs, ordered


def calls(*overrides: str) -> dict[str, Call]:
    return {call.stage.name: call for call in ordered([plan.score(compose.load(overrides))])}


def test_a_lab_takes_no_gpu_and_its_stages_guesses() -> None:
    found = calls("method=drift", "injection.alpha=-0.3")
    assert {call.needs.gpus for call in found.values()} == {0}
    assert found["train"].needs.seconds == stages.TRAIN.seconds
    assert found["score"].needs == Needs(seconds=stages.SCORE.seconds)


def test_the_papers_training_takes_a_gpu_a_process_and_a_merge_none() -> None:
    found = calls("profile=paper", "method=drift", "injection.alpha=-0.3", "train.offload=cpu")
    needs = found["train"].needs
    assert (needs.gpus, needs.cores, needs.memory_gb) == (8, 64, 24 * 8 + 100)
    four = replace(found["train"], params=replace(found["train"].params, processes=4))
    assert four.needs.gpus == 4
    assert four.needs.seconds == pytest.approx(2 * (needs.seconds - 300) + 300)
    assert found["generate"].needs.gpus == 1
    assert calls("profile=paper", "method=ties")["merge"].needs.gpus == 0


def test_the_papers_batch_is_the_same_artifact_on_every_machine() -> None:
    paper = ("profile=paper", "method=drift")
    eight = calls(*paper)["train"]
    machines = [
        (["launcher.gpus=1"], "1 GPUs, 8 cores"),
        (["launcher.gpus=4"], "4 GPUs, 32 cores"),
        (["launcher=slurm", "launcher.gpus=4", "launcher.nodes=2"], "2 nodes of 4 GPUs, 32 cores"),
    ]
    for words, needs in machines:
        call = calls(*paper, *words)["train"]
        assert call.key == eight.key
        assert str(call.needs).startswith(needs)
    with pytest.raises(TrainingError, match=r"8 micro batches .* 3 processes can't share out: 1, 2, 4, 8 can"):
        calls(*paper, "launcher.gpus=3")
    with pytest.raises(ConfigError, match="2 nodes in one training need launcher=slurm"):
        calls(*paper, "launcher.nodes=2")


def test_downloads_may_be_retried_and_folders_need_not(tmp_path: object) -> None:
    found = calls("profile=paper", "method=baseline")
    assert found["model"].needs.retries == 2
    assert found["benchmarks"].needs.retries == 2
    assert calls("method=baseline")["model"].needs.retries == 0


def test_needs_read_as_a_line() -> None:
    assert str(Needs(8, 64, 192, 7200.0, 2)) == "8 GPUs, 64 cores, 192 GB, 120 min, 2 retries"
    assert str(Needs(seconds=0.2)) == "0 GPUs, 1 cores, 2 GB, 0.2 s"


def test_needs_are_part_of_no_key() -> None:
    call = calls("method=baseline")["score"]
    other = replace(call, stage=replace(call.stage, needs=None, seconds=99.0))
    assert other.key == call.key
