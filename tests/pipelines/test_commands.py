"""The commands as typed: bad input is one message and status 2, before anything is made."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import compose


def command(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    run = [sys.executable, "-m", module, *words]
    return subprocess.run(run, capture_output=True, text=True, check=False, cwd=compose.ROOT)


@pytest.mark.parametrize("module", ["pipelines.run", "pipelines.reproduce"])
def test_bad_overrides_are_told_together_and_make_nothing(module: str, tmp_path: Path) -> None:
    done = command(module, "injection.alpah=-1", "method=tis", f"store={tmp_path / 'store'}")
    assert done.returncode == 2
    assert "did you mean 'injection.alpha'" in done.stderr
    assert "did you mean 'ties'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("module", ["pipelines.run", "pipelines.reproduce"])
def test_a_value_of_a_wrong_type_names_key_and_value(module: str, tmp_path: Path) -> None:
    done = command(module, "injection.alpha=abc", f"store={tmp_path / 'store'}")
    assert done.returncode == 2
    assert "injection.alpha" in done.stderr
    assert "'abc'" in done.stderr


def test_a_folder_that_is_not_there_is_named() -> None:
    done = command("pipelines.run", "suite=real", "suite.root=/no/such/folder")
    assert done.returncode == 2
    assert "suite.root is /no/such/folder, which is no folder" in done.stderr


def test_a_merge_that_needs_density_refuses_one_out_of_range() -> None:
    done = command("pipelines.run", "method=ties", "+merge.hyperparameters.density=1.5")
    assert done.returncode == 2
    assert "density is 1.5" in done.stderr


def test_the_plan_of_the_lab_says_what_it_would_run(tmp_path: Path) -> None:
    done = command("pipelines.reproduce", "--plan", "--table", "table9", "seeds=[0]", f"store={tmp_path / 'store'}")
    assert done.returncode == 0
    assert "merge" in done.stdout
    assert "0 in the store" in done.stdout
    assert not (tmp_path / "store").exists()
