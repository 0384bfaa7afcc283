"""A kill in earnest, short enough for every push: `make faults` tries many, under every engine."""

from pathlib import Path

import campaign
import pytest


@pytest.mark.faults
def test_a_reproduction_whose_scheduler_is_killed_leaves_nothing_and_ends_with_the_same_tables(tmp_path: Path) -> None:
    words = [str(tmp_path), "--engine=local", "--kills=1", "--table=table10", "--quick"]
    assert campaign.main(words) == 0
    rows = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert len(rows) == 1
    assert '"outcome": "recovered"' in rows[0]
