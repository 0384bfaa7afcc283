"""A sweep runs every point in every seed once, and puts means, spreads and intervals side by side."""

from pathlib import Path
from typing import Any

import pandas
import pytest

from pipelines import revisions, run
from pipelines.errors import ConfigError
from pipelines.sweep import planned, pooled, read, write


def test_every_point_is_run_in_every_seed() -> None:
    runs = planned(read(["method=drift", "injection.alpha=-0.1,-0.3", "train.epochs=2,4", "seeds=[0,1]"]))
    assert [tuple(each.point.values()) for each in runs[::2]] == [
        ("-0.1", "2"),
        ("-0.1", "4"),
        ("-0.3", "2"),
        ("-0.3", "4"),
    ]
    assert [each.config.seed for each in runs] == [0, 1] * 4
    assert len({each.call.key for each in runs}) == 8


@pytest.mark.parametrize(
    ("words", "seeds"), [(["seed=1,2"], [1, 2]), (["seed=1"], [1]), (["seeds=[2]"], [2]), ([], [0, 1, 2])]
)
def test_seeds_may_be_given_as_hydra_s_axis_too(words: list[str], seeds: list[int]) -> None:
    assert [each.config.seed for each in planned(read(["method=sft", *words]))] == seeds


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method=sft", "injection.alpha=-0.1,-0.3"], "injection.alpha is no key of the injection that was chosen"),
        (["method=sft", "engine.settings.batch_size=64,128"], "are the same run: one of the axes changes nothing"),
        (
            ["profile=paper", "method=ties", "seeds=[0,1]"],
            r"seeds 0 and 1 of ties seed=1 are the same artifact: .* seed=0",
        ),
        (["method=sft", "seed=x,1"], "seed=x,1: 'x' is no seed; expected whole numbers from 0 on"),
        (["injection.alfa=-0.1,-0.3"], "unknown key 'injection.alfa': did you mean 'injection.alpha'"),
    ],
)
def test_an_axis_that_changes_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.setattr(revisions, "resolve", lambda config, online: config)  # the hub is out of reach
    with pytest.raises(ConfigError, match=message):
        planned(read(words))


def row(alpha: str, seed: int, score: float, w_eff: float | None) -> dict[str, Any]:
    named = {"name": f"drift alpha={alpha}", "injection.alpha": alpha, "seed": seed}
    return named | {"MathVista": score, "average": score, "w_eff": w_eff, "n": 100, "fingerprint": "f" * 64}


def test_a_point_s_interval_is_student_s_over_its_seeds() -> None:
    (first, second) = pooled(
        [row("-0.1", 0, 70.0, 0.3), row("-0.1", 1, 74.0, 0.5), row("-0.3", 0, 80.0, 0.8)], ["injection.alpha"]
    )
    assert (first["average"], first["sd"], first["seeds"], first["n"], first["w_eff"]) == (72.0, 2.83, 2, 200, 0.4)
    half = 12.706 * 2.0  # t(0.975, 1) times the standard error of two values four apart
    assert (first["low"], first["high"]) == (pytest.approx(72 - half, abs=0.01), pytest.approx(72 + half, abs=0.01))
    assert (second["average"], second["sd"], second["low"], second["high"]) == (80.0, None, None, None)


@pytest.mark.parametrize("w_eff", [0.3, None])
def test_a_numeric_axis_has_its_curve(tmp_path: Path, w_eff: float | None) -> None:
    rows = [row(alpha, seed, 70.0 + seed, w_eff) for alpha in ("-1.0", "-0.3") for seed in (0, 1)]
    write(rows, pooled(rows, ["injection.alpha"]), ["injection.alpha"], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "curve.png", "curve.svg", "points.csv", "runs.csv", "sweep.md",
    ]  # fmt: skip
    assert pandas.read_csv(tmp_path / "points.csv")["average"].tolist() == [70.5, 70.5]
    assert len(pandas.read_csv(tmp_path / "runs.csv")) == 4


def test_words_have_no_curve(tmp_path: Path) -> None:
    rows = [row(scale, 0, 70.0, 0.3) for scale in ("adaptive", "gradnorm")]
    write(rows, pooled(rows, ["injection.alpha"]), ["injection.alpha"], tmp_path)
    assert not (tmp_path / "curve.png").exists()


@pytest.mark.parametrize(
    "words", [["-m", "train.epochs=2,4"], ["seeds=[0,1]"], ["--multirun", "seed=0,1"]], ids=lambda words: words[0]
)
def test_run_hands_several_runs_to_the_sweep(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(run, "sweep", lambda words: asked.append(list(words)) or 0)
    assert run.run(["method=sft", *words]) == 0
    assert asked == [["method=sft", *(word for word in words if not word.startswith("-"))]]
