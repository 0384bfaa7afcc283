"""The manifest of a score says what it scores: every setting, the run's name, and the command that made it."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from listed import commit

from pipelines import compose, plan, tables
from pipelines.catalogue.about import about, command
from pipelines.catalogue.commands import list_main, show_main
from pipelines.catalogue.names import name
from pipelines.catalogue.runs import RUN, runs, settings_of
from pipelines.fingerprint import canonical
from pipelines.stage import Call, ordered
from pipelines.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("artifacts")
    config = compose.load(["method=drift", "injection.alpha=-0.3", "train.learning_rate=5e-4", "seed=1"])
    commit(Store(root), config, 80.0, about)
    commit(Store(root), compose.load(["method=ties"]), 50.0, about)
    return root


def test_a_score_of_published_answers_is_named_by_whose_they_are() -> None:
    words = ["profile=published", "method=baseline", "answers=mathvista", "answers.chosen=gpt4"]
    assert name(compose.load(words)) == "baseline answers=mathvista chosen=gpt4"


def test_a_score_says_every_setting_of_what_it_scores_and_only_a_score_does(store: Path) -> None:
    manifests = [artifact.manifest for artifact in Store(store).manifests()]
    assert {manifest["stage"] for manifest in manifests if RUN in manifest} == {"score"}
    (told,) = (each[RUN] for each in manifests if RUN in each and each[RUN]["config"]["method"] == "drift")
    assert told["name"] == "drift alpha=-0.3 lr=0.0005 seed=1"
    config = compose.load(["method=drift"])
    expected = {
        "method": "drift", "seed": 1, "injection.alpha": -0.3, "train.learning_rate": 5e-4, "pair": "qwen2_5_vl_r1",
        "suite": config.suite.name, "data": config.data.name, "engine": "transformers", "judge": "rules",
    }  # fmt: skip
    assert told["config"].items() >= expected.items()


def test_it_is_what_the_manifests_behind_it_say(store: Path) -> None:
    for run in runs(store):
        assert run.settings.items() >= settings_of(run.lineage).items()


def test_a_run_is_found_by_what_it_says_when_nothing_that_it_was_made_from_is_left(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(store / "score", tmp_path / "score")
    assert list_main(["method=drift", "alpha<0", "pair=qwen2_5_vl_r1", "format=csv", f"store={tmp_path}"]) == 0
    assert "80.0" in capsys.readouterr().out
    assert show_main(["lr=5e-4", f"store={tmp_path}"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("drift alpha=-0.3 lr=0.0005 seed=1\n")
    assert f"made by: {command()}" in shown
    assert "injection.alpha=-0.3" in shown


def test_the_fingerprint_knows_nothing_of_it() -> None:
    config = compose.load(["method=drift"])
    call = plan.score(config)
    assert replace(call, config=None).key == call.key == replace(call, config="another").key


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/usr/bin/python3", "/home/me/.venv/bin/drift", "run", "method=drift", "injection.group_alpha={mlp: -1}"],
         "drift run method=drift 'injection.group_alpha={mlp: -1}'"),
        (["python", "-m", "pipelines.run", "seed=1"], "python -m pipelines.run seed=1"),
    ],
)  # fmt: skip
def test_the_command_can_be_typed_again(monkeypatch: pytest.MonkeyPatch, argv: list[str], expected: str) -> None:
    monkeypatch.setattr(sys, "orig_argv", argv)
    assert command() == expected


def named(call: Call) -> str:
    return name(call.config) if call.config is not None else ""


@pytest.mark.parametrize("profile", ["lab", "paper", "published", "small", "smoke"])
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_score_of_every_profile_has_a_name_and_a_config_that_is_json(profile: str) -> None:
    words = [f"profile={profile}", "seeds=[0]"]
    made = [tables.load(each) for each in compose.load(words).tables] or tables.standard()
    target, _ = tables.as_asked(made, words, online=False)
    scores = [call for call in ordered([target]) if call.stage.name == "score"]
    names = {named(call): call.key for call in scores}
    assert len(names) == len(scores)
    assert all(json.dumps(canonical(call.config, whole=True)) for call in scores)
