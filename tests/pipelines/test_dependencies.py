"""What the source imports is declared: `pip install` with the extra that a layer needs brings all of it."""

import ast
import re
import sys
import tomllib
from collections.abc import Collection
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from pipelines import compose, worker

LAYERS = ("drift", "evaluation", "pipelines")
# Runs inside the toolkit's own environment, which has these.
ELSEWHERE = {"evaluation/toolkit/vlmevalkit_runner.py": {"vlmeval", "torchvision"}}
# Needed where Trainers, ZeRO and images are; the rest of drift needs the base alone.
TRAINING = ("drift/training/", "drift/injection/zero.py", "drift/images.py", "drift/processes.py")
PROJECT = tomllib.loads((compose.ROOT / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")  # type: ignore[index]


def declared(*extras: str) -> set[str]:
    """Distributions of the base and these extras; an extra may name others of this project."""
    found = {name_of(line) for line in PROJECT["dependencies"]}
    for extra in extras:
        for line in PROJECT["optional-dependencies"][extra]:
            inner = re.fullmatch(rf"{PROJECT['name']}\[(.*)\]", line)
            found |= declared(*inner[1].split(",")) if inner else {name_of(line)}
    return found


def imported(path: Path) -> set[str]:
    """Top-level names of third parties that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module).partition(".")[0])
    return found - set(sys.stdlib_module_names) - set(LAYERS)


def undeclared(files: dict[Path, set[str]], local: Collection[str] = ()) -> list[str]:
    """`file: module` of every import that no declared distribution brings and that is no `local` module."""
    owners = packages_distributions()
    return [
        f"{path}: {module}"
        for path, known in files.items()
        for module in sorted(imported(compose.ROOT / path) - ELSEWHERE.get(str(path), set()) - set(local))
        if not {name.lower().replace("_", "-") for name in owners.get(module, [module])} & known
    ]


def sources(folder: str) -> list[Path]:
    return [path.relative_to(compose.ROOT) for path in sorted((compose.ROOT / folder).rglob("*.py"))]


def test_every_import_is_declared_in_the_extra_of_its_layer() -> None:
    base, train, evaluation = declared(), declared("train", "liger"), declared("eval")
    files = {path: train if str(path).startswith(TRAINING) else base for path in sources("drift")}
    files |= dict.fromkeys(sources("evaluation"), evaluation)
    files |= dict.fromkeys(sources("pipelines"), declared("pipeline", "slurm", "ray"))
    assert undeclared(files) == []


def test_tests_and_benchmarks_import_what_dev_brings() -> None:
    folders = [compose.ROOT / name for name in ("tests", "benchmarks")]
    local = {path.stem for folder in folders for path in folder.rglob("*.py")} | {"mergekit"}
    files = dict.fromkeys([*sources("tests"), *sources("benchmarks")], declared("dev", "slurm", "ray"))
    assert undeclared(files, local) == []


def test_an_import_that_is_not_declared_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("def late():\n    from scipy.stats import t\n    import yaml\n")
    monkeypatch.setattr(compose, "ROOT", tmp_path)
    assert undeclared({Path("a.py"): declared()}) == ["a.py: scipy"]


def test_the_base_is_the_method_alone() -> None:
    heavy = {"deepspeed", "accelerate", "datasets", "hydra-core", "wandb", "statsmodels", "pandas", "matplotlib"}
    assert not heavy & declared()
    assert heavy <= declared("dev")


def test_the_packages_that_a_manifest_records_are_the_pipelines() -> None:
    assert set(worker.PACKAGES) <= declared("pipeline")
