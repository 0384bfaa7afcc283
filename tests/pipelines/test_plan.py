"""A plan says the same thing for every scale, trains nothing twice, and prints without torch or a network."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import compose, plan, tables
from pipelines.errors import ConfigError
from pipelines.session import writable
from pipelines.stage import Call, ordered, with_value


def stages_of(*calls: Call) -> Counter[str]:
    return Counter(call.stage.name for call in ordered(list(calls)))


def shape(call: Call) -> tuple:
    """The DAG without what a profile may decide: sizes, places, repositories, whether vLLM must agree, who judges."""
    kept = {name: source for name, source in call.inputs.items() if name not in ("base", "agreement", "judged")}
    return (call.stage.name, *sorted((name, shape(source)) for name, source in kept.items()))


METHODS = [path.stem for path in sorted((compose.CONF / "method").glob("[!_]*.yaml"))]


@pytest.mark.parametrize("method", METHODS)
def test_lab_and_paper_are_one_code_path(method: str) -> None:
    lab, paper = (plan.score(compose.load([f"profile={name}", f"method={method}"])) for name in ("lab", "paper"))
    assert shape(lab) == shape(paper)


def test_the_paper_is_judged_by_the_toolkits_protocol_and_the_lab_by_its_rules() -> None:
    lab, paper = (plan.score(compose.load([f"profile={name}", "method=baseline"])) for name in ("lab", "paper"))
    assert ("judged" in lab.inputs, lab.params.judge.name) == (False, "rules")
    judged = paper.inputs["judged"]
    assert (judged.params.judge.name, judged.params.judge.mode) == ("local", "vlmevalkit")
    assert judged.inputs["responses"].key == paper.inputs["responses"].key
    alone = plan.score(compose.load(["profile=paper", "method=baseline", "judge=rules"]))
    assert "judged" not in alone.inputs


def test_two_alphas_share_everything_but_the_training() -> None:
    config = compose.load(["method=drift"])
    two = [plan.score(replace(config, injection=replace(config.injection, alpha=alpha))) for alpha in (-0.1, -0.3)]
    assert stages_of(*two) == {
        "model": 3, "data": 1, "prior": 1, "train": 2, "benchmarks": 1, "generate": 2, "score": 2,
    }  # fmt: skip


def test_plain_sft_has_no_injection_to_set() -> None:
    with pytest.raises(ConfigError, match=r"injection\.semantics is no key .* only method=drift injects"):
        compose.load(["method=sft", "injection.semantics=step"])


def test_only_what_is_drawn_at_random_depends_on_the_seed_of_its_own() -> None:
    paper = compose.load(["profile=paper", "method=ties"])
    assert plan.merge(paper).key == plan.merge(replace(paper, seed=1)).key
    dare = compose.load(["profile=paper", "method=dare_ties"])
    assert plan.merge(dare).key != plan.merge(replace(dare, seed=1)).key
    assert plan.prior(paper).key == plan.prior(replace(paper, seed=1)).key
    words = ["profile=paper", "method=selective_rl"]
    for more, is_drawn in ([], False), (["merge.hyperparameters.direction=random"], True):
        selective = compose.load([*words, *more])
        assert (plan.merge(selective).key != plan.merge(replace(selective, seed=1)).key) is is_drawn


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_world_draws_its_own_training_order_controls_and_masks(seed: int) -> None:
    config = replace(compose.load(["method=drift", "prior=random", "prior.seed=5", "train.seed=42"]), seed=seed)
    assert plan.train(config).params.training.seed == 42 + seed
    assert plan.prior(config).params.prior.seed == 5 + seed
    assert plan.prior(replace(config, prior=replace(config.prior, kind="shuffled"))).params.prior.seed == 5 + seed
    assert plan.prior(replace(config, prior=replace(config.prior, kind="direct"))).params.prior.seed == 0
    dare = replace(compose.load(["method=dare_ties", "merge.seed=3"]), seed=seed)
    assert plan.merge(dare).params.merge.seed == 3 + seed
    assert plan.frism(replace(compose.load(["method=frism", "frism.seed=7"]), seed=seed)).params.frism.seed == 7 + seed
    assert plan.model(config, "mllm").params.world.seed == seed
    assert plan.data(config).params.world.seed == seed
    assert plan.benchmarks(config).params.world.seed == seed


def test_more_test_items_train_nothing_anew() -> None:
    small, large = compose.load([]), compose.load(["world.suite_items=200"])
    assert plan.train(small).key == plan.train(large).key
    assert plan.score(small).key != plan.score(large).key


def test_benchmarks_from_a_folder_leave_the_lab_models_as_they_are() -> None:
    lab = compose.load(["method=sft"])
    real = compose.load(["method=sft", "suite=real", "suite.root=/somewhere"])
    real = replace(real, suite=replace(real.suite, revision="digest of the folder"))
    assert plan.train(lab).key == plan.train(real).key
    assert plan.score(lab).key != plan.score(real).key


def test_alpha_is_chosen_on_the_validation_draw_over_all_seeds_with_the_direct_prior() -> None:
    config = compose.load(["method=drift", "prior=random", "selection=mlp", "injection.alpha=auto"])
    choice = plan.alpha_choice(config)
    assert isinstance(choice, Call)
    scores = [call for call in choice.inputs.values() if call.stage.name == "score"]
    assert len(scores) == len(config.choose.alpha) * len(config.seeds)
    drawn = {c.params.split for c in ordered(scores) if c.stage.name == "benchmarks"}
    priors = {(c.params.prior.kind, c.params.selection.groups) for c in ordered([choice]) if c.stage.name == "prior"}
    assert drawn == {"validation"}
    assert priors == {("direct", ("attn", "mlp"))}


def test_one_candidate_is_no_choice() -> None:
    config = compose.load(["profile=paper", "method=drift", "injection.alpha=auto"])
    assert plan.alpha_choice(config) == -1.0
    assert plan.train(config).params.injection.alpha == -1.0


def test_a_tuned_merge_is_chosen_on_the_validation_draw_and_equals_the_merge_that_was_tried() -> None:
    config = compose.load(["method=ties", "merge.coefficient=auto"])
    choice = plan.merge_choice(config)
    scores = [call for call in choice.inputs.values() if call.stage.name == "score"]
    assert len(scores) == len(config.merge.candidates) * len(config.seeds)
    assert {c.params.split for c in ordered(scores) if c.stage.name == "benchmarks"} == {"validation"}
    tuned = plan.merge(config)
    assert tuned.binds["merge.hyperparameters"].source.key == choice.key
    tried = {c.key for c in ordered([choice]) if c.stage.name == "merge"}
    params = with_value(tuned.params, "merge.hyperparameters", choice.params.values[1])
    settled = replace(tuned, params=params, binds={})
    assert settled.key in tried
    assert plan.merge(compose.load(["method=ties"])).key in tried


def test_the_matched_merge_reads_the_w_eff_of_the_run_it_is_compared_with() -> None:
    config = compose.load(["method=merge_sft", "injection.alpha=-0.3"])
    call = plan.train(config)
    assert call.params.injection.scale == "none"
    merged = call.inputs["model"]
    bind = merged.binds["matched"]
    assert bind.value == "w_eff"
    assert bind.source.key == plan.train(compose.load(["method=drift", "injection.alpha=-0.3"])).key


def test_the_merges_before_and_after_sft_move_the_tensors_that_drift_moves() -> None:
    config = compose.load(["method=merge_sft", "selection=mlp"])
    merged = plan.train(config).inputs["model"]
    assert merged.params.selection == config.selection
    assert merged.binds["matched"].source.key == plan.train(compose.load(["method=drift", "selection=mlp"])).key
    expert = plan.train(compose.load(["method=expert_sft"])).inputs["model"].params
    assert expert.merge.hyperparameters == {"weight_mllm": 0.0, "weight_expert": 1.0}
    assert expert.selection == compose.load([]).selection


def test_sft_merge_adds_delta_to_what_plain_sft_made() -> None:
    call = plan.checkpoint(compose.load(["method=sft_merge"]))
    assert (call.stage.name, call.params.merge.variant) == ("merge", "paper")
    assert call.inputs["mllm"].key == plan.train(compose.load(["method=sft"])).key
    assert call.inputs["base"].key == call.inputs["mllm"].inputs["model"].key


@pytest.mark.parametrize("method", ["merged_sft", "sft_merge"])
def test_a_mixture_before_or_after_sft_is_chosen_on_validation_no_merge_among_it(method: str) -> None:
    config = compose.load([f"method={method}", "merge.coefficient=auto"])
    choice = plan.choice(config)
    assert choice is not None
    assert any(each["weight_expert"] == 0.0 for each in choice.params.values)
    stages_tried = {c.stage.name for c in ordered([choice])}
    assert {"merge", "train"} <= stages_tried


def test_frisms_strengths_are_chosen_on_validation_and_its_gates_learn_on_the_data() -> None:
    config = compose.load(["method=frism", "frism.coefficient=auto"])
    call = plan.checkpoint(config)
    assert call.inputs["data"].key == plan.data(config).key
    choice = call.binds["frism.strengths"].source
    tried = {c.key for c in ordered([choice]) if c.stage.name == "frism"}
    settled = replace(call, params=with_value(call.params, "frism.strengths", choice.params.values[1]), binds={})
    assert settled.key in tried
    assert {c.params.split for c in ordered([choice]) if c.stage.name == "benchmarks"} <= {"validation", "test"}


def test_draws_of_one_world_and_worlds_of_one_draw_are_all_other_seeds() -> None:
    config = compose.load(["method=drift", "prior=random"])
    drawn = [replace(config, seed=seed, prior=replace(config.prior, draw=draw)) for seed in (0, 1) for draw in (0, 1)]
    assert len({plan.prior(each).params.prior.seed for each in drawn}) == 4
    assert plan.prior(drawn[0]).params.prior.seed == 0


def test_a_control_may_choose_alpha_for_itself() -> None:
    words = ["method=drift", "prior=random", "selection=mlp", "injection.alpha=auto"]
    own = plan.alpha_choice(compose.load([*words, "choose.prior=own"]))
    assert isinstance(own, Call)
    found = [c.params for c in ordered([own]) if c.stage.name == "prior"]
    assert {(each.prior.kind, each.selection.groups) for each in found} == {("random", ("mlp",))}


@pytest.mark.parametrize("name", tables.names())
def test_every_row_of_every_table_plans_at_every_scale(name: str) -> None:
    table = tables.load(name)
    for profile in table.profiles or ("smoke", "paper"):
        target = tables.report([table], [f"profile={profile}"], online=False)
        run = [row for row in table.rows if row.overrides]
        assert {cell.row for cell in target.params.cells} == {row.label for row in run}


def test_families_share_what_is_the_same_text_model() -> None:
    def made(pair: str, role: str) -> str:
        return plan.model(compose.load([f"pair={pair}"]), role).key

    assert made("qwen2_vl_math", "base") == made("qwen2_5_vl_r1", "base")
    assert made("qwen2_vl_math", "expert") == made("qwen2_5_vl_r1", "expert")
    assert len({made(pair, "base") for pair in ("qwen2_vl_math", "llava_next_dart", "idefics2_metamath")}) == 3
    assert made("qwen2_vl_math", "mllm") != made("qwen2_5_vl_r1", "mllm")


def test_a_far_expert_is_made_from_the_near_one_and_moves_nothing_else() -> None:
    near, far = (compose.load([f"pair.distance={distance}"]) for distance in ("near", "far"))
    assert plan.model(far, "expert").inputs["expert"].key == plan.model(near, "expert").key
    assert plan.model(far, "mllm").key == plan.model(near, "mllm").key
    assert plan.geometry(far).key != plan.geometry(near).key


def test_a_table_of_the_lab_alone_is_left_out_elsewhere() -> None:
    specs = [tables.load("table1"), tables.load("distance")]
    assert [t.name for t in tables.report(specs, ["profile=paper"], online=False).params.tables] == ["table1"]
    with pytest.raises(ConfigError, match="profile paper makes none of distance: it is made in lab, smoke"):
        tables.report(specs[1:], ["profile=paper"], online=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: [broken", "is no YAML: while parsing"),
        ("", "is no table: expected keys with values"),
        ("- a list", "is no table: expected keys with values"),
        ("title: T\ncolumns: [Avg]\nrows: 3\n", "is no table: rows: Input should be a valid tuple"),
        ("title: T\ncolumns: [Avg]\nrows: []\npublished: none.csv\n", "published is none.csv, and .* holds no such"),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_line(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "mine.yaml").write_text(text)
    monkeypatch.setattr(compose, "CONF", tmp_path)
    with pytest.raises(ConfigError, match=message) as refused:
        tables.load("mine")
    assert "\n" not in str(refused.value)


def test_results_that_can_not_be_written_are_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/results can't be written \(.*file: Not a directory\)"):
        writable(tmp_path / "file" / "results")
    assert writable(tmp_path / "new" / "results") == tmp_path / "new" / "results"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_unknown_table_answers_with_the_closest() -> None:
    with pytest.raises(Exception, match="did you mean 'table4'"):
        tables.load("table44")


def test_the_whole_paper_plan_prints_offline_without_torch() -> None:
    code = (
        "import sys, socket\n"
        "socket.socket.connect = None\n"
        "from pipelines.reproduce import main\n"
        "status = main(['--plan', 'profile=paper', 'store=/nonexistent'])\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Qwen/Qwen2.5-VL-7B-Instruct" in done.stdout
    assert "0 in the store" in done.stdout


def test_a_choice_does_not_depend_on_what_the_row_is_tested_on_or_on_unfiltered_data() -> None:
    chosen = {
        plan.alpha_choice(compose.load(["method=drift", "injection.alpha=auto", *other])).key
        for other in ([], ["suite=lab_perception"], ["data=lab_mixed"])
    }
    assert len(chosen) == 1


def test_only_data_with_a_generator_has_unfiltered_answers() -> None:
    with pytest.raises(
        ConfigError, match="unfiltered answers go beside filtered ones in data=mixed and data=lab_mixed"
    ):
        compose.load(["profile=paper", "data.mix.unfiltered=1"])
    with pytest.raises(ConfigError, match="unfiltered answers are a generator's"):
        compose.load(["profile=paper", "+data.mix.unfiltered=1"])


def test_a_table_may_have_another_suite_at_another_scale() -> None:
    tested = {
        profile: {
            call.params.names
            for name, call in tables.report(
                [tables.load("table6")], [f"profile={profile}"], online=False
            ).inputs.items()
            if name.startswith("items-")
        }
        for profile in ("lab", "paper")
    }
    assert tested["lab"] == {("LabReading", "LabPosition", "LabIcon")}
    assert tested["paper"] == {("HallusionBench", "RealWorldQA", "MMStar")}
