"""Fixtures shared by the tests of `drift`: one thread, and a saved Qwen2.5-VL pair (the builders are in pico.py)."""

from pathlib import Path

import pico
import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Bit-exact comparisons need a fixed order of sums, and workers share the cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(mllm, expert, base) folders: a bf16 pico Qwen2.5-VL, and two Qwen2 that fit its LM. Read-only."""
    return pico.save_pair("qwen2_5_vl", tmp_path_factory.mktemp("pair"), dtype=torch.bfloat16)


@pytest.fixture
def own_pair(tmp_path: Path) -> tuple[Path, Path, Path]:
    """The same pair in the test's own folder, to be broken at will."""
    return pico.save_pair("qwen2_5_vl", tmp_path / "pair", dtype=torch.bfloat16)
