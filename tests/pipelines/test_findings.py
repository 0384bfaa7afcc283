"""Findings are contrasts, by their stated rule."""

from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.statistics import paired_over_seeds
from pipelines.report.findings import findings, sentences


def write(folder: Path, rows: dict[str, tuple[float, ...]]) -> None:
    (folder / "tables").mkdir()
    values = [f'table2,"{row}",Avg,{run},{v},m' for row, each in rows.items() for run, v in enumerate(each)]
    head = "table,row,benchmark,run,value,fingerprint"
    (folder / "tables" / "table2_values.csv").write_text("\n".join([head, *values]))
    long = [f'table2,"{row}",Avg,1,505,worlds' for row in rows]
    (folder / "tables" / "table2_long.csv").write_text("\n".join(["table,row,benchmark,value,n,varies", *long]))


def test_a_contrast_is_paired_by_world_and_holds_where_its_interval_is_a_gain(tmp_path: Path) -> None:
    drift, sft = (80.0, 84.0, 86.0), (70.0, 75.0, 77.0)
    write(tmp_path, {"DRIFT, alpha chosen": drift, "SFT": sft, "Random direction, DRIFT's alpha": (81.0, 83.0, 87.0)})
    beats, direction = findings(tmp_path)
    expected = paired_over_seeds(sft, drift)
    assert (beats.effect, beats.low, beats.high) == (expected.mean, expected.low, expected.high)
    assert (beats.verdict, direction.verdict) == ("holds", "unresolved")
    assert beats.p_holm == 2 * (expected.p_value or 0)
    assert "95% interval" in sentences([beats])[0]


def test_losses_are_compared_over_the_first_quarter_of_the_steps(tmp_path: Path) -> None:
    early = {"SFT": (2.0, 1.0), "absolute, attn+mlp, alpha chosen": (2.5, 1.5)}
    lines = [
        f'{step},{loss * (1 + run / 10)},"{row}",{run}'
        for row, losses in early.items()
        for run in range(3)
        for step, loss in zip((10, 20, 30, 80), (*losses, 9.0, 9.0), strict=True)
    ]
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "table4_loss.csv").write_text("\n".join(["step,loss,row,run", *lines]))
    (found,) = findings(tmp_path)
    assert (found.answers, found.unit, found.worlds) == ("Figure 5", "nats", 3)
    assert found.by_world == pytest.approx((0.5, 0.55, 0.6))
    assert found.verdict == "holds"
    assert "**holds**. +0.550 nats, 95% interval" in sentences([found])[0]
    spread = "3 worlds; single worlds from +0.500 to +0.600, median +0.550, above zero in 3 of 3."
    assert f"training loss over the first 25% of the steps, {spread}" in sentences([found])[0]


def test_a_training_without_a_logged_step_in_its_first_quarter_is_compared_by_its_first(tmp_path: Path) -> None:
    """As a rehearsal of three steps is, in one world."""
    first = {"SFT": 2.0, "absolute, attn+mlp, alpha chosen": 2.5}
    lines = [f'{step},{loss + step - 1},"{row}",0' for row, loss in first.items() for step in (1, 2, 3)]
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "table4_loss.csv").write_text("\n".join(["step,loss,row,run", *lines]))
    (found,) = findings(tmp_path)
    assert (found.effect, found.worlds, found.verdict) == (0.5, 1, "unresolved")
    assert "+0.500 nats, one world, so no interval" in sentences([found])[0]


def test_an_unresolved_contrast_says_how_many_worlds_would_resolve_it(tmp_path: Path) -> None:
    """Of a third of a standard deviation 73: G*Power 3.1, t-test of matched pairs, power .8."""
    write(tmp_path, {"DRIFT, alpha chosen": (68.0, 71.0, 74.0), "SFT": (70.0, 70.0, 70.0)})
    (found,) = findings(tmp_path)
    assert (found.verdict, found.worlds_needed) == ("unresolved", 73)


def test_two_that_are_open_want_more_worlds_each_than_one_alone(tmp_path: Path) -> None:
    """The next of two is resolved below 2.5%."""
    rows = {"DRIFT, alpha chosen": (68.0, 71.0, 74.0), "SFT": (70.0, 70.0, 70.0)}
    write(tmp_path, rows | {"Random direction, DRIFT's alpha": (70.0, 70.0, 70.0)})
    assert [found.worlds_needed for found in findings(tmp_path)] == [89, 89]
    assert "about 89 worlds would resolve an effect like this" in findings(tmp_path)[0].said
    assert (
        "more than 1000 worlds would resolve an effect like this"
        in replace(findings(tmp_path)[0], worlds_needed=15_905).said
    )


def test_an_interval_that_the_report_itself_puts_on_a_contrast_is_taken(tmp_path: Path) -> None:
    """Where three worlds agree by luck, the report's floor by their questions is wider than Student's interval."""
    write(tmp_path, {"DRIFT, alpha chosen": (72.0, 75.0, 78.0), "SFT": (70.0, 73.01, 75.99)})
    (alone,) = findings(tmp_path)
    head = "table,row,against,benchmark,difference,ci_low,ci_high,p,varies,pairs"
    line = '"DRIFT, alpha chosen",SFT,Avg,2.0,-0.5,4.5,0.12,worlds,3'
    (tmp_path / "tables" / "table2_contrasts.csv").write_text(f"{head}\ntable2,{line}\n")
    (stated,) = findings(tmp_path)
    assert (alone.verdict, stated.verdict) == ("holds", "unresolved")
    assert (stated.low, stated.high, stated.p) == (-0.5, 4.5, 0.12)
    assert stated.by_world == alone.by_world
