"""What docs/clusters.md shows for several GPUs on one machine runs as written, but for what needs real GPUs."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Several GPUs on one machine")[2].partition("\n## ")[0]
LINES = re.findall(r"^ {4}(.*)$", SECTION, re.MULTILINE)
REAL = [line for line in LINES if "# needs four real GPUs" in line]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def test_one_line_needs_real_gpus_and_is_the_one_that_shows_them() -> None:
    assert [shlex.split(line, comments=True)[0] for line in REAL] == ["CUDA_VISIBLE_DEVICES=4,5,6,7"]
    assert len(LINES) == 4


@pytest.mark.parametrize("line", [line for line in LINES if line not in REAL])
def test_a_line_runs_as_written(tmp_path: Path, line: str) -> None:
    """Each in a store of its own: what one launcher has trained the other would take."""
    store = tmp_path / "artifacts"
    program, *words = shlex.split(line, comments=True)
    assert program == "drift"
    asked = [sys.executable, "-m", "pipelines.cli", *words, f"store={store}", "tracker=disabled"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(asked, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    if words[0] == "plan":
        assert "as if with 4 GPUs" in ran.stdout
    else:
        (made,) = (json.loads(path.read_text()) for path in store.glob("train/*/manifest.json"))
        assert (made["params"]["processes"], made["place"]["gpus"]) == (2, "")
        assert '"name": "drift per_device_batch_size=4"' in ran.stdout
