"""What varies between a row's artifacts decides its uncertainty; what is repeated counts once."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drift.files import write_jsonl
from evaluation.benchmarks import get_benchmark
from evaluation.data.splits import contents
from evaluation.data.tsv import load_items, write_rows
from evaluation.judging.scoring import summarise
from evaluation.judging.verdicts import Verdict
from evaluation.statistics import mcnemar_exact, wilson
from pipelines.report.differences import Difference, differences
from pipelines.report.numbers import Evidence
from pipelines.report.page import Section, appendix, page
from pipelines.report.render import wide_frame
from pipelines.report.sources import Source
from pipelines.report.spec import Cell, Row, Table
from pipelines.report.summaries import on_all_items
from pipelines.scored import Scored, read_scores, write_scores

ITEMS = 200
NAMES = {"MathVista": "LogicVista", "WeMath": "WeMath"}  # column -> a benchmark whose rows are short
Sheet = Sequence[bool]


@pytest.fixture
def tables(tmp_path: Path) -> Source:
    """Published tables: single items, and We-Math's groups of three."""
    folder = tmp_path / "benchmarks"
    rows = [{"index": str(k), "question": str(k), "answer": "A"} for k in range(ITEMS)]
    write_rows(folder / "LogicVista.tsv", rows)
    keys = ("2steps_1", "2steps_2", "2steps_multi")
    grouped = [row | {"ID": f"g{k // 3}", "key": keys[k % 3]} for k, row in enumerate(rows[:36])]
    write_rows(folder / "WeMath.tsv", grouped)
    (folder / "questions.json").write_text(json.dumps({"LogicVista": [["0", "1"]], "WeMath": []}))
    return Source(folder, {"fingerprint": "tables", "params": {"world": None, "names": list(NAMES.values())}}, {})


def scored(tables: Source, name: str, right: Sheet, judge: str = "rules", unmatched: int = 0) -> Source:
    """A score whose items came out right or wrong as `right` says; the last wrong ones were not read."""
    folder, scores = tables.path.parent / name, {}
    for column, benchmark in ((column, get_benchmark(name)) for column, name in NAMES.items()):
        items = load_items(tables.path / benchmark.tsv, benchmark)
        read = ["A"] * (len(items) - unmatched) + [None] * unmatched
        verdicts = [
            Verdict(i.index, bool(r), e, "rule", group=i.group, unmatched=e is None)
            for i, r, e in zip(items, right, read, strict=False)
        ]
        write_jsonl(folder / f"{benchmark.name}.verdicts.jsonl", map(vars, verdicts))
        scores[column] = Scored(summarise(benchmark, items, verdicts), {}, 0)
    write_scores(folder, scores)
    manifest = {"fingerprint": name * 10, "params": {"benchmarks": NAMES, "judge": {"name": judge}}}
    return Source(folder, manifest, read_scores(folder))


def sheet(seed: int, share: float) -> list[bool]:
    return [bool(x) for x in np.random.default_rng(seed).random(ITEMS) < share]


def evidence(
    tables: Source, rows: dict[str, Sequence[Source]], rules: dict[str, Sequence[Source]] | None = None
) -> Evidence:
    labels, columns = list(rows), ("MathVista", "WeMath_loose", "Avg")
    table = Table("t", "T", columns, tuple(Row(label, ("x",)) for label in labels), against=labels[0])
    sources, cells = {"i": tables}, []
    for label, found in rows.items():
        for seed, source in enumerate(found):
            artifacts = {"score": f"s-{source.path.name}", "items": "i"}
            sources[artifacts["score"]] = source
            if rules:
                artifacts["rules"] = f"r-{source.path.name}"
                sources[artifacts["rules"]] = rules[label][seed]
            cells.append(Cell("t", label, seed, artifacts))
    return Evidence(table, cells, sources)


def gains(found: Evidence) -> dict[str, list[Difference]]:
    return differences(found, found.scores())


def text(found: Evidence) -> str:
    import pandas

    numbers = found.scores()
    section = Section(found.table, wide_frame(found, numbers), numbers, differences(found, numbers), twins=found.twins)
    return page("paper", (), (0, 1, 2), [section]) + appendix([section], pandas.DataFrame(), [])


def test_one_artifact_in_three_seeds_is_one_sample_with_mcnemars_test_and_the_questions_interval(
    tables: Source,
) -> None:
    base, merge = scored(tables, "base", sheet(0, 0.4)), scored(tables, "merge", sheet(1, 0.5))
    found = evidence(tables, {"MLLM": [base] * 3, "Merge": [merge] * 3})
    number = found.scores()["Merge"][0]
    assert (len(number.values), number.std, number.n, number.varies) == (1, None, ITEMS, "questions")
    right = sum(sheet(1, 0.5))
    assert (number.low, number.high) == pytest.approx([100 * end for end in wilson(right, ITEMS)], abs=0.7)
    vista, loose, average = gains(found)["Merge"]
    assert vista.pairs == 1
    assert vista.interval.low < vista.interval.mean < vista.interval.high
    assert vista.interval.mean == pytest.approx(
        merge.scores["MathVista"].score.value - base.scores["MathVista"].score.value
    )
    assert average.interval.mean == pytest.approx((vista.interval.mean + loose.interval.mean) / 2)
    assert all(d.interval.p_value for d in (vista, loose, average))


def test_mcnemars_test_is_exact_where_every_question_is_one_item_and_clustered_where_not(tables: Source) -> None:
    first, second = sheet(0, 0.4), sheet(1, 0.5)
    found = evidence(tables, {"MLLM": [scored(tables, "base", first)], "Merge": [scored(tables, "merge", second)]})
    exact = mcnemar_exact(first, second).p_value
    assert gains(found)["Merge"][0].interval.p_value not in (None, exact)  # items 0 and 1 are one question
    (tables.path / "questions.json").write_text('{"LogicVista": [], "WeMath": []}')
    from pipelines.report import outcomes

    outcomes._outcomes.cache_clear()
    assert gains(found)["Merge"][0].interval.p_value == exact


def test_a_trained_row_varies_over_runs_and_questions(tables: Source) -> None:
    base = scored(tables, "base", sheet(0, 0.4))
    runs = [scored(tables, f"sft{seed}", sheet(seed + 1, share)) for seed, share in enumerate((0.35, 0.5, 0.65))]
    found = evidence(tables, {"MLLM": [base] * 3, "SFT": runs})
    (trained, *_), (alone, *_) = gains(found)["SFT"], gains(evidence(tables, {"MLLM": [base], "SFT": runs[1:2]}))["SFT"]
    assert (trained.varies, trained.pairs, alone.varies) == ("runs", 3, "questions")
    assert trained.interval.high - trained.interval.low > alone.interval.high - alone.interval.low
    number = found.scores()["SFT"][0]
    assert 0 < number.low < number.value < number.high < 100
    assert len(number.values) == 3


def test_rows_of_the_same_artifacts_are_one_row_with_two_names_and_are_not_tested(tables: Source) -> None:
    base, run = scored(tables, "base", sheet(0, 0.4)), scored(tables, "run", sheet(1, 0.5))
    found = evidence(tables, {"MLLM": [base] * 3, "Fixed": [run] * 3, "Chosen": [run] * 3, "Again": [base] * 3})
    assert found.twins == {"Chosen": "Fixed", "Again": "MLLM"}
    assert list(gains(found)) == ["Fixed"]
    assert list(wide_frame(found, found.scores())["row"]) == ["MLLM = Again", "Fixed = Chosen"]
    assert "The same artifacts, so one row with two names: Chosen is Fixed; Again is MLLM." in text(found)


def test_the_page_says_that_a_seed_is_a_world_only_where_it_is(tables: Source) -> None:
    base, run = scored(tables, "base", sheet(0, 0.4)), scored(tables, "run", sheet(1, 0.5))
    trained = [scored(tables, f"sft{seed}", sheet(seed + 2, 0.5)) for seed in range(3)]
    shown = text(evidence(tables, {"MLLM": [base] * 3, "Merge": [run] * 3, "SFT": trained}))
    assert "world" not in shown.split("## T")[0]
    assert "What was made once, whatever the seeds, is one sample" in shown
    assert "Made 1 time: MLLM, Merge; made 3 times: SFT." in shown


def test_answers_that_no_rule_reads_bound_the_score_from_above(tables: Source) -> None:
    found = evidence(tables, {"MLLM": [scored(tables, "base", [True] * 50 + [False] * 150, unmatched=30)]})
    number = found.scores()["MLLM"][0]
    assert (number.value, number.unmatched, number.at_most) == (25.0, 30, 40.0)
    assert wide_frame(found, found.scores()).iloc[0]["MathVista"] == "25.0 (at most 40.0)"


def test_a_gain_that_the_rules_and_the_judge_see_apart_is_unresolved_by_the_scorer(tables: Source) -> None:
    """As between LLaVA-NeXT and its merge: the judge sees a gain, the rules a loss."""
    base = [k < 80 for k in range(ITEMS)]
    judged, read = [k < 90 for k in range(ITEMS)], [k < 76 for k in range(ITEMS)]
    by_judge = {"MLLM": [scored(tables, "base", base, "openai")], "Merge": [scored(tables, "merge", judged, "openai")]}
    by_rules = {"MLLM": [scored(tables, "base-r", base)], "Merge": [scored(tables, "merge-r", read)]}
    found = evidence(tables, by_judge, by_rules)
    vista = gains(found)["Merge"][0]
    assert vista.bias is not None
    assert (vista.interval.mean, vista.bias.mean) == (pytest.approx(5.0), pytest.approx(-7.0))
    assert vista.is_the_scorers
    assert "Unresolved by the scorer (‡): Merge, MathVista" in text(found)
    alike = evidence(tables, by_judge, by_judge)
    assert not gains(alike)["Merge"][0].is_the_scorers


def test_beside_the_test_items_stands_the_table_on_all_with_a_mark_where_a_choice_has_seen_some(tables: Source) -> None:
    run = scored(tables, "run", sheet(1, 0.5))
    found = evidence(tables, {"MLLM": [run], "Tuned": [run]})
    (choice := tables.path.parent / "choose").mkdir()
    items = load_items(tables.path / "LogicVista.tsv", get_benchmark("LogicVista"))
    (choice / "seen.json").write_text(json.dumps(sorted(contents(items[:40]))))
    cells = [replace(cell, artifacts=cell.artifacts | {"all": "s-run", "all_items": "i"}) for cell in found.cells]
    cells[1] = replace(cells[1], artifacts=cells[1].artifacts | {"choice": "c"})
    chosen = Source(choice, {"fingerprint": "c", "label": "alpha"}, {})
    whole = on_all_items(replace(found, cells=cells, sources={**found.sources, "c": chosen}))
    assert whole is not None
    assert list(whole["row"]) == ["MLLM", "Tuned † (40 of 200 seen)"]
    assert on_all_items(found) is None
