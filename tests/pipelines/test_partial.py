"""Something failed: the report of the rest is written, says what failed and why, and overwrites no whole one."""

import csv
from pathlib import Path

import pytest
from test_report_stage import TOYS, artifact, house

from pipelines import reproduce, stages, tables
from pipelines.errors import StageError
from pipelines.outcome import Failure, Outcome
from pipelines.partial import salvaged
from pipelines.stage import Call, Runtime, ordered
from pipelines.stages.partial import partial_report
from pipelines.store import Artifact

__all__ = ["house"]
OVERRIDES = ["profile=smoke", "seeds=[0,1]"]


def planned(*names: str) -> Call:
    return tables.report([tables.load(name) for name in names or TOYS], OVERRIDES, online=False)


def losing(report: Call, stage: str, words: str) -> Outcome:
    """The outcome of a plan in which one call failed, and all that needs it was not run."""
    calls = ordered([report])
    bad = next(call for call in calls if call.stage.name == stage and words in call.label)
    lost = {call.key for call in calls if bad in ordered([call])}
    made = {call.key: Artifact(Path(), {}) for call in calls if call.key not in lost}
    return Outcome(made, len(made), {bad.key: Failure(stage, bad.label, ": found 0 rows")}, len(lost) - 1)


def written(call: Call, house: Path, out: Path) -> Path:
    inputs = {name: artifact(each, house, place) for place, (name, each) in enumerate(call.inputs.items())}
    out.mkdir()
    partial_report(call.params, Runtime(house), inputs, out)
    return out


def test_a_row_with_a_failed_seed_is_shown_as_failed_with_its_reason(house: Path, tmp_path: Path) -> None:
    report = planned()
    rest = salvaged(report, losing(report, "train", "drift"))
    assert rest is not None
    out = written(rest, house, tmp_path / "out")
    lines = list(csv.reader((out / "tables" / "toy.csv").open()))
    assert [line[0] for line in lines] == ["row", "SFT", "Theirs", "DRIFT"]
    assert lines[-1] == ["DRIFT", "failed", "failed"]
    page = (out / "report.md").read_text()
    assert "**This report is not whole.**" in page
    assert "| toy | DRIFT | 0 | stage train (" in page
    assert "found 0 rows |" in page
    assert "What distance costs" in page  # other tables are as they were


def test_what_is_compared_with_a_failed_row_stands_without_a_difference(house: Path, tmp_path: Path) -> None:
    report = planned("toy", "toy_distance")
    rest = salvaged(report, losing(report, "train", "sft"))
    assert rest is not None
    page = (written(rest, house, tmp_path / "out") / "report.md").read_text()
    assert "Differences from *MLLM*" not in page.partition("## A toy table")[2].partition("## D")[0]
    assert "| DRIFT (control) | 40.0" in page


def test_a_table_of_which_no_row_was_made_is_told_and_an_empty_report_is_none(house: Path, tmp_path: Path) -> None:
    report = planned("toy_cost", "toy_settings")
    rest = salvaged(report, losing(report, "train", "sft"))
    assert rest is not None
    out = written(rest, house, tmp_path / "out")
    assert (out / "tables" / "toy_cost.csv").read_text() == "row,steps,seconds\nSFT,failed,failed\n"
    report = planned("toy_cost")
    assert salvaged(report, losing(report, "train", "sft")) is None
    assert salvaged(report, Outcome({}, 0)) is None


def test_a_partial_report_never_takes_the_place_of_a_whole_one(
    house: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    class Fake:
        def attempt(self, targets: list[Call]) -> Outcome:
            return losing(targets[0], "train", "sft")

        def execute(self, targets: list[Call]) -> Outcome:
            assert targets[0].stage is stages.PARTIAL
            (tmp_path / "made" / "tables").mkdir(parents=True)
            (tmp_path / "made" / "report.md").write_text("in part")
            made = Artifact(tmp_path / "made", {"files": {"report.md": {}}, "fingerprint": "f"})
            return Outcome({targets[0].key: made}, 1)

    whole = tmp_path / "results"
    whole.mkdir()
    (whole / "report.md").write_text("whole")
    monkeypatch.setattr(reproduce, "scheduler", lambda config: Fake())
    words = [f"--table={name}" for name in ("toy", "toy_settings")]
    assert reproduce.main([*words, *OVERRIDES, f"store={tmp_path / 'store'}", f"results={whole}"]) == 2
    assert "found 0 rows" in capsys.readouterr().err
    assert (whole / "report.md").read_text() == "whole"
    assert (tmp_path / "results+partial" / "report.md").read_text() == "in part"


def test_something_failed_and_nothing_can_be_shown(house: Path) -> None:
    outcome = losing(planned("toy_cost"), "train", "sft")
    with pytest.raises(StageError, match=r"(?s)found 0 rows.*more need what failed"):
        outcome.check()
