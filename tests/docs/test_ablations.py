"""The recipes of docs/ablations.md run as they are written, on a world of toy size; results/lab stays as it is."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE, _, FINDING = (ROOT / "docs" / "ablations.md").read_text(encoding="utf-8").partition("## Finding runs again")
RECIPE = re.compile(r"^\*\*(\d+)\. .*?(?=^\*\*\d+\. |\Z)", re.MULTILINE | re.DOTALL)
TYPED = re.compile(r"^ {4}drift (.*)$", re.MULTILINE)
RECIPES = {found[1]: TYPED.findall(found[0]) for found in RECIPE.finditer(PAGE)}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def lab() -> str:
    asked = ["git", "-C", str(ROOT), "status", "--porcelain", "--", "results/lab"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One store for all recipes; the folders that they make beside results/lab are removed."""
    before = set((ROOT / "results").iterdir())
    yield tmp_path_factory.mktemp("recipes") / "artifacts"
    for made in set((ROOT / "results").iterdir()) - before:
        shutil.rmtree(made)


def test_there_are_ten_and_each_has_a_command() -> None:
    assert list(RECIPES) == [str(number) for number in range(1, 11)]
    assert all(RECIPES.values())


@pytest.mark.parametrize("number", RECIPES)
def test_a_recipe_runs_as_written_and_leaves_the_committed_results_alone(store: Path, number: str) -> None:
    before = lab()
    for line in RECIPES[number]:
        words = [*shlex.split(line), "profile=smoke", f"store={store}", "tracker=disabled"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        ran = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *words],
            cwd=store.parent, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, f"drift {line}\n{ran.stderr[-3000:]}"
    assert lab() == before
