"""The spread table says what a change of protocol alone does to a score."""

import csv
import json
from pathlib import Path

import pytest

from drift.errors import DataError
from evaluation.benchmarks import get_benchmark
from evaluation.command_line import ArgumentError, parse
from evaluation.data.tsv import Item, write_rows
from evaluation.judging.judge import JudgeReply
from evaluation.sensitivity import Command, Setting, main, measure, settings_grid, spread

BENCHMARK = get_benchmark("LabMathVista")
ITEMS = [Item(str(i), "list 1 2 . sum ?", "3") for i in range(10)]


def respond(setting: Setting) -> dict[str, str]:
    """All right at 52 tokens, four right at 16; `direct` is right for one."""
    right = {"default": 10 if setting.max_new_tokens == 52 else 4, "direct": 1}[setting.variant]
    return {item.index: r"\boxed{ 3 }" if k < right else "no box" for k, item in enumerate(ITEMS)}


class Lenient:
    """Says yes to everything it is asked."""

    def judge(self, request) -> JudgeReply:
        return JudgeReply(True, model="lenient", extraction="3")


def rows_of(settings: list[Setting]) -> list[dict]:
    return measure(BENCHMARK, ITEMS, settings, respond, lambda s: Lenient() if s.judge == "lenient" else None)


def test_one_axis_at_a_time_and_all_combinations_start_at_the_baseline():
    axes = {"variant": ("a", "b"), "max_new_tokens": (16, 32, 64), "mode": ("official",)}
    one, full = settings_grid(axes), settings_grid(axes, "full")
    assert one[0] == full[0] == Setting(variant="a", max_new_tokens=16)
    assert (len(one), len(full), len(set(full))) == (4, 6, 6)
    with pytest.raises(DataError, match="did you mean 'full'"):
        settings_grid(axes, "ful")


def test_rows_carry_the_paired_difference_from_the_baseline():
    base = Setting(max_new_tokens=52)
    rows = rows_of([base, Setting(max_new_tokens=16), Setting(variant="direct", max_new_tokens=52)])
    assert [row["score"] for row in rows] == [100.0, 40.0, 10.0]
    assert [(row["difference"], row["gained"], row["lost"]) for row in rows] == [
        (0.0, 0, 0),
        (-60.0, 0, 6),
        (-90.0, 0, 9),
    ]
    assert [row["p_value"] for row in rows] == [1.0, 0.0312, 0.00391]  # 2 / 2**6 and 2 / 2**9
    assert [row["unmatched"] for row in rows] == [0, 6, 9]


def test_the_spread_of_an_axis_holds_all_other_axes_at_the_baseline():
    axes = {"variant": ("default", "direct"), "max_new_tokens": (16, 52), "judge": ("rules", "lenient")}
    table = {row["axis"]: row for row in spread(rows_of(settings_grid(axes, "full")))}
    assert {name: row["spread"] for name, row in table.items()} == {
        "variant": 30.0,
        "max_new_tokens": 60.0,
        "judge": 60.0,
        "all settings": 90.0,
    }
    assert (table["judge"]["lowest"], table["judge"]["highest"]) == ("rules: 40.0", "lenient: 100.0")


def write_table(folder: Path) -> Path:
    path = folder / "t.tsv"
    write_rows(path, [{"index": i.index, "question": i.question, "answer": i.answer} for i in ITEMS])
    return path


def test_the_command_scores_stored_responses_and_writes_both_tables(tmp_path):
    thinking = r"<think> \boxed{ 3 } </think> so"
    lines = [
        json.dumps({"index": i.index, "response": thinking if k < 3 else r"\boxed{3}"}) for k, i in enumerate(ITEMS)
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    words = [f"data={write_table(tmp_path)}", f"predictions={tmp_path / 'p.jsonl'}", f"out={tmp_path / 'o'}"]
    report = json.loads(main(["benchmark=LabMathVista", *words]))
    assert report["spread"][0] == {
        "axis": "mode",
        "values": 2,
        "lowest": "semantic: 70.0",
        "highest": "official: 100.0",
        "spread": 30.0,
    }
    with (tmp_path / "o" / "sensitivity.csv").open() as stream:
        assert [row["score"] for row in csv.DictReader(stream)] == ["100.0", "70.0"]
    shown = " ".join((tmp_path / "o" / "sensitivity.md").read_text().split())
    assert "| mode | 2 | semantic: 70.0 | official: 100.0 | 30.0 |" in shown
    with pytest.raises(DataError, match=r"other \['variant'\]; give model="):
        main(["benchmark=LabMathVista", *words, "variants=default,direct"])


def test_a_model_is_asked_once_for_each_generation_setting(tmp_path, monkeypatch):
    import pico_vl

    from evaluation.engines.transformers import TransformersEngine

    folder = pico_vl.save_model(tmp_path / "model")
    calls = []
    run_batches = TransformersEngine.run
    monkeypatch.setattr(TransformersEngine, "run", lambda *a: calls.append(len(a[1])) or run_batches(*a))
    words = ["benchmark=LabMathVista", f"data={write_table(tmp_path)}", f"model={folder}", f"out={tmp_path / 'o'}"]
    words += ["image_backend=pil", "max_new_tokens=4,8", "modes=official,semantic", "limit=6", "grid=full"]
    report = json.loads(main(words))
    assert report["settings"] == 4
    assert sorted(p.name for p in (tmp_path / "o" / "responses").iterdir()) == [
        "default-4-None-None.jsonl",
        "default-8-None-None.jsonl",
    ]
    assert calls == [1, 0, 1, 0]  # a mode scores the responses that are already there


def test_a_command_line_is_typed_and_its_mistakes_are_named():
    words = ["benchmark=B", "data=d.tsv", "out=o", "max_pixels=none,64", "max_new_tokens=1,2"]
    command = parse(words, Command)
    assert (command.max_pixels, command.max_new_tokens, command.data) == ((None, 64), (1, 2), Path("d.tsv"))
    with pytest.raises(ArgumentError, match=r"batch_size='x'.*max_new_tokens='y'"):
        parse([*words[:3], "max_new_tokens=y", "batch_size=x"], Command)
    with pytest.raises(DataError, match="unknown argument 'mode': did you mean 'modes'"):
        parse([*words, "mode=official"], Command)
    with pytest.raises(DataError, match="give exactly one of the two"):
        main(["benchmark=LabMathVista", "data=d.tsv", "out=o"])
