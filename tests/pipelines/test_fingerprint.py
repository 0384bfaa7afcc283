"""An artifact's identity is its stage, version, typed parameters and inputs, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest
from toy_stages import STAGE, toy

from pipelines.fingerprint import canonical, fingerprint
from pipelines.stage import Runtime, ordered, with_value


def test_identity_changes_with_each_of_its_parts() -> None:
    marks = {
        fingerprint("a", 1, {"x": 1.0}, {}),
        fingerprint("b", 1, {"x": 1.0}, {}),
        fingerprint("a", 2, {"x": 1.0}, {}),
        fingerprint("a", 1, {"x": 2.0}, {}),
        fingerprint("a", 1, {"x": 1.0}, {"in": "f"}),
    }
    assert len(marks) == 5


def test_the_order_of_keys_and_the_kind_of_sequence_do_not_matter() -> None:
    assert fingerprint("a", 1, {"x": (1, 2), "y": 0}, {}) == fingerprint("a", 1, {"y": 0, "x": [1, 2]}, {})


def test_a_path_is_no_parameter() -> None:
    with pytest.raises(TypeError, match="can't be part of an artifact's identity"):
        canonical(Runtime(store=Path("x")))


def test_equal_calls_join_and_sources_come_first() -> None:
    shared, twin = toy(1), toy(1)
    plan = ordered([toy(2, shared), toy(3, twin)])
    assert [call.params.value for call in plan] == [1, 2, 3]


def test_a_label_is_no_part_of_a_call() -> None:
    assert toy(1).key == replace(toy(1), label="other").key
    assert toy(1).key != replace(toy(1), stage=replace(STAGE, version=2)).key


def test_a_bound_value_is_part_of_a_call() -> None:
    assert toy(0, bound=toy(1)).key != toy(0, bound=toy(2)).key


def test_only_existing_fields_can_be_bound() -> None:
    assert with_value(toy(1).params, "value", 5).value == 5
    with pytest.raises(TypeError):
        with_value(toy(1).params, "vlaue", 5)
    with pytest.raises(TypeError, match="does not lead into a dataclass"):
        with_value(toy(1).params, "value.deeper", 5)
