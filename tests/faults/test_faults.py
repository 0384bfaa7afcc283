"""A kill in earnest, short enough for every push: `make faults` tries many, under every engine."""

from pathlib import Path

import campaign
import pytest
from runs import Ledger, Row


@pytest.mark.faults
def test_a_reproduction_whose_scheduler_is_killed_leaves_nothing_and_ends_with_the_same_tables(tmp_path: Path) -> None:
    words = [str(tmp_path), "--engine=local", "--kills=1", "--table=table10", "--quick"]
    assert campaign.main(words) == 0
    (row,) = Ledger(tmp_path / "ledger.jsonl").judged()
    assert row.outcome == "recovered"


def test_what_was_recovered_counts_once_its_tables_are_the_references(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for name in ("same", "other", "cut off"):
        ledger.add(name, Row("local", name, "kill", "at once", "nothing", "recovered"))
    ledger.judge("same", True)
    ledger.judge("other", False)
    said = [row.outcome for row in Ledger(tmp_path / "ledger.jsonl").judged()]
    assert said == ["recovered", "lost: other tables; recovered", "not compared yet; recovered"]
    assert "| local | same | kill | 1 | 1 | 0 | 0 | 0 | 0 |" in ledger.summary()
    assert "| local | cut off | kill | at once | nothing | not compared yet; recovered |" in ledger.table()
