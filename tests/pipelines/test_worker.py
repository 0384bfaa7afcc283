"""A job file is enough to make an artifact anywhere: its only reply is the store, and twice is once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from pydantic import TypeAdapter
from toy_stages import toy

from pipelines import compose, job, tables
from pipelines.errors import StageError
from pipelines.fingerprint import canonical, fingerprint
from pipelines.scheduler import resolve
from pipelines.stage import Runtime, ordered
from pipelines.store import Store
from pipelines.worker import revision


def start(path: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(compose.ROOT), str(Path(__file__).parent)])}
    run = [sys.executable, "-m", "pipelines.worker", str(path)]
    return subprocess.run(run, capture_output=True, text=True, check=False, env=environment)


def test_a_job_file_makes_the_artifact_once(tmp_path: Path) -> None:
    source, runtime, store = toy(1.5), Runtime(tmp_path, threads=1), Store(tmp_path)
    first = resolve(source, {})
    assert start(job.write(first, runtime)).returncode == 0
    made = store.find("toy", first.fingerprint)
    assert made is not None
    second = job.write(resolve(toy(2.0, source), {source.key: made}), runtime)
    assert [start(second).returncode, start(second).returncode] == [0, 0]
    assert (tmp_path / "runs.log").read_text().split() == ["1.5", "2.0"]


def test_an_error_is_left_in_the_store(tmp_path: Path) -> None:
    failing = resolve(toy(1.0, behaviour="fail"), {})
    assert start(job.write(failing, Runtime(tmp_path))).returncode == 2
    assert Store(tmp_path).error("toy", failing.fingerprint).read_text().startswith("found 0 rows")


def test_a_job_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = job.write(resolve(toy(1.0), {}), Runtime(tmp_path))
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"params": content["params"] | {"value": 2.0}}))
    with pytest.raises(StageError, match="its parameters have fingerprint"):
        job.read(path)
    path.write_text(json.dumps(content | {"params": {"value": "many"}}))
    with pytest.raises(StageError, match="the parameters are not those of stage toy"):
        job.read(path)


def test_a_missing_input_asks_for_a_shared_store(tmp_path: Path) -> None:
    source = toy(1.0)
    path = job.write(resolve(source, {}), Runtime(tmp_path))
    content = json.loads(path.read_text())
    mark = fingerprint("toy", 1, source.params, {"0": "e" * 64})
    path.write_text(json.dumps(content | {"inputs": {"0": ["toy", "e" * 64]}, "fingerprint": mark}))
    with pytest.raises(StageError, match="is the store on a shared filesystem"):
        job.read(path)


@pytest.mark.parametrize(("profile", "table"), [("lab", "table1"), ("paper", "table4")])
def test_the_parameters_of_every_call_come_back_as_they_went(profile: str, table: str) -> None:
    target = tables.report([tables.load(table)], [f"profile={profile}", "seeds=[0]"], False)
    adapters: dict[str, TypeAdapter[Any]] = {}
    for call in ordered([target]):
        name = call.stage.name
        if name not in adapters:
            adapters[name] = TypeAdapter(get_type_hints(call.stage.function())["params"])
        back = adapters[name].validate_python(json.loads(json.dumps(canonical(call.params))))
        assert fingerprint("x", 1, back, {}) == fingerprint("x", 1, call.params, {}), name
    assert {"model", "generate", "score", "report"} <= set(adapters)


def test_results_that_a_run_wrote_do_not_make_the_code_dirty(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for name in ("code.py", "results/lab/report.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("first")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    (tmp_path / "results" / "lab" / "report.md").write_text("made again")
    assert revision(tmp_path)["dirty"] is False
    (tmp_path / "code.py").write_text("changed")
    assert revision(tmp_path)["dirty"] is True
