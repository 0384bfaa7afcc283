"""Benchmarks as data, their tables and prompts."""

import base64
import subprocess
import sys

import pytest

from drift.errors import DataError
from evaluation.benchmarks import ALIASES, BENCHMARKS, build_prompt, get_benchmark, register
from evaluation.benchmarks.hallusionbench import hallusion_keys
from evaluation.data.tsv import Item, load_items, parse_choices, write_rows

PNG = base64.b64encode(b"picture" * 20).decode()


def table(path, **columns):
    count = len(next(iter(columns.values())))
    write_rows(path, [{name: values[k] for name, values in columns.items()} for k in range(count)])
    return path


def test_importing_the_benchmarks_loads_nothing_heavy():
    heavy = {"torch", "transformers", "pandas", "scipy", "statsmodels", "math_verify", "numpy", "requests"}
    program = f"import sys, evaluation.benchmarks; assert not (found := {heavy} & set(sys.modules)), found"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_real_ones_and_their_variants_carry_their_published_md5():
    real = [row for row in BENCHMARKS.values() if not row.name.startswith("Lab")]
    assert len(real) == 15
    assert all(row.md5 is not None and len(row.md5) == 32 for row in real)
    assert {row.stands_in_for for row in BENCHMARKS.values()} <= {None, *BENCHMARKS}


def test_an_unknown_benchmark_names_the_closest_and_aliases_resolve():
    assert get_benchmark("MathVista").name == "MathVista_MINI"
    with pytest.raises(DataError, match="did you mean 'WeMath'"):
        get_benchmark("WeMat")


def test_no_name_is_given_twice():
    assert not set(BENCHMARKS) & set(ALIASES)
    with pytest.raises(DataError, match=r"'WeMath': \['WeMath'\] are names of others"):
        register(get_benchmark("WeMath"))


def test_a_row_without_its_group_is_refused_with_its_place(tmp_path):
    path = table(tmp_path / "t.tsv", index=["1"], question=["q"], answer=["a"], ID=[" "], key=["2steps_1"])
    with pytest.raises(DataError, match=r"t\.tsv: item '1' has an empty ID; its group is unknown"):
        load_items(path, get_benchmark("LabWeMath"))
    path = table(tmp_path / "h.tsv", index=["7"], question=["q"], answer=["a"])
    with pytest.raises(DataError, match=r"h\.tsv: index '7' has 1 parts"):
        load_items(path, get_benchmark("HallusionBench"))


def test_none_and_na_stay_text_in_options_and_answers(tmp_path):
    path = table(
        tmp_path / "t.tsv",
        index=["1", "2"],
        question=["q", "q"],
        answer=["None", "N/A"],
        A=["None", "N/A"],
        B=["nan", ""],
    )
    items = load_items(path, get_benchmark("MMStar"))
    assert [item.answer for item in items] == ["None", "N/A"]
    assert items[0].options == {"A": "None", "B": "nan"}
    assert items[1].options == {"A": "N/A"}


def test_an_image_cell_may_hold_a_picture_a_list_or_the_index_of_another_row(tmp_path):
    path = table(
        tmp_path / "t.tsv",
        index=["1", "2", "3"],
        question=["q"] * 3,
        answer=["a"] * 3,
        image=[PNG, "1", f"['{PNG}', '{PNG}']"],
    )
    items = load_items(path, get_benchmark("LogicVista"))
    assert [len(item.images) for item in items] == [1, 1, 2]
    assert items[1].images == items[0].images == (b"picture" * 20,)
    assert load_items(path, get_benchmark("LogicVista"), with_images=False)[0].images == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("index\tquestion\n1\tq\n", r"columns \['answer'\] are missing"),
        ("index\tquestion\tanswer\n", "no rows"),
        ("index\tquestion\tanswer\n1\tq\ta\n1\tq\ta\n", "index '1' appears twice"),
        ("index\tquestion\tanswer\n1\tq\n", "fewer than 3 cells"),
        ("index\tquestion\tanswer\n1\tq\ta\tb\n", "more than 3 cells"),
        ("index\tquestion\tanswer\timage\n1\tq\ta\t!!!\n", "neither base64 nor the index"),
    ],
)
def test_broken_tables_are_refused(tmp_path, content, message):
    path = tmp_path / "t.tsv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        load_items(path, get_benchmark("LogicVista"))


def test_choices_are_read_as_json_or_python_and_never_evaluated():
    assert parse_choices("['3/11', \"8\", 2]") == ["3/11", "8", "2"]
    assert parse_choices('["a", "b"]') == ["a", "b"]
    assert parse_choices("[]") == parse_choices("") == []
    with pytest.raises(DataError, match="not a flat list"):
        parse_choices("__import__('os').getcwd()")


def test_hallusion_keys_leave_the_visual_input_out():
    assert hallusion_keys("VD_figure_1_0_2_3", "") == ("VD_figure/0/figure2", "VD_figure/0/question3")
    assert hallusion_keys("VD_figure_2_0_1_3", "")[1] == "VD_figure/0/question3"
    with pytest.raises(DataError, match="expected <category>"):
        hallusion_keys("7", "")


def test_prompts_follow_the_rule_of_each_benchmark():
    item = Item("1", "How many?", "A", {"A": "one", "B": "two"}, fields={"hint": "look", "requirement": "Explain."})
    asked = "Hint: look\nQuestion: How many?\nOptions:\nA. one\nB. two\n"
    assert build_prompt(get_benchmark("WeMath"), item) == asked
    assert build_prompt(get_benchmark("WeMath_COT"), item) == asked + "Explain."
    assert build_prompt(get_benchmark("MMStar"), item) == (
        asked + "Please select the correct answer from the options above. \n"
    )
    assert build_prompt(get_benchmark("MathVista"), item) == "How many?"
    assert build_prompt(get_benchmark("LabMathVista"), item) == "How many? think"
    assert build_prompt(get_benchmark("LabMathVista"), item, "direct") == "How many?"
    assert build_prompt(get_benchmark("MathVista"), item, "boxed").endswith("\\boxed{}.")


def test_a_prompt_without_its_column_or_with_an_unknown_variant_is_refused():
    with pytest.raises(DataError, match="has no 'query_cot'"):
        build_prompt(get_benchmark("MathVerse_MINI_Vision_Only_cot"), Item("1", "q", "a"))
    with pytest.raises(DataError, match="did you mean 'direct'"):
        build_prompt(get_benchmark("WeMath"), Item("1", "q", "a"), "drect")
