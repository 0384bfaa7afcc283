"""The examples run as their docstrings say, on pico models in place of the real ones."""

import os
import subprocess
import sys
from pathlib import Path

import pico
import pytest
from test_bare_install import EXTRAS

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(name: str, *arguments: Path | str, without: tuple[str, ...] = ()) -> str:
    """What `python examples/NAME ...` prints, as if the packages of `without` were not installed."""
    path = str(ROOT / "examples" / name)
    # None in sys.modules is how Python says that a package is not there.
    hidden = f"import runpy, sys; sys.modules |= dict.fromkeys({without!r}); runpy.run_path({path!r}, None, '__main__')"
    command = [sys.executable, *(["-c", hidden] if without else [path]), *map(str, arguments)]
    # What a Trainer that ran in this process has left there.
    theirs = ("ACCELERATE_", "RANK", "WORLD_SIZE", "LOCAL_RANK")
    mine = {key: value for key, value in os.environ.items() if not key.startswith(theirs)}
    environment = mine | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path, Path]:
    return pico.save_pair("qwen2_5_vl", tmp_path)


def test_the_plain_loop_moves_along_the_prior_where_no_extra_is_installed(models, tmp_path):
    mllm, expert, _ = models
    first = run("plain_loop.py", mllm, expert, tmp_path / "prior", without=EXTRAS)
    assert "moved    attn 14 in layers 0-1" in first
    assert "left out norm 4 in layers 0-1" in first
    assert float(first.split("w_eff ")[1].split()[0]) > 0


def test_the_trainers_log_has_the_injections_values_and_the_model_opens(models, tmp_path):
    mllm, expert, _ = models
    printed = run("trainer.py", mllm, expert, tmp_path / "out")
    lines = [line for line in printed.splitlines() if "drift/w_eff" in line]
    assert len(lines) == 2
    assert "drift/cosine" in lines[0]
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()


def test_a_merge_opens(models, tmp_path):
    printed = run("merge.py", *models, tmp_path / "merged")
    assert "Qwen2_5_VLForConditionalGeneration opens" in printed


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_gives_the_command_for_real_models(path):
    assert f"    python examples/{path.name} Qwen/" in path.read_text()


def test_every_example_is_run_here():
    assert [path.name for path in EXAMPLES] == ["merge.py", "plain_loop.py", "trainer.py"]
