"""Every kind of artifact, damaged in every way: found, and the tables come out the same; refused where it is a link."""

from pathlib import Path

import corruption
import pytest

from pipelines.stage import Call

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Call, Path, dict[str, bytes]]:
    store, call = tmp_path_factory.mktemp("store"), corruption.target()
    return call, store, corruption.numbers(corruption.run(call, store), call)


@pytest.mark.parametrize("kind", corruption.KINDS)
@pytest.mark.parametrize("damage", corruption.DAMAGES)
def test_damage_is_found_and_the_tables_come_out_the_same(
    made: tuple[Call, Path, dict[str, bytes]], kind: str, damage: str
) -> None:
    call, store, expected = made
    result = corruption.attempt(call, store, kind, damage, expected)
    said = {"folder became a link": "refused", "files that may be run": "taken"}
    assert result.what == said.get(damage, "set aside, made again")
    assert result.is_same


def test_the_store_holds_every_kind(made: tuple[Call, Path, dict[str, bytes]]) -> None:
    assert {path.parent.name for path in made[1].glob("[!.]*/*")} == set(corruption.KINDS)
