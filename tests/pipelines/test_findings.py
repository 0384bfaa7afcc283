"""Findings are contrasts, by their stated rule."""

from pathlib import Path

from evaluation.statistics import paired_over_seeds
from pipelines.report.findings import findings, sentences


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
