"""Figures are functions of numbers: the same give the same bytes, and every series can be told apart."""

from pathlib import Path

import pandas

from pipelines import tables
from pipelines.report import forest, trained_figures
from pipelines.report.findings import Finding
from pipelines.report.style import COLOURS, LINES, MARKERS, look, styled

ALPHAS = (-0.01, -0.03, -0.1, -0.3, -0.6, -1.0)


def sweep(scale: str, prior: str, alphas: tuple[float, ...]) -> list[tuple[str, int, str, float, str, float, float]]:
    return [
        (f"{prior} {alpha}", run, scale, alpha, prior, abs(alpha), 50 + 10 * abs(alpha) + run)
        for alpha in alphas
        for run in (0, 1)
    ]


def frame(*lines: tuple[str, int, str, float, str, float, float]) -> pandas.DataFrame:
    return pandas.DataFrame(lines, columns=["row", "run", "scale", "alpha", "prior", "w_eff", "accuracy"])


def test_a_sweep_of_alpha_is_drawn_with_its_numbers_and_twice_the_same(tmp_path: Path) -> None:
    rows = frame(*sweep("adaptive", "direct", ALPHAS), *sweep("adaptive", "random", ALPHAS))
    plain = frame(("SFT", 0, "none", -1.0, "direct", 0.0, 50.0))
    written = []
    for name in ("first", "second"):
        with styled():
            figure = trained_figures.alpha_sensitivity(rows, plain, tmp_path / name)
        written.append([(tmp_path / f"{name}.{kind}").read_bytes() for kind in ("svg", "pdf", "png", "csv")])
    assert written[0] == written[1]
    svg = written[0][0].decode()
    assert all(text in svg for text in ("|alpha|", "w_eff", "direct", "random", "no injection"))
    assert figure.title.startswith("How sensitive adaptive injection is to alpha")
    assert len(pandas.read_csv(tmp_path / "first.csv")) == 2 * 2 * len(ALPHAS)


def test_accuracy_against_w_eff_has_a_series_for_each_scaling_and_control(tmp_path: Path) -> None:
    data = frame(*sweep("adaptive", "direct", ALPHAS), *sweep("gradnorm", "reversed", ALPHAS))
    with styled():
        trained_figures.against_w_eff(data, tmp_path / "w_eff")
    svg = (tmp_path / "w_eff.svg").read_text()
    assert "adaptive" in svg
    assert "gradnorm, reversed prior" in svg


def test_accuracy_is_drawn_against_size_where_there_are_two_and_each_series_is_a_line(tmp_path: Path) -> None:
    lines = [
        (f"{series}, {size}", series, run, size, size / 100, 40 + size / 20 + run)
        for series in ("SFT", "DRIFT")
        for size in (300, 150, 600)
        for run in (0, 1)
    ]
    data = pandas.DataFrame(lines, columns=["row", "series", "run", "examples", "cpu_seconds", "accuracy"])
    data["suites"] = 5
    with styled():
        (both,) = trained_figures.accuracy_for(data, tmp_path / "both")
        (cost,) = trained_figures.accuracy_for(data[data["examples"] == 600], tmp_path / "cost")
        assert trained_figures.accuracy_for(data[:0], tmp_path / "none") == []
    svg = (tmp_path / "both.svg").read_text()
    assert all(text in svg for text in ("training examples", "CPU seconds of the training", "SFT", "DRIFT"))
    assert "150" not in svg  # a line is called by its series
    assert both.title.startswith("Accuracy against training examples and CPU seconds")
    assert cost.title.startswith("Accuracy against CPU seconds")
    assert "training examples" not in (tmp_path / "cost.svg").read_text()


def test_figure_1_has_two_methods_at_three_sizes_each_against_its_own() -> None:
    table = tables.load("figure1")
    by_series = [row.series for row in table.rows if row.series]
    assert [by_series.count(name) for name in ("SFT", "DRIFT, alpha = -0.3")] == [3, 3]
    for label, other in table.pairings.items():
        assert label.partition(", ")[2].endswith(other.removeprefix("SFT, "))


def test_series_differ_in_more_than_their_colour() -> None:
    assert len(set(COLOURS)) == len(set(MARKERS)) == len(set(LINES)) == 8
    assert look(0) != look(1)


def test_the_forest_goes_from_the_best_row_to_the_worst_and_a_row_under_two_names_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    values = {"SFT": (50, 52), "Good": (58, 61), "Again": (58, 61), "Bad": (40, 43)}
    lines = [f"t,{row},A,{run},{value},m" for row, pair in values.items() for run, value in enumerate(pair)]
    (tmp_path / "tables" / "t_values.csv").write_text("\n".join(["table,row,benchmark,run,value,fingerprint", *lines]))
    long = [f"t,{row},A,{sum(pair) / 2},200,worlds" for row, pair in values.items()]
    (tmp_path / "tables" / "t_long.csv").write_text("\n".join(["table,row,benchmark,value,n,varies", *long]))
    asked = Finding("Good helps", "t", "Good", "SFT", "mean", 8.5, 2.1, 14.9, "holds", 2, 400)
    found = forest.forest(tmp_path, [asked])
    assert found is not None
    assert [(line.label, line.effect, line.tone) for line in found.lines] == [
        ("Good", 8.5, "gain"),
        ("Bad", -9.5, "open"),  # its interval leaves zero out as well, and nobody tested it
    ]
    assert found.at(0) == found.at(0.0)
    assert 0 <= found.at(found.lines[1].low) < found.at(0) < found.at(8.5) <= 100
    with styled():
        forest.draw(found, tmp_path / "headline")
    assert "Each method minus SFT" in (tmp_path / "headline.svg").read_text()


def test_claims_that_no_table_answers_are_drawn_themselves(tmp_path: Path) -> None:
    claim = Finding("One claim", "elsewhere", "a", "b", "mean", 1.0, -1.0, 3.0, "unresolved", 5, 500)
    found = forest.forest(tmp_path, [claim])
    assert found is not None
    assert [line.label for line in found.lines] == ["One claim"]
    assert forest.forest(tmp_path, []) is None
