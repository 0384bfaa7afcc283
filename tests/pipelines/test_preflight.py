"""What a run wants of the machine is asked before its first byte, and of what it will run alone."""

import logging
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from evaluation.engines import vllm
from pipelines import compose, effects, plan, preflight, reproduce, revisions, stages
from pipelines.errors import ConfigError, PreflightError
from pipelines.scheduler import Scheduler, resolve
from pipelines.stage import Call, ordered
from pipelines.stages.outside import hub_cache
from pipelines.store import Artifact, Store

Usage = namedtuple("Usage", "total used free")
PAPER = ["profile=paper", "method=sft"]
TORCHVISION_FAULT = preflight._torchvision_fault
EXECUTABLE = vllm.executable


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Eight GPUs, the torchvision that fits, vLLM, 10 TB of disk, nothing downloaded."""
    monkeypatch.setattr("evaluation.engines.vllm.executable", Path)
    monkeypatch.setattr(preflight, "_cuda_devices", lambda: (8, "2.13.0+cu130"))
    monkeypatch.setattr(preflight, "_gpu_memory_gb", lambda: 80.0)
    monkeypatch.setattr(preflight, "_torchvision_fault", lambda: "")
    monkeypatch.setattr(preflight, "_has_token", lambda: True)
    monkeypatch.setattr(preflight, "_refusal", lambda repo: "")
    monkeypatch.setattr(revisions, "LOCK", tmp_path / "lock.json")
    monkeypatch.setattr(revisions, "_ask_hub", lambda repo, kind: "c" * 40)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 10e12))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return monkeypatch


def check(words: Sequence[str], folder: Path) -> None:
    config = revisions.resolve(compose.load([*words, f"store={folder / 'store'}"]), online=True)
    preflight.check(config, plan.targets(config))


def gpus(machine: pytest.MonkeyPatch, count: int) -> None:
    machine.setattr(preflight, "_cuda_devices", lambda: (count, "2.13.0+cu130"))


def test_a_machine_that_has_all_of_it_is_let_through(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check(PAPER, tmp_path)
    check(["profile=paper", "method=ties", "engine=vllm", "engine.tensor_parallel=8"], tmp_path)


@pytest.mark.parametrize("word", ["method=baseline", "engine=transformers judge=local"])
def test_vllm_that_nobody_has_set_up_is_refused_with_the_command_that_does(
    machine: pytest.MonkeyPatch, tmp_path: Path, word: str
) -> None:
    machine.setattr("evaluation.engines.vllm.executable", EXECUTABLE)
    with pytest.raises(PreflightError, match=r"vLLM is not installed: .* run `make setup-vllm`"):
        check(
            [
                *PAPER,
                *word.split(),
                "engine.command=nowhere/vllm" if "engine=" not in word else "judge.vllm.command=nowhere/vllm",
            ],
            tmp_path,
        )


@pytest.mark.parametrize(
    ("words", "count", "message"),
    [
        (PAPER, 4, r"train \(.* sft .*\) wants 8 of the CUDA devices, and torch 2\.13\.0\+cu130 sees 4"),
        ([*PAPER, "launcher.processes=2"], 1, r"wants 2 of the CUDA devices.* sees 1; .*launcher\.processes=N"),
        (["profile=paper", "method=baseline"], 0, r"generate \(.*\) wants 1 of the CUDA devices.* engine=openai"),
        (["profile=paper", "method=ties", "engine=vllm", "engine.tensor_parallel=4"], 2, "wants 4 of the CUDA devices"),
    ],
)
def test_too_few_gpus_are_refused_with_what_to_do(
    machine: pytest.MonkeyPatch, tmp_path: Path, words: list[str], count: int, message: str
) -> None:
    gpus(machine, count)
    with pytest.raises(PreflightError, match=message):
        check(words, tmp_path)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["profile=paper", "method=baseline", "judge=rules", "engine=openai", "engine.url=http://h:1/v1"],
        ["profile=paper", "method=baseline", "judge=rules", "engine=transformers", "engine.device=cpu"],
        ["method=sft"],
        ["method=baseline", "engine=vllm"],
    ],
)
def test_a_server_a_chosen_cpu_and_a_lab_world_need_no_gpu(
    machine: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    gpus(machine, 0)
    check(words, tmp_path)


def test_published_answers_that_cant_be_had_are_named_in_seconds(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine.setattr("pipelines.stages.published.SITE", "http://127.0.0.1:9")  # a port where nobody answers
    words, start = ["profile=published", "answers=mathvista", "answers.chosen=bard"], time.monotonic()
    with pytest.raises(PreflightError, match=r"published answers of lupantech/MathVista .*say answers\.root=FOLDER"):
        check(words, tmp_path)
    assert time.monotonic() - start < 30
    assert not (tmp_path / "store").exists()


def test_a_judge_of_ones_own_wants_a_gpu_too(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gpus(machine, 0)
    server = ["profile=paper", "method=baseline", "engine=openai", "engine.url=http://h:1/v1"]
    with pytest.raises(PreflightError, match=r"judge \(.*\) wants 1 of the CUDA devices.* judge=openai asks a server"):
        check(server, tmp_path)


def test_a_build_of_torch_without_cuda_is_named(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine.setattr(preflight, "_cuda_devices", lambda: (0, "2.13.0+cpu"))
    with pytest.raises(PreflightError, match=r"torch 2\.13\.0\+cpu, a build without CUDA, sees 0"):
        check(["profile=paper", "method=baseline"], tmp_path)


@pytest.mark.parametrize("pair", ["qwen2_5_vl_r1", "qwen2_vl_math"])
def test_without_torchvision_qwen_vl_wants_pillow(machine: pytest.MonkeyPatch, tmp_path: Path, pair: str) -> None:
    def absent(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    machine.setattr(preflight, "requires", absent)
    machine.setattr(preflight, "_torchvision_fault", TORCHVISION_FAULT)
    family = compose.load([f"pair={pair}"]).pair.family
    message = (
        f"of {family} with torchvision, and it is not installed; say image_backend=pil, or install the torchvision"
    )
    with pytest.raises(PreflightError, match=message):
        check([*PAPER, f"pair={pair}"], tmp_path)
    with pytest.raises(PreflightError, match="image_backend=pil"):
        check(["method=baseline", "image_backend=auto"], tmp_path)
    check([*PAPER, f"pair={pair}", "image_backend=pil"], tmp_path)
    check(["profile=paper", "method=baseline", "pair=llava_next_dart"], tmp_path)


def test_a_torchvision_of_another_torch_is_told_from_the_one_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "version", {"torch": "2.13.0+cu130", "torchvision": "0.27.0"}.__getitem__)
    monkeypatch.setattr(preflight, "requires", lambda name: ["numpy", "torch==2.12.0"])
    assert preflight._torchvision_fault() == "the one installed (0.27.0) wants torch==2.12.0"
    monkeypatch.setattr(preflight, "requires", lambda name: ["numpy", "torch==2.13.0"])
    assert preflight._torchvision_fault() == ""


def disk(machine: pytest.MonkeyPatch, free: float) -> None:
    machine.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free))


def test_room_is_asked_for_what_is_downloaded_kept_and_written_while_training(
    machine: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SFT of the pair: 33.5 GB of downloads, a prior of 13, a training of 16.6, and two checkpoints of 116."""
    words = [*PAPER, "judge=rules"]
    disk(machine, 295e9)
    with pytest.raises(PreflightError, match=r"up to 295\.\d GB are wanted in .* 33\.5 GB to download; .*save_steps=0"):
        check(words, tmp_path)
    disk(machine, 296e9)
    check(words, tmp_path)
    disk(machine, 64e9)
    check([*words, "train.save_steps=0"], tmp_path)
    config = compose.load(PAPER)
    assert config.pair.mllm.revision != "locked"
    (tmp_path / "hub" / "models--Qwen--Qwen2.5-VL-7B-Instruct" / "snapshots" / config.pair.mllm.revision).mkdir(
        parents=True
    )
    disk(machine, 48e9)
    check([*words, "train.save_steps=0"], tmp_path)


def test_a_gpu_that_is_too_small_is_refused_with_what_to_do(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine.setattr(preflight, "_gpu_memory_gb", lambda: 24.0)
    message = r"train wants about \d+ GB on each GPU, and the smallest here has 24: zero=stage3 and train\.offload=cpu"
    with pytest.raises(PreflightError, match=message):
        check(PAPER, tmp_path)
    check(["profile=paper", "method=baseline", "pair.source=folder", f"pair.mllm.repo={tmp_path}"], tmp_path)


def test_a_missing_driver_is_named(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gpus(machine, 0)
    machine.setattr(preflight, "_DRIVER", tmp_path / "none")
    with pytest.raises(PreflightError, match=r"torch 2\.13\.0\+cu130, and no NVIDIA driver is loaded .* sees 0"):
        check(PAPER, tmp_path)


def test_a_revision_that_moves_is_refused(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(
        PreflightError, match=r"Qwen/Qwen2\.5-VL-7B-Instruct is at 'main', which is no commit; .*`locked`"
    ):
        check([*PAPER, "pair.mllm.revision=main"], tmp_path)


GATED = ["profile=paper", "method=ties", "pair=llava_next_dart"]  # TIES reads Meta-Llama-3-8B


def test_a_gated_repository_wants_a_token_and_leave(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check(GATED, tmp_path)
    machine.setattr(preflight, "_refusal", lambda repo: "403, ask its owner" if "meta-llama" in repo else "asked")
    with pytest.raises(PreflightError, match=r"the hub does not give meta-llama/Meta-Llama-3-8B: 403, ask its owner"):
        check(GATED, tmp_path)
    machine.setattr(preflight, "_has_token", lambda: False)
    with pytest.raises(PreflightError, match=r"Meta-Llama-3-8B is gated and no token is set: .*HF_TOKEN"):
        check(GATED, tmp_path)


def test_all_faults_are_told_at_once(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gpus(machine, 1)
    disk(machine, 1e9)
    machine.setattr(preflight, "_torchvision_fault", lambda: "it is gone")
    with pytest.raises(PreflightError) as refused:
        check([*PAPER, "pair.mllm.revision=main"], tmp_path)
    *faults, way_on = str(refused.value).splitlines()
    said = ("train (", "it is gone", "'main'", "GB are wanted")
    assert [any(word in fault for fault in faults) for word in said] == [True] * 4
    assert (len(faults), way_on) == (4, "preflight=warn goes on all the same")


def test_downloads_lie_in_the_store_unless_the_user_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    assert hub_cache(tmp_path) == tmp_path / "hub"
    monkeypatch.setenv("HF_HOME", "/elsewhere")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/elsewhere/hub")
    assert hub_cache(tmp_path) == Path("/elsewhere/hub")


def test_what_the_store_holds_is_not_asked_for(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = [*PAPER, "judge=rules", f"store={tmp_path / 'store'}"]
    config = compose.load(words)
    store, done = Store(tmp_path / "store"), dict[str, Artifact]()
    gpus(machine, 0)

    def make(calls: Sequence[Call]) -> None:
        for call in calls:
            mark = resolve(call, done).fingerprint
            with store.writing(call.stage.name, mark) as partial:
                manifest = {"stage": call.stage.name, "fingerprint": mark, "values": {}, "started": ""}
                done[call.key] = store.commit(partial, manifest)

    *before, last = ordered(plan.targets(config))
    made = [call for call in before if call.stage is not stages.GENERATE]
    make(made)
    with pytest.raises(PreflightError, match=r"\Agenerate .* wants 1 .*\npreflight=warn goes on all the same\Z"):
        preflight.check(config, [last])
    make([call for call in before if call.stage is stages.GENERATE])
    preflight.check(config, [last])


def test_warn_says_it_and_goes_on(
    machine: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gpus(machine, 0)
    with caplog.at_level(logging.WARNING):
        check([*PAPER, "preflight=warn"], tmp_path)
    assert [record.message[:17] for record in caplog.records] == [
        "preflight: train ",
        "preflight: genera",
        "preflight: judge ",
    ]


def test_tables_of_published_pairs_are_refused_before_anything_runs_and_still_planned(
    machine: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def started(*_: object) -> None:
        pytest.fail("a stage was started")

    gpus(machine, 0)
    machine.setattr(Scheduler, "execute", started)
    machine.setattr(revisions, "LOCK", tmp_path / "lock.json")
    machine.setattr(revisions, "_ask_hub", lambda repo, kind: "c" * 40)
    words = ["--table=table10", "profile=paper", "seeds=[0]", f"store={tmp_path / 'store'}"]
    with pytest.raises(PreflightError, match="wants 8 of the CUDA devices"):
        reproduce.reproduce(words)
    assert reproduce.reproduce(["--plan", *words]) == 0
    assert "0 in the store" in capsys.readouterr().out


def test_one_run_is_refused_before_its_world_is_made(tmp_path: Path) -> None:
    words = ["method=baseline", "image_backend=auto", f"store={tmp_path / 'store'}", "tracker=disabled"]
    code = "from pipelines import preflight, run; preflight._torchvision_fault = lambda: 'it is gone'; "
    command = [sys.executable, "-c", f"import sys; {code}sys.exit(run.main({words}))"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=compose.ROOT)
    assert done.returncode == 2
    assert "with torchvision, and it is gone; say image_backend=pil" in done.stderr
    assert not (tmp_path / "store").exists()


def test_the_switch_is_refused_where_nothing_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="preflight=warn would change nothing here; only a published pair"):
        effects.refuse_idle(["preflight=warn"], effects.of_run)
