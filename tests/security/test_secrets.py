"""A key that a run uses is in nothing that the run writes or says."""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from drift.errors import DriftError
from pipelines import compose, job

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evaluation"))
from local_http import send, serve

CANARY = "sk-canary-4f1c9d7e2b"
WORLD = (
    "profile=smoke", "method=baseline", "world.base.steps=2", "world.expert.steps=2", "world.cells.steps=2",
    "world.mllm.steps=2", "world.suite_items=2", "world.wemath_groups=1", "world.gates.cell_accuracy=0",
    "world.gates.problems=2", "world.gates.suite_items=2", "world.gates.wemath_groups=1",
)  # fmt: skip


def everything(folder: Path) -> bytes:
    """All bytes below a folder, the names of files too."""
    return b"".join(str(path).encode() + path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_key_is_in_no_manifest_log_record_or_error(tmp_path: Path) -> None:
    seen: list[str] = []

    def refuse(request: BaseHTTPRequestHandler, _body: dict) -> None:
        seen.append(request.headers.get("Authorization", ""))
        send(request, 500, json.dumps({"error": f"no such key: {request.headers.get('Authorization')}"}).encode())

    keys = dict.fromkeys(("OPENAI_API_KEY", "WANDB_API_KEY", "HF_TOKEN"), CANARY)
    with serve(refuse) as url:
        words = [
            *WORLD, "judge=openai", f"judge.url={url}/v1", "judge.model=m", "judge.attempts=1", "judge.pause=0",
            "judge.failures_in_a_row=1", "tracker=offline", "launcher.workers=1", f"store={tmp_path / 'store'}",
            f"tracker.folder={tmp_path / 'recordings'}",
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.run", *words],
            cwd=tmp_path,
            env={**os.environ, **keys, "PYTHONPATH": str(compose.ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "stopped answering" in done.stderr
    assert f"Bearer {CANARY}" in seen, "the key was used"
    assert CANARY not in done.stdout + done.stderr
    assert CANARY.encode() not in everything(tmp_path)


def test_a_key_in_an_address_is_refused() -> None:
    with pytest.raises(DriftError, match="a key belongs into the variable of key_env") as caught:
        compose.load(["engine=openai", f"engine.url=https://user:{CANARY}@host/v1"])
    assert CANARY not in str(caught.value)


def test_the_environment_that_travels_with_a_job_holds_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    assert CANARY not in str(job.environment())
