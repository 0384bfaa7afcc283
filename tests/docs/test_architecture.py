"""The picture of the layers is drawn from the imports that there are, and they go one way."""

import importlib.util
import json
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def architecture() -> ModuleType:
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(architecture: ModuleType) -> dict:
    return architecture.picture()


def test_the_committed_picture_shows_the_imports_that_there_are(architecture: ModuleType, data: dict) -> None:
    assert architecture.committed() == json.loads(json.dumps(data)), "draw it anew: python docs/architecture.py"


def test_no_import_goes_up_a_layer(data: dict) -> None:
    assert data["layers"] == [
        ("evaluation", "drift"),
        ("pipelines", "drift"),
        ("pipelines", "evaluation"),
    ]


def test_in_a_layer_every_import_goes_down_a_row(architecture: ModuleType, data: dict) -> None:
    for rows in data["rows"].values():
        level = {part: place for place, row in enumerate(rows) for part in row}
        inside = [pair for pair in architecture.edges() if level.keys() >= set(pair)]
        assert inside
        assert [pair for pair in inside if level[pair[0]] >= level[pair[1]]] == []


def test_a_circle_has_no_rows(architecture: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"round in a circle among a\.x, a\.y"):
        architecture._rows(["a.x", "a.y"], {("a.x", "a.y"), ("a.y", "a.x")})


def test_the_linter_refuses_what_the_picture_can_not_show(architecture: ModuleType) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    by_type = {contract["type"]: contract for contract in contracts}
    assert by_type["layers"]["layers"] == list(architecture.LAYERS)
    assert by_type["acyclic_siblings"]["ancestors"] == sorted(architecture.LAYERS)


def test_the_top_level_of_evaluation_is_short() -> None:
    entries = {path.name for path in (ROOT / "evaluation").iterdir()} - {"__pycache__"}
    assert len(entries) <= 10, sorted(entries)
