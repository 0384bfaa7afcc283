"""Checkpoints seen through canonical LM names, and the checks that two of them are the same LM.

What can't be mended is an error (other tensors, shapes, head counts); what only the user can judge is a warning
(another rope_theta: R1-Distill-Qwen-7B has 1e4, Qwen2.5-VL-7B has 1e6).
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from drift.checkpoints import Checkpoint
from drift.errors import CheckpointError
from drift.families import LMConfig, lm_config
from drift.hub import checkpoint_folder
from drift.selection import check_coverage, check_groups, group_of, select

log = logging.getLogger(__name__)

HEAD, EMBEDDINGS = "lm_head.weight", "model.embed_tokens.weight"
_VOCABULARY = (HEAD, EMBEDDINGS)


@dataclass(frozen=True)
class Source:
    """One checkpoint folder, addressed by canonical LM names.

    A tied model has no `lm_head.weight` of its own; where it is only read from, its head is its embeddings.
    """

    checkpoint: Checkpoint
    index: dict[str, str]

    @cached_property
    def lm(self) -> LMConfig:
        """The LM's numbers in config.json."""
        return lm_config(self.checkpoint.config)

    @property
    def folder(self) -> Path:
        """Where it was read from."""
        return self.checkpoint.folder

    @property
    def is_tied(self) -> bool:
        """True if the output projection is the input embeddings, by config or because there is no head on disk."""
        return self.lm.is_tied or HEAD not in self.index

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor by its canonical name."""
        return self.checkpoint.spec(self._on_disk(name)).shape

    def read_slice(self, name: str, start: int, stop: int) -> Tensor:
        """Elements [start, stop) of the flattened tensor, in the stored dtype."""
        return self.checkpoint.read_slice(self._on_disk(name), start, stop)

    def has(self, name: str) -> bool:
        """True if the LM holds this tensor (a tied head counts as held)."""
        return name in self.index or (name == HEAD and EMBEDDINGS in self.index)

    def describe(self) -> dict[str, Any]:
        """What identifies it: name, family, dtypes, config, sha256 per shard, and the revision in the Hub's cache.

        Reads every byte for the sha256, except in the Hugging Face cache.
        """
        folder = self.folder.resolve()
        is_snapshot = folder.parent.name == "snapshots"
        return {
            "name": folder.parent.parent.name if is_snapshot else folder.name,
            "revision": folder.name if is_snapshot else None,
            "family": self.checkpoint.family.name,
            "dtypes": sorted({str(self.checkpoint.spec(name).dtype) for name in self.index.values()}),
            "config": asdict(self.lm),
            "sha256": self.checkpoint.fingerprint(),
        }

    def _on_disk(self, name: str) -> str:
        if name == HEAD and self.is_tied:
            return self.index[EMBEDDINGS]
        return self.index[name]


def open_source(word: Path | str) -> Source:
    """Opens a checkpoint, text or multimodal, by its own family.

    Args:
        word: a folder or a hub id (drift.hub).
    Raises:
        CheckpointError: there is none, a shard is missing or broken, or a tensor is spelled twice.
        FamilyError: the family is unknown, or there is no LM in the checkpoint.
    """
    checkpoint = Checkpoint(checkpoint_folder(word))
    return Source(checkpoint, checkpoint.lm_names())


def select_target(mllm: Source, groups: Sequence[str], layers: Sequence[int] | None = None) -> list[str]:
    """The LM tensors of the MLLM that a prior or a merge shall act on.

    Raises:
        SelectionError: an unknown group or layer.
        CheckpointError: lm_head was selected and is tied to the embeddings.
    """
    check_groups(groups)
    if "lm_head" in groups and mllm.is_tied:
        raise CheckpointError(
            f"lm_head was selected, but in {mllm.folder} it is tied to the input embeddings and would move them too; "
            "leave lm_head out of the groups"
        )
    names = mllm.index if not mllm.is_tied else set(mllm.index) - {HEAD}
    return select(names, groups, layers)


def check_fit(mllm: Source, other: Source, names: Iterable[str]) -> None:
    """`other` holds exactly the selected tensors of the MLLM, in the same shapes; a rope difference is warned of.

    Raises:
        CoverageError: `other` lacks a tensor, or has one in the selected groups that the MLLM lacks.
        CheckpointError: a tensor has another shape, or the attention another number of heads; names both.
    """
    names = list(names)
    groups = {group_of(name) for name in names}
    there = {name for name in names if other.has(name)}
    extra = {name for name in other.index if name not in _VOCABULARY and group_of(name) in groups} - set(mllm.index)
    check_coverage(names, there | extra, f"{mllm.folder} against {other.folder}")
    for name in names:
        if mllm.shape(name) != other.shape(name):
            hint = (
                "; leave it out: the vocabularies differ" if name in _VOCABULARY else "; they are not one architecture"
            )
            raise CheckpointError(
                f"{name!r} has shape {mllm.shape(name)} in {mllm.folder} "
                f"and {other.shape(name)} in {other.folder}{hint}"
            )
    _compare_configs(mllm, other)


def _compare_configs(mllm: Source, other: Source) -> None:
    for key in ("num_attention_heads", "num_key_value_heads"):
        ours, theirs = vars(mllm.lm)[key], vars(other.lm)[key]
        if None not in (ours, theirs) and ours != theirs:
            raise CheckpointError(
                f"{key} is {ours} in {mllm.folder} and {theirs} in {other.folder}; the heads don't align"
            )
    if None in (mllm.lm.rope_theta, other.lm.rope_theta):
        log.info("rope_theta can't be compared: a config.json of %s and %s does not give it", mllm.folder, other.folder)
    elif mllm.lm.rope_theta != other.lm.rope_theta:
        log.warning(
            "rope_theta is %s in %s and %s in %s: their attention weights were trained for other position encodings",
            mllm.lm.rope_theta,
            mllm.folder,
            other.lm.rope_theta,
            other.folder,
        )
