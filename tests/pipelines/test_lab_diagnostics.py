"""Copying right means the digits, in order, before anything else."""

from evaluation.data.tsv import Item
from pipelines.lab.diagnostics import diagnose


def test_a_chain_copies_right_when_it_opens_with_the_digits_and_closes_when_it_ends_its_thought() -> None:
    items = [Item("0", "sum ?", "1", fields={"digits": "3 8"}), Item("1", "?", "6", fields={"digits": "3 8 5 sum"})]
    right = {"0": "<think> 3 8 . 3 + 8 = 1 </think> \\boxed{ 1 }", "1": "<think> 3 8 5 . sum . 3 + 8 = 1 + 5 = 6"}
    assert diagnose(items, right) == {"transcription": 100.0, "closed": 50.0}
    assert diagnose(items, {"0": "<think> 8 3 . </think>"}) == {"transcription": 0.0, "closed": 50.0}


def test_a_benchmark_that_is_not_the_labs_has_no_diagnostics() -> None:
    assert diagnose([Item("0", "?", "1")], {"0": "1"}) == {}
