"""What every config shares: all faults at once, and a hash that is blind to how it runs."""

from dataclasses import dataclass, field
from typing import Literal

from drift.config import RUNTIME, faults, identity_of

Fruit = Literal["apple", "pear"]


@dataclass(frozen=True)
class Basket:
    fruit: Fruit = "apple"
    size: Literal[1, 2] = 1
    weight: float = 1.0
    workers: int = field(default=4, metadata=RUNTIME)


def test_all_faults_are_found_and_an_unknown_choice_names_the_closest():
    basket = Basket("aple", 3, -1.0)  # type: ignore[arg-type]
    found = faults(basket, ("weight", basket.weight >= 0, "0 or more"), ("workers", basket.workers >= 1, "at least 1"))
    assert found == [
        "unknown fruit 'aple'; did you mean 'apple'? known: apple, pear",
        "unknown size 3; known: 1, 2",
        "weight is -1.0, expected 0 or more",
    ]
    assert faults(Basket()) == []


def test_a_runtime_knob_is_no_part_of_the_identity():
    assert identity_of(Basket(workers=9)) == identity_of(Basket()) == {"fruit": "apple", "size": 1, "weight": 1.0}
