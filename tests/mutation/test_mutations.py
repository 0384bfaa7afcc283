"""What `make mutation` plants can be planted: code that moved on takes its mutations with it."""

from pathlib import Path

import pytest
from mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: f"{each.file} {each.old}"[:60])
def test_a_fragment_stands_once_in_its_file_and_its_tests_are_there(mutation: Mutation) -> None:
    assert (ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.old) == 1
    assert mutation.new != mutation.old
    assert all((ROOT / word).is_file() for word in mutation.tests.partition(" -k ")[0].split())
