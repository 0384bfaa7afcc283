"""What is damaged in the store is found, set aside and made again, with what no longer follows from it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_stages import toy

from pipelines.errors import StageError
from pipelines.executors.local import Local
from pipelines.outcome import Outcome
from pipelines.scheduler import Scheduler
from pipelines.stage import Call, Runtime
from pipelines.store import MANIFEST


@pytest.fixture
def execute(tmp_path: Path) -> Callable[..., Outcome]:
    def run(*targets: Call) -> Outcome:
        return Scheduler(Runtime(tmp_path), Local(Runtime(tmp_path), 2), lambda artifact: None).execute(list(targets))

    return run


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped byte": lambda path: (path / "sum.txt").write_text("9.0"),
    "truncated": lambda path: (path / "sum.txt").write_text("1"),
    "deleted file": lambda path: (path / "sum.txt").unlink(),
    "deleted manifest": lambda path: (path / MANIFEST).unlink(),
    "manifest cut in half": lambda path: os.truncate(path / MANIFEST, 100),
    "manifest of null": lambda path: (path / MANIFEST).write_text("null"),
    "edited values": lambda path: _edit(path, values={"total": 9.0}),
    "emptied files": lambda path: _edit(path, files={}),
    "extra file": lambda path: (path / "more.txt").write_text("x"),
    "file became a link": lambda path: (
        (path / "sum.txt").replace(path.parent / "moved") and (path / "sum.txt").symlink_to(path.parent / "moved")
    ),
}


def _edit(path: Path, **changes: object) -> None:
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(manifest | changes))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_artifact_is_set_aside_and_made_again(
    tmp_path: Path, execute: Callable[..., Outcome], damage: str
) -> None:
    source = toy(1)
    target = toy(2, source)
    path = execute(target)[source].path
    DAMAGES[damage](path)
    outcome = execute(target)
    assert outcome[target].values == {"total": 3.0}
    assert (path / "sum.txt").read_text() == "1.0"
    assert outcome.executed == 1, "what was made from it follows from what came out again, and stays"
    assert len(list((tmp_path / ".quarantine").iterdir())) == 1
    assert execute(target).executed == 0


def test_what_was_made_from_an_input_that_comes_out_otherwise_is_made_again(
    tmp_path: Path, execute: Callable[..., Outcome]
) -> None:
    (tmp_path / "drawn.txt").write_text("1")
    source = toy(1, behaviour="drawn")
    middle = toy(2, source)
    target = toy(3, middle)
    path = execute(target)[source].path
    (path / "sum.txt").unlink()
    (tmp_path / "drawn.txt").write_text("5")
    outcome = execute(target)
    assert outcome[target].values == {"total": 11.0}
    assert outcome.executed == 3


def test_a_folder_that_is_a_link_to_another_artifact_stops_what_needs_it(
    tmp_path: Path, execute: Callable[..., Outcome]
) -> None:
    source, other = toy(1), toy(7)
    target = toy(2, source)
    outcome = execute(target, other)
    path = outcome[source].path
    path.rename(tmp_path / "moved")
    path.symlink_to(outcome[other].path)
    with pytest.raises(StageError, match=r"stage toy \(toy 1\): .*is a link to .*Remove the link"):
        execute(target, toy(3))
    path.unlink()
    assert execute(toy(3)).executed == 0, "what does not need it was made all the same"
    assert execute(target)[target].values == {"total": 3.0}
