"""Findings are the claims where there are some, else the contrasts by their stated rule."""

import json
import math
from pathlib import Path
from typing import Any

from evaluation.statistics import paired_over_seeds
from pipelines.report.findings import findings, sentences

CLAIM: dict[str, Any] = {
    "name": "drift_sft", "sentence": "DRIFT beats SFT at equal steps.", "table": "Table 2", "pair": "p",
    "first": "DRIFT", "second": "SFT", "budget": "equal steps", "metric": "average",
    "expected": "better", "smallest": 2.0, "effect": 3.0,
    "low": 1.0, "high": 5.0, "p": 0.01, "p_holm": 0.02, "verdict": "holds", "worlds": 15, "items": 900, "power": 0.9,
    "worlds_needed": None,
}  # fmt: skip


def write(folder: Path, rows: dict[str, tuple[float, ...]]) -> None:
    (folder / "tables").mkdir()
    values = [f"table2,{row!r},Avg,{run},{v},m" for row, each in rows.items() for run, v in enumerate(each)]
    head = "table,row,benchmark,run,value,fingerprint"
    (folder / "tables" / "table2_values.csv").write_text("\n".join([head, *values]).replace("'", '"'))
    long = [f'table2,"{row}",Avg,1,505,worlds' for row in rows]
    (folder / "tables" / "table2_long.csv").write_text("\n".join(["table,row,benchmark,value,n,varies", *long]))


def test_a_contrast_is_paired_by_world_and_holds_where_its_interval_is_a_gain(tmp_path: Path) -> None:
    drift, sft = (80.0, 84.0, 86.0), (70.0, 75.0, 77.0)
    write(tmp_path, {"DRIFT, alpha chosen": drift, "SFT": sft, "Random direction, alpha chosen": (81.0, 83.0, 87.0)})
    beats, direction = findings(tmp_path)
    expected = paired_over_seeds(sft, drift)
    assert (beats.effect, beats.low, beats.high) == (expected.mean, expected.low, expected.high)
    assert (beats.verdict, direction.verdict) == ("holds", "unresolved")
    assert beats.p_holm == 2 * (expected.p_value or 0)
    assert "95% interval" in sentences([beats])[0]


def test_the_claims_of_a_study_go_before_contrasts(tmp_path: Path) -> None:
    write(tmp_path, {"DRIFT, alpha chosen": (80.0, 84.0), "SFT": (70.0, 75.0)})
    alone = {**CLAIM, "name": "one_world", "low": None, "high": None, "verdict": "unresolved", "worlds": 1}
    unrun = {key: CLAIM[key] for key in ("name", "sentence", "table")} | {"verdict": "unresolved", "worlds": 0}
    (tmp_path / "claims.json").write_text(json.dumps({"preregistration": "0" * 64, "claims": [CLAIM, alone, unrun]}))
    found = findings(tmp_path)
    assert [(each.claim, each.table, each.verdict) for each in found] == [
        ("DRIFT beats SFT at equal steps", "table2", "holds"),
        ("DRIFT beats SFT at equal steps", "table2", "unresolved"),
    ]
    assert math.isinf(found[1].low)
    assert found[1].interval == "one world, so no interval"
