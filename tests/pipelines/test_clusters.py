"""The same plan on real engines: SLURM with two nodes, Ray with three. Skipped, with the reason, where none is."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from toy_stages import STAGE, Toy, toy

from pipelines import executors
from pipelines.errors import ConfigError, StageError
from pipelines.executors.split import Split
from pipelines.job import Job
from pipelines.outcome import Outcome
from pipelines.scheduler import Scheduler
from pipelines.schema import Launcher
from pipelines.stage import Call, Needs, Runtime, Stage

HERE = Path(__file__).parent
Execute = Callable[..., Outcome]


LONG = Stage("long", 1, "toy_stages:run", 60.0)


def launcher(engine: str, **options: Any) -> Launcher:
    return Launcher(
        engine=engine,
        kind="torchrun",
        processes=2,
        workers=16,
        gpus=4,
        threads=1,
        offline=True,
        options=options,
        short_seconds=10.0,
    )


def executing(store: Path, asked: Launcher) -> Execute:
    runtime = Runtime(store)
    executor = executors.make(asked, runtime)
    return lambda *targets: Scheduler(runtime, executor, lambda artifact: None).execute(list(targets))


def runs(store: Path) -> list[str]:
    return sorted((store / "runs.log").read_text().split())


def places(store: Path) -> list[str]:
    """CUDA_VISIBLE_DEVICES of every artifact."""
    return [json.loads(path.read_text())["place"]["gpus"] for path in store.glob("toy/*/manifest.json")]


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 90
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert path.exists()


def beside_a_local_run(store: Path, execute: Execute) -> None:
    """The same plan here and on an engine, at once on one store."""
    here = [sys.executable, str(HERE / "toy_run.py"), str(store), "slow", "6", "1"]
    process = subprocess.Popen(here, stderr=subprocess.PIPE, text=True)
    target = toy(6.0, *(toy(float(value), behaviour="slow", gpus=1) for value in range(6)))
    assert execute(target)[target].values == {"total": 21.0}
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert runs(store) == [str(float(value)) for value in range(7)]
    assert not list((store / ".partial").iterdir())


def trains_on_two_nodes(store: Path, *asked: str) -> None:
    """One training of the smoke world, a process on each of two nodes: its ranks meet, and it is one artifact."""
    nodes = ["launcher.threads=1", "launcher.processes=2", "launcher.nodes=2", "train.per_device_batch_size=4"]
    words = ["profile=smoke", "method=sft", f"store={store}", "tracker=disabled", *asked, *nodes]
    done = subprocess.run([sys.executable, "-m", "pipelines.run", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = store.glob("train/*/manifest.json")
    params = json.loads(made.read_text())["params"]
    assert (params["processes"], params["nodes"]) == (2, 2)


@pytest.fixture(autouse=True)
def _toys_on_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
def slurm(tmp_path: Path) -> Execute:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install submitit==1.5.4")
    if not shutil.which("sinfo") or subprocess.run(["sinfo"], capture_output=True, check=False).returncode:
        pytest.skip("no SLURM answers: sudo tests/slurm_cluster.sh start, then export SLURM_CONF")
    return executing(tmp_path, launcher("slurm"))


@pytest.mark.slurm
def test_slurm_makes_a_plan_on_gpus_of_its_own(tmp_path: Path, slurm: Execute) -> None:
    rows = [toy(float(value), behaviour="slow", gpus=1) for value in range(3)]
    target = toy(9.0, *rows, gpus=2)
    outcome = slurm(target)
    assert outcome[target].values == {"total": 12.0}
    assert runs(tmp_path) == ["0.0", "1.0", "2.0", "9.0"]
    assert places(tmp_path).count("0,1") == 1
    assert set(places(tmp_path)) <= {"0", "1", "0,1"}
    assert slurm(target).executed == 0
    assert not list((tmp_path / ".jobs").glob("*.json"))


@pytest.mark.slurm
def test_long_work_without_a_gpu_is_queued_and_sees_none(tmp_path: Path, slurm: Execute) -> None:
    assert slurm(Call(LONG, Toy(1.0), label="long")).executed == 1
    assert list((tmp_path / ".jobs" / "slurm").glob("*_submitted.pkl"))
    (path,) = tmp_path.glob("long/*/manifest.json")
    assert json.loads(path.read_text())["place"]["gpus"] == ""


@pytest.mark.slurm
def test_what_slurm_refuses_is_a_failure_of_that_stage_alone(slurm: Execute) -> None:
    with pytest.raises(StageError, match=r"stage toy \(toy 1.0\): SLURM refused .*3 GPUs.*sbatch: error"):
        slurm(toy(1.0, gpus=3), toy(2.0, gpus=1))
    assert slurm(toy(2.0, gpus=1)).executed == 0


@pytest.mark.slurm
def test_a_failure_under_slurm_names_stage_job_and_log(slurm: Execute) -> None:
    with pytest.raises(StageError) as caught:
        slurm(toy(1.0, behaviour="fail", gpus=1), toy(2.0, behaviour="crash", gpus=1))
    assert "stage toy (toy 1.0): found 0 rows, expected at least 1" in str(caught.value)
    assert "(toy 2.0) ended with SLURM job" in str(caught.value)
    assert "RuntimeError: a defect" in str(caught.value)


@pytest.mark.slurm
def test_two_runs_on_one_store_here_and_on_slurm_make_everything_once(tmp_path: Path, slurm: Execute) -> None:
    beside_a_local_run(tmp_path, slurm)


@pytest.mark.slurm
def test_one_training_spans_two_nodes_of_slurm(tmp_path: Path, slurm: Execute) -> None:
    trains_on_two_nodes(tmp_path, "launcher=slurm")


@pytest.mark.slurm
def test_a_requeued_job_goes_on_where_it_was(tmp_path: Path, slurm: Execute) -> None:
    def requeue() -> None:
        wait_for(tmp_path / "sleeping")
        ask = ["squeue", "--me", "--noheader", "--states", "R", "--format", "%i"]
        answer = subprocess.run(ask, capture_output=True, text=True, check=True)
        (job,) = answer.stdout.split()
        subprocess.run(["scontrol", "requeue", job], check=True)
        hurry = ["scontrol", "update", f"JobId={job}", "StartTime=now"]  # SLURM would let two minutes pass
        for _ in range(10):
            time.sleep(2)
            subprocess.run(hurry, capture_output=True, check=False)

    thread = threading.Thread(target=requeue)
    thread.start()
    call = toy(1.0, behaviour="sleep-once", gpus=1)
    outcome = slurm(call)
    thread.join()
    assert (outcome[call].path / "half").read_text() == "kept over the kill"


@pytest.mark.slurm
def test_a_node_with_too_few_gpus_and_a_wrong_option_are_refused(tmp_path: Path, slurm: Execute) -> None:
    with pytest.raises(ConfigError, match=r"wants 8 GPUs and a node has launcher\.gpus=4"):
        slurm(toy(1.0, gpus=8))
    with pytest.raises(ConfigError, match=r"(?s)launcher\.options: .*partitoin"):
        executing(tmp_path, launcher("slurm", partitoin="gpu"))


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Three raylets on this machine, two of them with four pretended GPUs each."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 2, "num_gpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=8, num_gpus=4) for _ in range(2)]
    cluster.gpu_nodes = nodes  # type: ignore[attr-defined]
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.ray
def test_ray_keeps_eight_gpus_busy_each_task_on_its_own(tmp_path: Path, cluster: Any) -> None:
    rows = [toy(float(value), behaviour="busy", gpus=1) for value in range(8)]
    target = toy(9.0, *rows)
    outcome = executing(tmp_path, launcher("ray", address=cluster.address))(target)
    assert outcome[target].values == {"total": 37.0}
    assert sorted(places(tmp_path)) == ["", *"00112233"]


def _is_busy(node: Any) -> bool:
    """Whether a worker of the toys runs below a raylet."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return any("pipelines.worker" in process.cmdline() for process in raylet.children(recursive=True))


@pytest.mark.ray
def test_what_a_lost_node_was_making_is_made_elsewhere(tmp_path: Path, cluster: Any) -> None:
    def lose() -> None:
        wait_for(tmp_path / "sleeping")
        running = next(node for node in cluster.gpu_nodes if _is_busy(node))
        cluster.remove_node(running, allow_graceful=False)

    thread = threading.Thread(target=lose)
    thread.start()
    call = toy(1.0, behaviour="sleep-once", gpus=4)
    outcome = executing(tmp_path, launcher("ray", address=cluster.address))(call)
    thread.join()
    assert (outcome[call].path / "half").read_text() == "kept over the kill"


@pytest.mark.ray
def test_two_runs_on_one_store_here_and_on_ray_make_everything_once(tmp_path: Path, cluster: Any) -> None:
    beside_a_local_run(tmp_path, executing(tmp_path, launcher("ray", address=cluster.address)))


@pytest.mark.ray
def test_one_training_spans_two_nodes_of_ray(tmp_path: Path, cluster: Any) -> None:
    trains_on_two_nodes(tmp_path, "launcher=ray", f"launcher.options.address='{cluster.address}'")


@pytest.mark.ray
def test_a_failure_under_ray_is_told_as_anywhere(tmp_path: Path, cluster: Any) -> None:
    with pytest.raises(StageError) as caught:
        executing(tmp_path, launcher("ray", address=cluster.address))(
            toy(1.0, behaviour="fail", gpus=1), toy(2.0, behaviour="crash", gpus=1)
        )
    assert "stage toy (toy 1.0): found 0 rows, expected at least 1" in str(caught.value)
    assert "(toy 2.0) ended with status 1: RuntimeError: a defect" in str(caught.value)


def test_an_engine_that_is_not_installed_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for engine, package in (("slurm", "submitit"), ("ray", "ray")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ConfigError, match=rf"launcher={engine} needs {package}"):
            executing(tmp_path, launcher(engine))


class _Pretended:
    """An executor that remembers what it was given."""

    width = 2

    def __init__(self) -> None:
        self.given: list[str] = []

    def submit(self, job: Any) -> None:
        self.given.append(job.label)


def test_short_work_without_a_gpu_stays_here(tmp_path: Path) -> None:
    here, there = _Pretended(), _Pretended()
    split = Split(here, there, 10.0)  # type: ignore[arg-type]
    for label, needs in (
        ("score", Needs(seconds=0.1)),
        ("merge", Needs(seconds=60)),
        ("answer", Needs(gpus=1)),
        ("gang", Needs(nodes=2)),
    ):
        split.submit(Job(STAGE, "f" * 64, None, {}, label, needs))
    assert (here.given, there.given) == (["score"], ["merge", "answer", "gang"])
