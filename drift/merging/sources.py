"""The two or three checkpoints of a merge, opened and checked against each other before anything is written."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drift.checkpoints import Checkpoint
from drift.families import lm_config
from drift.merging.config import MergeError
from drift.merging.plans import Operands
from drift.merging.threshold import Read
from drift.selection import check_coverage, select

log = logging.getLogger(__name__)

# Embeddings and lm_head stay the MLLM's: vocabularies differ and rows of unlike tokens can't be mixed (BR2V).
MERGED_GROUPS = ("attn", "mlp", "norm", "final_norm")


@dataclass(frozen=True)
class Sources:
    """Checkpoints by role, with {canonical name: name on disk} of the tensors that are merged.

    Attributes:
        checkpoints: mllm, expert and, where the method needs it, base.
        names: role to {canonical name: name on disk}, the same keys in each.
        warnings: differences that a merge can live with, each naming both values.
    """

    checkpoints: Mapping[str, Checkpoint]
    names: Mapping[str, Mapping[str, str]]
    warnings: tuple[str, ...]

    @property
    def mllm(self) -> Checkpoint:
        """The checkpoint whose layout and whose other tensors the result has."""
        return self.checkpoints["mllm"]

    def operands(self) -> dict[str, Operands]:
        """{the MLLM's name on disk: operands}, in the model's order."""
        return {
            name: Operands(
                canonical,
                self.mllm.shape(name),
                {role: _slices(folder, self.names[role][canonical]) for role, folder in self.checkpoints.items()},
            )
            for canonical, name in self.names["mllm"].items()
        }

    def identity(self) -> dict[str, list[tuple[str, int, int]]]:
        """What tells an interrupted merge that its sources are still the same: path, size and time of each shard."""
        return {
            role: [(str(shard.path.resolve()), *_stamp(shard.path)) for shard in folder.shards]
            for role, folder in self.checkpoints.items()
        }


def open_sources(mllm: Path, expert: Path, base: Path | None) -> Sources:
    """Opens the folders and checks that their LMs can be merged.

    Raises:
        CheckpointError: a folder is incomplete or corrupt.
        FamilyError: a family is unknown.
        CoverageError: a tensor that one side lacks or has in another shape; names it and both shapes.
        MergeError: the LMs are of different families, or split their heads differently.
    """
    folders = {"mllm": mllm, "expert": expert} | ({} if base is None else {"base": base})
    checkpoints = {role: Checkpoint(folder) for role, folder in folders.items()}
    names = {role: _merged_names(checkpoint) for role, checkpoint in checkpoints.items()}
    first = checkpoints["mllm"]
    warnings: list[str] = []
    for role, other in list(checkpoints.items())[1:]:
        _check_architecture(first, other, role)
        check_coverage(
            {name: first.shape(on_disk) for name, on_disk in names["mllm"].items()},
            {name: other.shape(on_disk) for name, on_disk in names[role].items()},
            f"LM of the MLLM {first.folder} against the {role} {other.folder}",
        )
        warnings += _differences(first, other, role)
    for warning in warnings:
        log.warning(warning)
    return Sources(checkpoints, names, tuple(warnings))


def _merged_names(checkpoint: Checkpoint) -> dict[str, str]:
    """{canonical: on disk} of the tensors that a merge touches."""
    names = checkpoint.lm_names()
    return {name: names[name] for name in select(names, MERGED_GROUPS)}


def _check_architecture(mllm: Checkpoint, other: Checkpoint, role: str) -> None:
    """Equal shapes can hide another head count; the configs tell."""
    if mllm.family.text != other.family.text:
        raise MergeError(
            f"the LM of the MLLM {mllm.folder} is of family {mllm.family.text!r}, the {role} {other.folder} of "
            f"{other.family.text!r}; choose one of the same family"
        )
    ours, theirs = lm_config(mllm.config), lm_config(other.config)
    for field in ("num_attention_heads", "num_key_value_heads"):
        a, b = getattr(ours, field), getattr(theirs, field)
        if a is not None and b is not None and a != b:
            raise MergeError(f"{field} is {a} in the MLLM {mllm.folder} and {b} in the {role} {other.folder}")


def _differences(mllm: Checkpoint, other: Checkpoint, role: str) -> list[str]:
    """Settings that change what equal weights compute."""
    ours, theirs = lm_config(mllm.config).rope_theta, lm_config(other.config).rope_theta
    if ours is None or theirs is None or ours == theirs:
        return []
    return [
        f"rope_theta is {ours:g} in the MLLM {mllm.folder} and {theirs:g} in the {role} {other.folder}: "
        "their attention weights expect different position encodings; the result keeps the MLLM's"
    ]


def _slices(checkpoint: Checkpoint, name: str) -> Read:
    return lambda start, stop: checkpoint.read_slice(name, start, stop)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
