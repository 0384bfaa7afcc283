"""A run is found by its settings, and its name says in what it differs from the default."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas
import pytest
from listed import commit

from pipelines import compose, plan
from pipelines.catalogue.commands import list_main, show_main
from pipelines.catalogue.names import name
from pipelines.catalogue.query import Names, varying
from pipelines.catalogue.runs import Run, runs
from pipelines.errors import ConfigError
from pipelines.schema import Config
from pipelines.store import Store

DIFFERENT = [
    [], ["injection.alpha=-0.3"], ["injection.alpha=auto"], ["injection.alpha=auto", "choose.selection.groups=[mlp]"],
    ["train.learning_rate=5e-4"], ["train.epochs=8"],
    ["train.save_steps=1", "train.logging_steps=1"], ["zero=stage3"], ["injection=gradnorm"], ["prior=random"],
    ["injection.semantics=step"], ["injection.group_alpha.attn=-0.2"], ["selection=mlp"], ["selection.layers=[0,1]"],
    ["data=lab_mixed"], ["suite=lab_perception"], ["suite.split=validation"], ["suite.variant=direct"],
    ["judge.mode=semantic"], ["engine.settings.temperature=0.5"], ["engine=openai", "engine.url=http://localhost:1/v1"],
    ["pair=qwen2_vl_math"], ["pair.distance=far"], ["world.sft_items=300"], ["train.add_tokens=[a,b]"],
    ["method=sft"], ["method=sft", "train.epochs=8"], ["method=sft", "data=folder", "data.root=/data"],
    ["method=merge_sft"], ["method=merge_sft", "injection.alpha=-0.3"], ["method=baseline"],
    ["method=merged_sft"], ["method=expert_sft"], ["method=sft_merge"],
    ["method=merged_sft", "merge.coefficient=auto"], ["method=sft_merge", "merge.coefficient=auto"],
    ["method=sft_merge", "merge.hyperparameters.weight_expert=0.4"], ["injection=pull"], ["injection=adaptive_toward"],
    ["injection.target_w_eff=0.1"], ["train.optimizer=sgd"], ["prior=random", "prior.draw=1"], ["prior=shuffled"],
    ["method=selective_rl"], ["method=selective_rl", "merge.hyperparameters.direction=random"], ["prior.rank=4"],
    ["method=star"], ["method=iso_c"], ["method=swudi"], ["prior=random", "injection.alpha=auto"],
    ["prior=random", "injection.alpha=auto", "choose.prior=own"],
    ["method=frism"], ["method=frism", "frism.strengths.weight=0.3"], ["method=frism", "frism.coefficient=auto"],
    ["method=ties"], ["method=ties", "merge.hyperparameters.density=0.5"], ["method=ties", "merge.coefficient=auto"],
    ["profile=smoke"],
]  # fmt: skip


@pytest.fixture(scope="module")
def configs() -> list[Config]:
    """Every config above in two worlds."""
    composed = [compose.load([word for word in words if word != "engine.model"]) for words in _given(DIFFERENT)]
    return [replace(config, seed=seed) for config in composed for seed in (0, 1)]


def _given(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[*row, "engine.model=m"] if "engine=openai" in row else list(row) for row in rows]


def test_two_runs_that_are_not_one_artifact_have_two_names(configs: list[Config]) -> None:
    by_name: dict[tuple[str, str], set[str]] = {}
    for config in configs:
        by_name.setdefault((config.profile, name(config)), set()).add(plan.score(config).key)
    assert [names for names, keys in by_name.items() if len(keys) > 1] == []
    assert len(by_name) == len(configs)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "drift"),
        (["injection.alpha=-0.3", "train.learning_rate=5e-4", "zero=stage3", "seed=1"],
         "drift alpha=-0.3 lr=0.0005 zero=3 seed=1"),
        (["method=ties", "merge.hyperparameters.density=0.5"], "ties hyperparameters.density=0.5"),
        (["pair=llava_next_dart", "pair.distance=far"], "drift pair=llava_next_dart distance=far"),
        (["method=sft", "data=folder", "data.root=/data"], "sft data=folder data.root=/data"),
        (["method=sft", "launcher=torchrun", "launcher.processes=2", "train.per_device_batch_size=4"],
         "sft per_device_batch_size=4"),  # which 2 processes need: 8 in one pass can't be shared
    ],
)  # fmt: skip
def test_a_name_is_the_difference_from_the_default(words: list[str], expected: str) -> None:
    assert name(compose.load(words)) == expected


def test_what_changes_nothing_is_in_no_name() -> None:
    words = ["method=baseline", "train.epochs=8", "store=/elsewhere", "tracker=disabled", "launcher.workers=1"]
    assert name(compose.load(words)) == "baseline"


ALPHAS = {-0.1: 70.0, -0.3: 80.0, -1.0: 40.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gradnorm and adaptive at three alphas in two worlds, an untouched MLLM, and a merge."""
    root = tmp_path_factory.mktemp("artifacts")
    for scale in ("adaptive", "gradnorm"):
        config = compose.load(["method=drift", f"injection={scale}"])
        for alpha, average in ALPHAS.items():
            for seed in (0, 2):
                own = replace(config, seed=seed, injection=replace(config.injection, alpha=alpha))
                commit(Store(root), own, average + seed)
    commit(Store(root), compose.load(["method=baseline"]), 50.0)
    commit(Store(root), compose.load(["method=ties"]), 51.0)
    return root


@pytest.fixture
def listed(store: Path, capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str]]:
    def call(*words: str) -> tuple[int, str]:
        status = list_main([*words, f"store={store}", "format=csv"])
        printed = capsys.readouterr()
        return status, printed.out or printed.err

    return call


def test_the_best_alpha_of_a_scaling_in_a_world_is_one_command(store: Path, capsys: pytest.CaptureFixture) -> None:
    assert show_main(["scale=gradnorm", "seed=2", f"store={store}"]) == 0
    shown = capsys.readouterr().out
    assert "injection.alpha=-0.3\n" in shown
    assert "average  82.00" in shown
    assert "the first of 3 that fit" in shown
    assert 'train.zero_stage=2\n' in shown  # the whole config, whatever the default  # fmt: skip


def test_a_listing_has_the_settings_that_tell_its_runs_apart(listed: Callable) -> None:
    status, text = listed("method=drift", "scale=adaptive", "seed=0")
    assert status == 0
    header, *rows = text.splitlines()
    assert header == "alpha,MathVista,MathVision,MathVerse,WeMath,LogicVista,average,fingerprint"
    assert [row.split(",")[0] for row in rows] == ["-0.3", "-0.1", "-1.0"]  # the best first


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ((), 14), (("alpha<-0.2",), 8), (("alpha>=-0.3", "seed!=0"), 4), (("alpha=-0.1,-1", "method=drift"), 8),
        (("average>80",), 2), (("method!=drift",), 2), (("limit=3",), 3), (("lr=1e-3", "zero=2"), 12),
    ],
)  # fmt: skip
def test_conditions_hold_for_settings_and_scores(listed: Callable, words: tuple[str, ...], count: int) -> None:
    status, text = listed(*words)
    assert (status, len(text.splitlines()) - 1) == (0, count)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("methd=drift",), "no run has a setting 'methd': did you mean 'method'"),
        (("family=qwen2",), "'family' may be base.family or expert.family or mllm.family; say which"),
        (("alpha<x",), "'x' is no number, and only numbers are ordered"),
        (("drift",), "'drift' is no condition; expected method=drift"),
        (("limit=-1",), "limit='-1'; expected"),
        (("out=runs.xls",), "expected a name that ends in .csv or .parquet"),
    ],
)
def test_what_can_t_be_asked_is_said(listed: Callable, words: tuple[str, ...], message: str) -> None:
    status, text = listed(*words)
    assert status == 2
    assert message in text


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_listing_goes_into_a_file_with_every_setting(listed: Callable, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"runs.{suffix}"
    assert listed("method=drift", f"out={path}")[0] == 0
    frame = pandas.read_csv(path) if suffix == "csv" else pandas.read_parquet(path)
    assert len(frame) == 12
    assert set(frame["injection.alpha"]) == set(ALPHAS)
    assert frame["train.learning_rate"].notna().all()


def test_equal_settings_are_one_artifact(store: Path) -> None:
    found = runs(store)
    assert len({json.dumps(run.settings) for run in found}) == len(found) == 14


def test_plain_sft_has_no_strength_of_an_injection(tmp_path: Path) -> None:
    commit(Store(tmp_path), compose.load(["method=sft"]), 50.0)
    (found,) = runs(tmp_path)
    assert [key for key in found.settings if key.startswith("injection.")] == ["injection.scale"]


def test_a_short_name_means_the_key_that_it_is_short_for(store: Path) -> None:
    names = Names.of(runs(store))
    keys = {key for run in runs(store) for key in run.settings}
    assert {key: names.whole(names.short(key)) for key in keys} == {key: key for key in keys}


def test_settings_that_follow_from_another_are_no_columns(store: Path) -> None:
    twins = [run for run in runs(store) if run.settings["method"] == "drift" and run.settings["injection.alpha"] == -1]
    assert varying(twins) == ["seed", "injection.scale"]  # and not world.seed, train.seed


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert list_main([f"store={tmp_path / 'none'}"]) == 2
    assert "is no store of artifacts" in capsys.readouterr().err


def test_an_input_that_is_gone_is_named(store: Path, tmp_path: Path) -> None:
    run: Run = runs(store)[0]
    folder = tmp_path / "score" / run.fingerprint[:20]
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(run.manifest))
    with pytest.raises(Exception, match=r"its responses \w+ is not in the store"):
        runs(tmp_path)


def test_names_of_an_unknown_store_are_none() -> None:
    with pytest.raises(ConfigError, match="no run has a setting 'seed'"):
        Names([]).whole("seed")


def test_published_answers_are_listed_beside_runs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["profile=published", "answers=mathvista", "answers.chosen=bard", "answers.root=/answers"]
    commit(Store(tmp_path), compose.load(words), 30.0)
    commit(Store(tmp_path), compose.load(["method=baseline"]), 50.0)
    assert list_main([f"store={tmp_path}", "format=csv", "method=answers"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split(",")[0] == "30.0"
    assert list_main([f"store={tmp_path}", "format=csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 2
