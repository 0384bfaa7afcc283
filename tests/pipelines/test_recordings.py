"""What was recorded, read back by wandb's own reader, and sent to a stand-in for its server."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from recorded import METRICS, World, kind, world
from test_processes import HERE, wait_for
from wandb_stand_in import standing_in

from pipelines import stages
from pipelines.report.spec import Cell
from pipelines.stage import Call
from pipelines.tracking.read import history, last_step, records, segments
from pipelines.tracking.recorder import groups

__all__ = ["world"]
TRAIN = "train-" + "e" * 20


def config(segment: Path) -> dict:
    """A run's last word on its settings."""
    found: dict = {}
    for record in records(segment):
        found |= record.get("run", {}).get("config", {}).get("update", {})
        found |= record.get("config", {}).get("update", {})
    return found


def head(segment: Path) -> dict:
    return next(record["run"] for record in records(segment) if record["type"] == "run")


def test_a_store_becomes_one_run_a_training_one_a_checkpoint_and_one_for_the_report(world: World) -> None:
    made = [world.training(), world.score("validation"), world.score("test"), world.report()]
    results = world.folder.parent / "results"
    results.mkdir()
    (results / "index.html").write_text("<h1>What came out</h1>")
    for _ in range(2):  # the second recorder finds all of it recorded
        recorder = world.recorder()
        for artifact in made:
            recorder(artifact)
        recorder.finish()
        assert not recorder.trouble
    evaluated, test, report, trained = world.runs()
    assert [kind(path) for path in (evaluated, test, report, trained)] == ["evaluate", "evaluate", "report", "train"]

    facts = head(trained)
    assert (facts["run_id"], facts["job_type"], facts["run_group"]) == (TRAIN, "train", "smoke")
    assert facts["tags"] == ["drift", "qwen2_5_vl_r1", "seed=42", "smoke"]
    assert config(trained)["injection"]["alpha"] == -0.5
    rows = history(trained)
    assert [row["_step"] for row in rows] == [line["step"] for line in METRICS]
    assert (rows[1]["train/loss"], rows[1]["train/w_eff/attn"], rows[1]["train/tokens_per_second"]) == (0.5, 0.04, 9.5)

    assert head(evaluated)["run_id"] == head(test)["run_id"] == "evaluate-" + "e" * 20
    assert config(test)["train"]["learning_rate"] == config(trained)["train"]["learning_rate"]
    (scores,) = history(test)
    assert scores["official/test/MathVista"] == scores["official/validation/MathVista"] == 50.0
    assert scores["checkpoint/w_eff"] == 0.08
    table = json.loads(next(test.glob("files/media/table/items/official/*.table.json")).read_text())
    first = dict(zip(table["columns"], table["data"][0], strict=True))
    assert (first["question"], first["extraction"], first["verdict"]) == ("test 1?", "1", "right")
    kept = [record["artifact"]["manifest"]["contents"] for record in records(test) if record["type"] == "artifact"]
    pictures = [Path(file["local_path"]) for files in kept for file in files if file["path"].endswith(".png")]
    assert len(pictures) == 2
    assert all(path.is_relative_to(world.folder) and path.is_file() for path in pictures), "nothing lies elsewhere"

    assert list(report.glob("files/media/html/page*.html"))
    assert list(report.glob("files/media/table/tables/table1*.json"))


def test_a_training_that_is_killed_and_taken_up_is_one_run_with_one_continuous_curve(world: World) -> None:
    """Everything is killed -9: the scheduler, the recorder and wandb's own process, so that the file's end is torn."""
    script = [sys.executable, str(HERE / "recorded_training.py"), str(world.store.root.parent), "5"]
    first = subprocess.Popen(script, start_new_session=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    assert wait_for(lambda: last_step(world.folder, TRAIN) >= 2, 60), "it is on the disk while it trains"
    (journal,) = world.folder.glob(".journal-*.jsonl")
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        if str(journal).encode() in line.read_bytes():
            os.killpg(int(line.parent.name), signal.SIGKILL)
    first.kill()
    first.wait()

    again = subprocess.run([*script[:-1], "0"], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=False)
    assert again.returncode == 0
    parts = segments(world.folder, TRAIN)
    assert len(parts) == 2
    assert {head(part)["run_id"] for part in parts} == {TRAIN}
    curve = [(row["_step"], row["train/loss"]) for part in parts for row in history(part)]
    assert curve == [(line["step"], line["loss"]) for line in METRICS], "each step once, in order, with its own value"

    with standing_in() as server:
        command = [sys.executable, "-m", "wandb", "sync", *map(str, parts)]
        keys = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "k" * 40}
        subprocess.run(command, env=os.environ | keys, check=True, capture_output=True)
    assert list(server.runs) == [TRAIN]
    assert server.runs[TRAIN].steps() == [line["step"] for line in METRICS]


@pytest.mark.slow
def test_online_a_training_is_on_the_server_while_it_runs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with standing_in() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
        recorder, job = world.recorder("online"), world.job()
        metrics = world.store.partial("train", job.fingerprint) / "model" / "metrics.jsonl"
        metrics.parent.mkdir(parents=True)
        metrics.write_text("".join(json.dumps(line) + "\n" for line in METRICS[:4]))
        recorder.started("key", job)
        assert wait_for(lambda: TRAIN in server.runs and len(server.runs[TRAIN].history) == 4, 60)
        recorder(world.training())
        recorder.finish()
    assert not recorder.trouble
    assert server.runs[TRAIN].steps() == [line["step"] for line in METRICS]
    assert server.uploads() == 1, "it is not sent again when it has ended"


@pytest.mark.slow
def test_what_was_only_tried_is_no_run_and_what_is_reported_on_shows_how_it_was_chosen(world: World) -> None:
    recorder, tried = world.recorder(), world.score("validation")
    score = Call(stages.SCORE, stages.ScoreParams({}, None))  # type: ignore[arg-type]
    choice = Call(stages.CHOOSE, stages.ChooseParams((1,), ()), {"0:0": score})
    recorder.planned([score, choice], {score.key: tried})
    recorder(tried)
    recorder.finish()
    assert not world.runs()
    recorder = world.recorder()
    recorder.planned([score, choice], {score.key: tried})
    recorder(tried)
    recorder(world.score("test"))
    recorder.finish()
    ((scores,),) = [history(run) for run in world.runs()]
    assert scores["official/validation/MathVista"] == scores["official/test/MathVista"] == 50.0


def test_a_training_that_fails_is_a_run_that_failed(world: World) -> None:
    recorder, job = world.recorder(), world.job()
    partial = world.store.partial("train", job.fingerprint)
    (partial / "model").mkdir(parents=True)
    (partial / "model" / "metrics.jsonl").write_text(json.dumps(METRICS[0]) + "\n")
    recorder.started("key", job)
    recorder.finish()
    (run,) = world.runs()
    assert len(history(run)) == 1
    assert [record["exit"]["exit_code"] for record in records(run) if record["type"] == "exit"] == [1]


def test_the_scheduler_waits_for_no_recorder(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line each, whether anybody reads them or not."""
    recorder, artifact = world.recorder(), world.score("test")
    hanging = subprocess.Popen(["/bin/sleep", "60"])
    monkeypatch.setattr(recorder, "_start", lambda _: (world.folder.mkdir(), setattr(recorder, "_sidecar", hanging)))
    began = time.monotonic()
    for _ in range(100):
        recorder(artifact)
    assert time.monotonic() - began < 1
    recorder.finish(0.1)
    assert recorder.trouble == "not all was recorded within 0 s"
    assert hanging.poll() is not None


def test_the_table_that_asks_first_is_a_run_s_group() -> None:
    model = Call(stages.MODEL, stages.ModelParams("mllm", "f", "", "hub", None, "r", "v"))
    score = Call(stages.SCORE, stages.ScoreParams({}, None), {"responses": model})  # type: ignore[arg-type]
    cells = tuple(Cell(table, "row", 0, {"score": "score-1"}) for table in ("table4", "table7"))
    report = Call(stages.REPORT, stages.ReportParams("lab", (0,), (), {}, cells, ()), {"score-1": score})
    assert groups([report, score, model]) == {score.key: "table4", model.key: "table4"}
