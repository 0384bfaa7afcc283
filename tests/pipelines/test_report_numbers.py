"""A table's numbers follow by hand from the scores, and no paper value can land beside the wrong row."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drift.errors import DataError
from evaluation.judging.summary import Metric, Score
from evaluation.statistics import Interval
from pipelines import tables
from pipelines.report import differences as outcomes_of
from pipelines.report.differences import Difference, contrasts, differences
from pipelines.report.geometry_figures import slopes
from pipelines.report.kinds import KINDS
from pipelines.report.numbers import Evidence, column_value, paper_entry, published_rows
from pipelines.report.outcomes import Outcomes
from pipelines.report.page import Section, page
from pipelines.report.render import cell_text, difference_text, long_frame, value_frame, wide_frame
from pipelines.report.sources import Run, Source
from pipelines.report.spec import Cell, Row, Table
from pipelines.report.summaries import ends
from pipelines.scored import Scored

PUBLISHED = "# a note\nmethod,version,MathVista,WeMath_strict,Avg\nSFT,v1+v2,60.0,30.0,45.0\nDRIFT,v2,62.0,33.0,47.5\n"
TABLE = Table(
    name="t",
    title="T",
    published="t.csv",
    columns=("MathVista", "WeMath_strict", "Avg"),
    rows=(
        Row("SFT", ("method=sft",), {"method": "SFT"}),
        Row("DRIFT", ("method=drift",), {"method": "DRIFT", "version": "v2"}),
        Row("Other", (), {"method": "SFT"}, "quoted"),
    ),
    against="SFT",
)


def source(vista: float, strict: float, mark: str) -> Source:
    def scored(headline: str, **metrics: Metric) -> Scored:
        return Scored(Score("b", "1", "official", headline, 100, 0, 0, 0, 0, 0, metrics), {}, 0)

    scores = {
        "MathVista": scored("accuracy", accuracy=Metric(vista, vista - 9, vista + 9)),
        "WeMath": scored("strict", strict=Metric(strict, 1.0, 2.0), loose=Metric(strict + 5)),
    }
    return Source(Path("x"), {"fingerprint": mark * 64, "params": {"judge": {"name": "rules"}}}, scores)


def world(seed: int) -> Source:
    """The tables that a lab world drew."""
    return Source(Path("x"), {"fingerprint": f"w{seed}", "params": {"world": {"seed": seed}}}, {})


@pytest.fixture(autouse=True)
def questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred questions behind each score, which all say what the score does: nothing but worlds varies."""

    def asked(run: Run, column: str) -> Outcomes:
        names = [str(k) for k in range(100)]
        share = column_value(run.score.scores, column, ()) / 100
        return Outcomes(dict.fromkeys(names, share), dict(zip(names, names, strict=True)))

    monkeypatch.setattr(outcomes_of, "outcomes", asked)


SOURCES = {"s0": source(50, 20, "a"), "s1": source(54, 24, "b"), "d0": source(55, 21, "c"), "d1": source(61, 27, "d")}
SOURCES |= {f"w{seed}": world(seed) for seed in (0, 1)}
CELLS = [
    Cell("t", "SFT", 0, {"score": "s0", "items": "w0", "checkpoint": "c"}),
    Cell("t", "SFT", 1, {"score": "s1", "items": "w1", "checkpoint": "c"}),
    Cell("t", "DRIFT", 0, {"score": "d0", "items": "w0", "checkpoint": "c"}),
    Cell("t", "DRIFT", 1, {"score": "d1", "items": "w1", "checkpoint": "c"}),
]
EVIDENCE = Evidence(TABLE, CELLS, SOURCES, PUBLISHED)


def only(*cells: Cell) -> Evidence:
    return replace(EVIDENCE, cells=cells)


def test_a_cell_is_the_mean_over_worlds_with_students_interval_of_its_log_odds() -> None:
    number = EVIDENCE.scores()["SFT"][0]
    half = 12.706204736 * math.sqrt(8) / math.sqrt(2) / 100 / (0.52 * 0.48)
    assert (number.value, number.n, number.paper) == (52, 200, 60.0)
    assert number.std == pytest.approx(math.sqrt(8))
    ends = [100 / (1 + math.exp(-(math.log(52 / 48) + side * half))) for side in (-1, 1)]
    assert [number.low, number.high] == pytest.approx(ends)
    assert cell_text(number) == "52.0 ± 2.8 [60.0]"


def test_one_seed_has_the_benchmarks_own_interval_and_no_spread() -> None:
    vista, strict, average = only(*CELLS[:1]).scores()["SFT"]
    assert (vista.std, vista.low, vista.high) == (None, 41, 59)
    assert (strict.low, strict.high) == (1.0, 2.0)
    assert (average.low, average.high) == (None, None)


def test_the_average_is_the_plain_mean_of_the_other_columns() -> None:
    assert column_value(SOURCES["s0"].scores, "Avg", TABLE.columns) == 35.0
    assert column_value(SOURCES["s0"].scores, "WeMath", TABLE.columns) == 20
    assert column_value(SOURCES["s0"].scores, "WeMath_loose", TABLE.columns) == 25


def test_differences_are_paired_by_seed_and_computed_for_the_paper_too() -> None:
    gain = differences(EVIDENCE, EVIDENCE.scores())["DRIFT"][0]
    assert gain.interval.mean == pytest.approx(6.0)
    assert gain.interval.high - 6.0 == pytest.approx(12.706204736 * 1.0)
    assert gain.paper == 2.0


def test_a_table_describes_and_carries_no_stars() -> None:
    gain = Difference("MathVista", "SFT", Interval(6.0, 5.0, 7.0, 3, 1e-6), None, "worlds", 3)
    assert difference_text(gain) == "+6.0 (+5.0, +7.0)"


def test_rows_with_other_seeds_are_not_compared() -> None:
    with pytest.raises(DataError, match="'DRIFT' has 1 seeds, 'SFT' has 2"):
        differences(fewer := only(*CELLS[:3]), fewer.scores())


def test_a_filter_that_fits_two_published_rows_is_refused() -> None:
    rows = published_rows(PUBLISHED)
    with pytest.raises(DataError, match="fits 0 published rows"):
        paper_entry(Row("x", (), {"method": "SFTT"}), rows, "t")
    with pytest.raises(DataError, match="fits 2 published rows"):
        paper_entry(Row("x", (), {"version": "v"}), rows, "t")


@pytest.mark.parametrize("name", tables.names())
def test_curves_are_drawn_of_rows_that_are_run(name: str) -> None:
    table = tables.load(name)
    run = {row.label for row in table.rows if row.overrides}
    assert set(table.curves) <= run


@pytest.mark.parametrize("name", tables.names())
def test_every_row_stands_beside_one_published_row_or_none(name: str) -> None:
    table = tables.load(name)
    rows = published_rows((tables.PUBLISHED / table.published).read_text()) if table.published else []
    for row in table.rows:
        entry = paper_entry(row, rows, name)
        assert bool(entry) == bool(row.paper)
        if row.role != "control" and table.kind == "scores" and table.published:
            assert any(entry.get(column) for column in table.columns)


def test_a_published_line_per_benchmark_becomes_a_row_per_state() -> None:
    text = "model,expert,benchmark,base,merged\nA,E,MathVista,37.4,38.2\nA,E,MathVerse,16.0,17.4\n"
    assert published_rows(text) == [
        {"model": "A", "expert": "E", "state": "base", "MathVista": "37.4", "MathVerse": "16.0"},
        {"model": "A", "expert": "E", "state": "merged", "MathVista": "38.2", "MathVerse": "17.4"},
    ]


def test_a_row_may_be_compared_with_a_row_of_its_own() -> None:
    rows = (TABLE.rows[0], replace(TABLE.rows[1], against="SFT"), TABLE.rows[2])
    table = replace(TABLE, rows=rows, against="")
    assert table.pairings == {"DRIFT": "SFT"}
    evidence = replace(EVIDENCE, table=table)
    assert list(differences(evidence, evidence.scores())) == ["DRIFT"]
    alone = replace(evidence, cells=CELLS[2:])
    with pytest.raises(DataError, match="'DRIFT' is compared with 'SFT', which was not run"):
        differences(alone, alone.scores())


def test_distances_are_means_over_worlds_and_not_percent() -> None:
    values = [{"l2": 4.0, "cosine": 0.90, "n": 10}, {"l2": 6.0, "cosine": 0.94, "n": 10}]
    found = {f"g{n}": Source(Path("x"), {"fingerprint": str(n), "values": v}, {}) for n, v in enumerate(values)}
    table = Table("g", "G", ("l2", "cosine"), (Row("pair", ("pair=x",)),), kind="geometry")
    cells = [Cell("g", "pair", seed, {"geometry": f"g{seed}"}) for seed in (0, 1)]
    evidence, kind = Evidence(table, cells, found), KINDS["geometry"]
    numbers = kind.numbers(evidence)
    assert [(n.value, n.n) for n in numbers["pair"]] == [(5.0, 20), (pytest.approx(0.92), 20)]
    assert list(kind.wide(evidence, numbers).iloc[0]) == ["pair", "5.000 ± 1.414", "0.920 ± 0.028"]


def test_the_slope_is_points_per_tenth_of_distance_in_each_world() -> None:
    rows = (
        Row("MLLM", ("a",)),
        *(Row(label, ("a",), against="MLLM", series="s") for label in ("near", "far")),
    )
    table = Table("d", "D", ("MathVista",), rows, kind="distance")
    scores = {"MLLM": (50, 60), "near": (48, 60), "far": (42, 50)}
    found = {f"{row}{n}": source(v, 0, f"{row}{n}") for row, both in scores.items() for n, v in enumerate(both)}
    found |= {f"w{seed}": world(seed) for seed in (0, 1)}
    cells = [Cell("d", row, n, {"score": f"{row}{n}", "items": f"w{n}"}) for row in scores for n in (0, 1)]
    distances = {"MLLM": 0.3, "near": 0.3, "far": 0.5}
    pairs = {label: [Source(Path("x"), {"values": {"relative_l2": d}}, {})] * 2 for label, d in distances.items()}
    line = slopes(table, pairs, Evidence(table, cells, found).scores()).iloc[0]
    assert list(line)[:3] == ["s", 2, 2]
    assert line.iloc[3].startswith("-4.0 (")  # -3 in one world, -5 in the other


def test_the_long_table_has_the_columns_of_its_contract() -> None:
    frame = long_frame(TABLE, EVIDENCE.scores())
    counted = ["n", "seeds", "ci_low", "ci_high", "paper_value", "fingerprint", "varies", "unmatched", "cut"]
    assert list(frame.columns) == ["table", "row", "benchmark", "value", "std", *counted]
    first = frame.iloc[0]
    assert (first["value"], first["seeds"], first["fingerprint"]) == (52, 2, "a" * 20 + "+" + "b" * 20)


def test_every_value_that_a_number_is_the_mean_of_has_a_line() -> None:
    frame = value_frame(TABLE, EVIDENCE.scores())
    mine = frame[(frame["row"] == "SFT") & (frame["benchmark"] == "MathVista")]
    assert list(mine["value"]) == [50.0, 54.0]
    assert len(frame) == 2 * 2 * 3


def test_a_quoted_row_has_the_papers_numbers_in_brackets_and_none_of_ours() -> None:
    frame = wide_frame(EVIDENCE, EVIDENCE.scores())
    assert list(frame.iloc[2])[1:] == ["[60.0]", "[30.0]", "[45.0]"]


def text(profile: str, cells: list[Cell]) -> str:
    evidence = only(*cells)
    numbers = evidence.scores()
    section = Section(TABLE, wide_frame(evidence, numbers), numbers, differences(evidence, numbers))
    return page(profile, (), (0, 1), [section])


def test_the_page_says_first_that_the_world_is_small_and_what_can_not_be_told_apart() -> None:
    shown = text("lab", CELLS)
    assert "This is a small world" in shown.split("\n\n")[1]
    assert "Not told apart from *SFT* (interval includes 0): DRIFT (all columns)." in shown


def test_with_one_world_the_page_claims_no_difference() -> None:
    assert "One world: no difference between rows can be claimed" in text("lab", [CELLS[0], CELLS[2]])


def test_a_repeat_says_how_many_numbers_moved_and_where_the_most() -> None:
    from pipelines.report.publish import compare, describe

    def report(*values: float) -> dict[tuple[str, ...], float]:
        return {("t", "SFT", f"b{place}"): value for place, value in enumerate(values)}

    assert describe(compare(report(1, 2, 3), report(1, 2, 3))) == "all 3 numbers equal those that were there"
    moved = describe(compare(report(1, 2, 3), report(1, 2.5, 1)))
    assert moved == "2 of 3 numbers differ from those that were there, by 2.00 at most (t / SFT / b2)"
    assert "no earlier results" in describe(compare(report(), report(1)))


def test_a_cost_is_read_from_the_trainings_manifest_beside_the_papers_words() -> None:
    published = "method,sft,estimated_time\nDRIFT,yes,about 2 hours\nOther,yes,>1 day\n"
    rows = (Row("DRIFT", ("method=drift",), {"method": "DRIFT"}), Row("Other", (), {"method": "Other"}, "quoted"))
    table = Table("c", "C", ("steps", "seconds", "sft", "estimated_time"), rows, kind="cost")
    sources = {
        f"m{seed}": Source(
            Path("x"),
            {
                "fingerprint": str(seed) * 64,
                "seconds": 10.0 + seed,
                "values": {"steps": 300, "examples": 600, "seconds": 9.0},
            },
            {},
        )
        for seed in (0, 2)
    }
    cells = [Cell("c", "DRIFT", seed, {"checkpoint": f"m{seed}"}) for seed in (0, 2)]
    evidence, kind = Evidence(table, cells, sources, published), KINDS["cost"]
    numbers = kind.numbers(evidence)
    assert [(n.column, n.value, n.n) for n in numbers["DRIFT"]] == [("steps", 300, 1200), ("seconds", 11, 1200)]
    shown = kind.wide(evidence, numbers).values.tolist()
    assert shown == [
        ["DRIFT", "300.0 ± 0.0", "11.0 ± 1.4", "[yes]", "[about 2 hours]"],
        ["Other", "–", "–", "[yes]", "[>1 day]"],
    ]


def test_a_repeat_is_not_judged_by_its_times(tmp_path: Path) -> None:
    from pipelines.report.publish import _numbers

    (tmp_path / "tables").mkdir()
    lines = ["table,row,benchmark,value", "t8,SFT,steps,300", "t8,SFT,seconds,9.9", "t8,SFT,cpu_seconds,9.8"]
    (tmp_path / "tables" / "t8_long.csv").write_text("\n".join(lines) + "\n")
    assert _numbers(tmp_path) == {("t8", "SFT", "steps"): 300.0}


def test_a_smoke_report_can_not_be_mistaken_for_a_result() -> None:
    assert "smoke test, not a result" in text("smoke", CELLS).split("\n\n")[1]


def test_a_value_that_was_tried_on_one_side_only_is_an_end() -> None:
    def choice(chosen: Any, *tried: Any) -> dict[str, Any]:
        return {"chosen": chosen, "validation": [{"value": value, "validation": 1.0} for value in tried]}

    assert ends(choice(-0.3, -0.1, -0.3, -1.0)) == []
    assert ends(choice(-1.0, -0.1, -0.3, -1.0)) == ["alpha"]
    assert ends(choice(-1.0, -1.0)) == []  # nothing else was tried
    grid = [{"weight": w, "density": d, "rescale": "none"} for w in (1.0, 1.6, 1.8) for d in (0.2, 0.5)]
    assert ends(choice(grid[3], *grid)) == ["density"]


def test_a_run_that_merged_first_lies_along_delta_as_far_as_the_merge_and_its_training_together() -> None:
    """As far as weights of 0.3 and 0.7 go, and 0.05 more; of a TIES merge nobody knows how far it went."""
    linear = {"hyperparameters": {"weight_mllm": 0.3, "weight_expert": 0.7}}
    manifests = {
        "sft": {"stage": "train", "values": {"w_eff": 0.05}},
        "linear": {"stage": "merge", "values": linear},
        "ties": {"stage": "merge", "values": {"hyperparameters": {"density": 0.2}}},
        "mllm": {"stage": "model", "values": {}},
    }
    rows = {"SFT": {"checkpoint": "sft"}, "merge, SFT": {"checkpoint": "sft", "start": "linear"}}
    rows |= {"merge": {"checkpoint": "linear"}, "TIES, SFT": {"checkpoint": "sft", "start": "ties"}}
    rows |= {"MLLM": {"checkpoint": "mllm"}}
    cells = [Cell("t", label, 0, artifacts) for label, artifacts in rows.items()]
    sources = {name: Source(Path(name), manifest, {}) for name, manifest in manifests.items()}
    found = Evidence(Table("t", "T", (), ()), cells, sources).w_eff()
    assert found == {"SFT": [0.05], "merge, SFT": [0.75], "merge": [0.7], "TIES, SFT": [None], "MLLM": [None]}


def test_rows_are_contrasted_on_average_where_both_were_run_alike() -> None:
    found = contrasts(EVIDENCE, [("DRIFT", "SFT"), ("DRIFT", "Other")])
    ((each,),) = found.values()
    average = differences(EVIDENCE, EVIDENCE.scores())["DRIFT"][-1]
    assert (each.column, each.against, each.interval) == ("Avg", "SFT", average.interval)
    assert contrasts(only(*CELLS[:3]), [("DRIFT", "SFT")]) == {}
