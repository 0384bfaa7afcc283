"""Every kind of artifact, damaged in every way: found, and the tables come out the same; refused where it is a link."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import corruption
import pytest

from pipelines.stage import Call

pytestmark = pytest.mark.slow


Made = tuple[Sequence[Call], Path, dict[str, bytes]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("corruption")
    with corruption.judge() as address:
        calls = corruption.targets(folder / "answers", address)
        yield calls, folder / "store", corruption.numbers(corruption.run(calls, folder / "store"), calls)


@pytest.mark.parametrize("kind", corruption.KINDS)
@pytest.mark.parametrize("damage", corruption.DAMAGES)
def test_damage_is_found_and_the_tables_come_out_the_same(made: Made, kind: str, damage: str) -> None:
    calls, store, expected = made
    result = corruption.attempt(calls, store, kind, damage, expected)
    said = {"folder became a link": "refused", "files that may be run": "taken"}
    assert result.what == said.get(damage, "set aside, made again")
    assert result.is_same


def test_the_store_holds_every_kind(made: Made) -> None:
    assert {path.parent.name for path in made[1].glob("[!.]*/*")} == set(corruption.KINDS)
