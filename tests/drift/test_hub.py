"""A checkpoint by its hub id is the checkpoint in its folder, and one that can't be had says how to get it."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from drift import ReasoningPrior
from drift.errors import CheckpointError
from drift.geometry import layer_geometry
from drift.hub import checkpoint_folder
from drift.merging import merge_checkpoints

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a hub that nothing answers for."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return cache


def cached(hub: Path, repo: str, folder: Path, branch: str = "main") -> Path:
    """`folder` as huggingface_hub keeps it: a ref to a commit, and the commit's snapshot."""
    home = hub / f"models--{repo.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / branch).write_text(COMMIT)
    (home / "snapshots").mkdir()
    return folder.rename(home / "snapshots" / COMMIT)


def test_a_hub_id_serves_wherever_a_folder_does(hub, own_pair, tmp_path):
    mllm, expert, base = own_pair
    by_folder = ReasoningPrior.extract(mllm, expert, tmp_path / "by_folder")
    rows = layer_geometry(mllm, expert)
    cached(hub, "Qwen/Qwen2.5-VL-7B-Instruct", mllm)
    cached(hub, "deepseek-ai/R1", expert, branch="v1")
    words = {"mllm": "Qwen/Qwen2.5-VL-7B-Instruct", "expert": "deepseek-ai/R1@v1"}
    prior = ReasoningPrior.extract(*words.values(), tmp_path / "by_id")
    assert prior.metadata["tensors"] == by_folder.metadata["tensors"]
    assert prior.metadata["sources"]["mllm"]["revision"] == COMMIT
    assert layer_geometry(*words.values()) == rows
    summary = merge_checkpoints("ties", tmp_path / "merged", **words, base=base)
    assert "mllm: `Qwen/Qwen2.5-VL-7B-Instruct`" in (summary.folder / "README.md").read_text()


def test_a_commit_serves_as_revision(hub, own_pair):
    folder = cached(hub, "a/b", own_pair[0])
    assert checkpoint_folder(f"a/b@{COMMIT}") == folder


def test_a_folder_of_that_name_goes_before_the_hub(hub, pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    Path("a/b").symlink_to(pair[0])
    assert checkpoint_folder("a/b") == Path("a/b")


def test_a_model_that_is_not_cached_gives_the_download_command(hub):
    with pytest.raises(CheckpointError, match=r"the hub can't give a/b at main .*: hf download a/b$"):
        checkpoint_folder("a/b")
    with pytest.raises(CheckpointError, match=r"hf download a/b --revision v2$"):
        checkpoint_folder("a/b@v2")


def test_a_cached_tokenizer_is_no_checkpoint(hub, own_pair):
    for file in own_pair[0].glob("*.safetensors"):
        file.unlink()
    cached(hub, "a/b", own_pair[0])
    with pytest.raises(CheckpointError, match="hf download a/b"):
        ReasoningPrior.extract("a/b", own_pair[1], own_pair[1].parent / "prior")


def test_a_hub_that_can_not_be_reached_is_one_clear_error(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match="hf download a/b"):
        checkpoint_folder("a/b")


@pytest.mark.parametrize("word", ["Qwen2.5-VL-7B-Instruct", "/no/such/folder", "../b"])
def test_what_is_neither_folder_nor_id_is_refused(hub, word):
    with pytest.raises(CheckpointError, match=rf"no checkpoint folder at {word}, and it is no hub id .*owner/name"):
        merge_checkpoints("linear", "merged", mllm=word, expert=word)


@pytest.mark.parametrize("word", ["a--b/c", "a/b.git"])
def test_an_id_that_the_hub_does_not_allow_is_refused(hub, word):
    with pytest.raises(CheckpointError, match="the hub can't give"):
        checkpoint_folder(word)
