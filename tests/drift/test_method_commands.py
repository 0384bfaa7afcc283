"""`drift prior` and `drift merge` give what the library gives, and refuse in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from drift.commands import merge, prior
from drift.merging import merge_checkpoints
from drift.prior import ReasoningPrior

Pair = tuple[Path, Path, Path]


def test_a_prior_is_the_librarys_byte_for_byte(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    mllm, expert, _ = pair
    words = [f"mllm={mllm}", f"expert={expert}", f"out={tmp_path / 'a'}", "groups=mlp", "layers=1", "kind=random"]
    assert prior([*words, "seed=3"]) == 0
    ReasoningPrior.extract(mllm, expert, tmp_path / "b", groups=("mlp",), layers=(1,), kind="random", seed=3)
    line = json.loads(capsys.readouterr().out)
    assert line == {"prior": str(tmp_path / "a"), "kind": "random", "tensors": 3}
    name = "prior.safetensors"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_merge_is_the_librarys_byte_for_byte(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    mllm, expert, base = pair
    words = [f"mllm={mllm}", f"expert={expert}", f"base={base}", "method=dare_ties", "variant=paper"]
    assert merge([*words, f"out={tmp_path / 'a'}", "seed=2", "density=0.5", "rescale=none"]) == 0
    options = {"density": 0.5, "rescale": "none"}
    merge_checkpoints(
        "dare_ties", tmp_path / "b", mllm=mllm, expert=expert, base=base, variant="paper", seed=2, **options
    )
    line = json.loads(capsys.readouterr().out)
    assert (line["folder"], line["hyperparameters"]["density"]) == (str(tmp_path / "a"), 0.5)
    weights = [path.name for path in (tmp_path / "a").glob("*.safetensors")]
    assert weights
    for name in weights:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("method=tie", "did you mean 'ties'"),
        ("t=0.5", "ties (br2v) takes no hyperparameter 't'"),
        ("density=2", "density is 2.0"),
        ("densty=0.5", "did you mean 'density'"),
        ("top_layers=2.5", "top_layers='2.5'; expected a whole number"),
    ],
)
def test_a_merge_that_can_not_be_is_refused_in_one_line(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture, change: str, message: str
) -> None:
    roles = {"mllm": pair[0], "expert": pair[1], "base": pair[2], "out": tmp_path / "m", "method": "ties"}
    key, _, value = change.partition("=")
    assert merge([f"{role}={path}" for role, path in {**roles, key: value}.items()]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "m").exists()


def test_a_prior_that_can_not_be_is_refused_in_one_line(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = [f"mllm={pair[0]}", f"expert={pair[1]}", f"out={tmp_path / 'p'}"]
    assert prior([*words, "kind=hierarchical"]) == 2
    assert "needs base=" in capsys.readouterr().err
    assert prior([*words, "groups=mpl"]) == 2
    assert "did you mean 'mlp'" in capsys.readouterr().err


@pytest.mark.parametrize("command", [prior, merge])
def test_folders_the_wrong_way_round_are_refused_and_nothing_is_written(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture, command: Callable[[list[str]], int]
) -> None:
    mllm, expert, base = pair
    more = [f"base={base}", "method=task_arithmetic"] if command is merge else []
    assert command([f"mllm={expert}", f"expert={mllm}", f"out={tmp_path / 'out'}", *more]) == 2
    error = capsys.readouterr().err
    assert f"mllm={expert} is a text model (" in error
    assert "they are the wrong way round" in error
    assert not (tmp_path / "out").exists()
