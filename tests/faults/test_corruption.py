"""Every kind of artifact, damaged in every way: found, and the tables come out the same; refused where it is a link."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import corruption
import pytest

from pipelines.stage import Call

pytestmark = pytest.mark.slow


Made = tuple[Sequence[Call], dict[str, Path], dict[str, bytes]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("corruption")
    with corruption.judge() as address, corruption.toolkit(folder / "programs"):
        calls = corruption.targets(folder / "made", address)
        first = corruption.run(calls, folder / "store")
        yield calls, corruption.places(first), corruption.numbers(first, calls)


@pytest.mark.parametrize("kind", corruption.KINDS)
@pytest.mark.parametrize("damage", corruption.DAMAGES)
def test_damage_is_found_and_the_tables_come_out_the_same(made: Made, kind: str, damage: str) -> None:
    calls, places, expected = made
    result = corruption.attempt(calls, places[kind], damage, expected)
    said = {"folder became a link": "refused", corruption.HARMLESS: "taken"}
    if kind == "gate" and damage in corruption.OF_FILES:  # all that it has to say is in its manifest
        said = {damage: corruption.NO_FILES}
    assert result.what == said.get(damage, "set aside, made again")
    assert result.is_same


def test_the_store_holds_every_kind(made: Made) -> None:
    assert set(made[1]) == set(corruption.KINDS)
