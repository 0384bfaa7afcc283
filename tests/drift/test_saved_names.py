"""What a training saves goes by its source's names; a tied head that DeepSpeed hands over alone is no other name."""

import shutil

import pico
import pytest

from drift.errors import CheckpointError, FamilyError
from drift.training.model import check_saved


@pytest.fixture
def tied(tmp_path):
    """A tied checkpoint, and a copy with its head beside the embeddings."""
    source = pico.build_and_save("qwen2_vl", tmp_path / "source", tied=True)
    saved = shutil.copytree(source, tmp_path / "saved")
    pico.edit_tensors(saved, lambda tensors: tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()})
    return source, saved


def test_a_tied_head_may_be_saved_as_a_tensor_of_its_own(tied):
    source, saved = tied
    check_saved(saved, source)
    check_saved(source, source)


def test_another_name_is_refused_tied_or_not(tied, tmp_path):
    source, saved = tied
    pico.edit_tensors(saved, lambda tensors: {name.replace("q_proj", "q_proj_"): t for name, t in tensors.items()})
    with pytest.raises(FamilyError, match="q_proj_"):
        check_saved(saved, source)
    whole = pico.build_and_save("qwen2_vl", tmp_path / "whole")
    headless = shutil.copytree(whole, tmp_path / "headless")
    pico.edit_tensors(headless, lambda tensors: {n: t for n, t in tensors.items() if n != "lm_head.weight"})
    with pytest.raises(CheckpointError, match=r"saved under other names than .*: 1 differ, first 'lm_head.weight'"):
        check_saved(headless, whole)
