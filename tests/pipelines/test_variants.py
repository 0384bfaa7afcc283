"""A report under overrides is a variant with a place of its own; rows keep their names, and columns are known."""

from dataclasses import replace
from typing import Any

import pytest

from pipelines import tables
from pipelines.errors import ConfigError
from pipelines.report.page import page
from pipelines.stage import Call


def training_of(call: Call, label: str) -> Any:
    """The training of a row in a planned report."""
    cell = next(c for c in call.params.cells if c.row == label)
    return call.inputs[cell.artifacts["checkpoint"]]


def test_a_row_s_own_word_wins_over_the_command_s() -> None:
    asked, folder = tables.as_asked([tables.load("table3")], ["prior=shuffled", "train.epochs=5"], online=False)
    kinds = {
        label: training_of(asked, label).inputs["prior"].params.prior.kind
        for label in ("DRIFT, alpha = -1", "Reversed prior, DRIFT's alpha")
    }
    assert kinds == {"DRIFT, alpha = -1": "shuffled", "Reversed prior, DRIFT's alpha": "reversed"}
    assert training_of(asked, "DRIFT, alpha = -1").params.training.epochs == 5
    assert folder == "+prior=shuffled+train.epochs=5"


@pytest.mark.parametrize("word", ["method=ties", "merge.variant=paper"])
def test_a_word_that_touches_no_row_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match=f"{word} would change nothing here: every row says it itself"):
        tables.as_asked([tables.load("table3")], [word], online=False)


def test_only_the_canonical_command_writes_the_canonical_results() -> None:
    table3 = tables.load("table3")
    for same in ([], ["profile=lab"], ["tracker=disabled", "launcher.workers=1"], ["seeds=[0,1,2]"]):
        call, folder = tables.as_asked([table3], same, online=False)
        assert (folder, call.params.variant) == ("", ())
    call, folder = tables.as_asked([table3], ["seeds=[0]", "store=/tmp/x"], online=False)
    assert (folder, call.params.variant) == ("+seeds=[0]", ("seeds=[0]",))
    assert tables.as_asked([table3], ["seeds=[0]", "results=/tmp/mine"], online=False)[1] == ""


def test_tables_that_no_bare_command_makes_are_a_report_of_their_own() -> None:
    table13, crossed = tables.load("table13"), tables.load("crossed")
    assert tables.apart([table13, crossed]) == "+table13+crossed"
    assert tables.apart([table13, tables.load("table3")]) == ""


def test_a_variant_says_so_on_its_first_line() -> None:
    text = page("lab", ("seeds=[0]",), (0,), [])
    assert text.startswith("# DRIFT, reproduced: profile `lab`, a variant\n\n**Made with `seeds=[0]`**")


def test_a_column_that_the_suite_lacks_is_refused_before_anything_runs() -> None:
    toy = replace(tables.load("table3"), columns=("MathVista", "MathVizion"))
    with pytest.raises(ConfigError, match="suite lab_math has no 'MathVizion'; did you mean 'MathVision'"):
        tables.report([toy], [], online=False)


def test_two_long_variants_never_share_a_folder() -> None:
    words = [f"injection.group_alpha.{group}=-0.123456" for group in ("attn", "mlp", "norm", "lm_head")]
    table3 = tables.load("table3")
    folders = {tables.as_asked([table3], [*words, f"seeds=[{seed}]"], online=False)[1] for seed in (1, 2)}
    assert len(folders) == 2
    assert all(len(folder) < 200 for folder in folders)
