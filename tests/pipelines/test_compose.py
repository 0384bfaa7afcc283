"""Configs are typed, complete, and refused with all their faults at once and the closest known names."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from drift.training.config import InjectionConfig
from pipelines import compose
from pipelines.errors import ConfigError
from pipelines.overrides import check_names, openly


def test_lab_is_the_default_and_smoke_can_not_be_mistaken_for_it() -> None:
    lab, smoke = compose.load(), compose.load(["profile=smoke"])
    assert (lab.profile, lab.results, lab.seeds) == ("lab", "results/lab", (0, 1, 2))
    assert (smoke.profile, smoke.results) == ("smoke", "results/smoke")
    assert smoke.world.base.steps < lab.world.base.steps


def test_a_profile_never_decides_the_method() -> None:
    for overrides in (["method=ties"], ["method=sft"], ["method=drift", "injection=gradnorm"]):
        lab, paper = compose.load(overrides), compose.load(["profile=paper", *overrides])
        assert lab.method == paper.method
        assert lab.merge.method == paper.merge.method
        assert (lab.injection.scale, lab.injection.alpha) == (paper.injection.scale, paper.injection.alpha)
        assert lab.selection == paper.selection


def test_the_papers_profile_has_the_papers_settings() -> None:
    config = compose.load(["profile=paper"])
    train = config.train
    assert (train.learning_rate, train.epochs, train.warmup_ratio, train.scheduler) == (1e-6, 3, 0.05, "cosine")
    assert (train.global_batch, train.per_device_batch_size, train.precision) == (8, 1, "bf16")
    assert (train.image_max_pixels, train.cutoff_len, train.max_grad_norm) == (262144, 32768, 1.0)
    assert (config.train.zero_stage, config.launcher.ranks) == (2, 8)
    assert config.pair.mllm.repo == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert config.pair.expert.repo == "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"
    assert config.data.repo == "ChaoHuangCS/DRIFT-TL-Distill-4K"


def test_the_command_line_has_the_last_word() -> None:
    assert compose.load(["train.learning_rate=5e-4"]).train.learning_rate == 5e-4
    assert compose.load(["seeds=[7]", "world.sft_items=50"]).world.sft_items == 50


def test_plain_sft_is_plain() -> None:
    config = compose.load(["method=sft"])
    assert config.injection == InjectionConfig()


def test_all_faults_of_the_overrides_come_at_once_with_the_closest_names() -> None:
    with pytest.raises(ConfigError) as caught:
        compose.load(["injection.alpah=1", "method=tis", "train.learning_rat=1"])
    text = str(caught.value)
    assert "did you mean 'injection.alpha'" in text
    assert "did you mean 'ties'" in text
    assert "did you mean 'train.learning_rate'" in text


@pytest.mark.parametrize("word", ["smoke", "", "seed=[1", "a=b=}"])
def test_a_word_that_is_no_override_is_a_refusal_wherever_it_is_read(word: str) -> None:
    for read in (lambda: compose.load([word]), lambda: compose.load_fitting([], [word])):
        with pytest.raises(ConfigError, match=r"is not of the form key=value, as profile=smoke is"):
            read()


def test_values_of_a_wrong_type_are_named_together() -> None:
    with pytest.raises(ConfigError, match=r"injection\.alpha.*'abc'") as caught:
        compose.load(["injection.alpha=abc", "train.epochs=many"])
    assert "train.epochs" in str(caught.value)


def test_a_value_that_must_be_given_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="root"):
        compose.load(["data=folder"])


def test_a_sweep_is_checked_value_by_value() -> None:
    check_names(["method=ties,sft", "injection.alpha=-0.1,-0.3"], compose.CONF)
    with pytest.raises(ConfigError, match="'tiess'"):
        check_names(["method=tiess,sft"], compose.CONF)


@pytest.mark.parametrize("group", [path.name for path in compose.groups()])
def test_every_choice_of_every_group_composes(group: str) -> None:
    needed = {
        "data=folder": ["data.root=/tmp"],
        "suite=real": ["suite.root=/tmp"],
        "engine=openai": ["engine.url=http://localhost/v1"],
    }
    for path in (compose.CONF / group).glob("[!_]*.yaml"):
        choice = f"{group}={path.stem}"
        compose.load([choice, *needed.get(choice, [])])


def test_what_was_composed_once_is_read_again_until_a_word_or_a_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "KEPT", tmp_path / "kept")
    first = compose.load(["method=ties", "seed=7"])
    kept = compose._kept(["method=ties", "seed=7"])
    assert kept.exists()
    with monkeypatch.context() as patch:
        patch.setattr(compose, "_compose", None)
        assert compose.load(["method=ties", "seed=7"]) == first
    assert compose.load(["method=ties", "seed=8"]) != first
    shutil.copytree(compose.CONF, tmp_path / "conf")
    monkeypatch.setattr(compose, "CONF", tmp_path / "conf")
    with (tmp_path / "conf" / "config.yaml").open("a") as file:
        file.write("\n")
    assert compose._kept(["method=ties", "seed=7"]) != kept


@pytest.mark.parametrize(
    "words",
    [
        "injection.alpha=-0.3 method=drift injection.group_alpha.attn=-0.5 seed=1",
        "seeds=[7,8] world.sft_items=50 selection.layers=[0,2] prior=random selection=mlp",
        "method=ties ++merge.hyperparameters.density=0.5 merge={seed:3} merge.seed=4",
        "profile=smoke suite@validation=math \"results='a b'\" store=${results}/x train.offload=cpu",
        "engine=openai engine.url=http://h:1/v1 engine.model=null",
        "world={sft_items:9} choose.alpha=[-1,-2] choose.selection.groups=[mlp]",
        "+extra.key=1 seed=3",
        "seed=1 seed=2 seed=1",
        "~gate.points zero=stage3 train.learning_rate=1e-4",
        "suite={variant:direct} suite=real suite.root=b",
    ],
)
def test_a_plain_value_is_set_as_hydra_sets_it_kept_or_not(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "KEPT", tmp_path)
    row = tuple(shlex.split(words))
    whole = compose._chosen.__wrapped__(tuple(openly(row)), compose.CONF)
    for _ in ("composed", "kept"):
        compose._chosen.cache_clear()
        found = compose._compose.__wrapped__(row)
        assert OmegaConf.to_container(found) == OmegaConf.to_container(whole)
        assert OmegaConf.is_struct(found)


def test_a_word_that_reads_the_environment_is_composed_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "KEPT", tmp_path)
    monkeypatch.setenv("WHERE", "there")
    assert compose.load(["results=${oc.env:WHERE}"]).results == "there"
    assert not compose._kept(["results=${oc.env:WHERE}"]).exists()
    monkeypatch.setenv("WHERE", "elsewhere")
    assert compose.load(["results=${oc.env:WHERE}"]).results == "elsewhere"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("lr=5e-4", "unknown key 'lr': did you mean train.learning_rate=5e-4?"),
        ("alpha=-0.3", "did you mean injection.alpha=-0.3?"),
        ("epochs=3", "did you mean train.epochs=3?"),
        ("density=0.5", "did you mean merge.hyperparameters.density=0.5?"),
        ("alhpa=1", "did you mean injection.alpha=1"),
    ],
)
def test_a_short_name_is_answered_with_the_key_as_it_can_be_typed(word: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(meant)):
        compose.load([word])
