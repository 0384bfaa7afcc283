"""The two or three checkpoints of a merge, opened and checked against each other before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drift.checkpoints import Checkpoint
from drift.merging.config import MergeError
from drift.merging.operands import Operands
from drift.merging.threshold import Read
from drift.sources import Source, check_fit, open_source, select_target

# Embeddings and lm_head stay the MLLM's: vocabularies differ and rows of unlike tokens can't be mixed (BR2V).
MERGED_GROUPS = ("attn", "mlp", "norm", "final_norm")


@dataclass(frozen=True)
class Inputs:
    """Checkpoints by role, and which tensors are merged.

    Attributes:
        roles: mllm, expert and, where the method needs it, base.
        names: canonical names of the tensors that are merged, in the model's order.
        warnings: differences that a merge can live with, each naming both values.
    """

    roles: Mapping[str, Source]
    names: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def mllm(self) -> Checkpoint:
        """The checkpoint whose layout and whose other tensors the result has."""
        return self.roles["mllm"].checkpoint

    @property
    def folders(self) -> dict[str, Path]:
        """Folder by role."""
        return {role: source.folder for role, source in self.roles.items()}

    def operands(self) -> dict[str, Operands]:
        """{the MLLM's name on disk: operands}, in the model's order."""
        on_disk, shape = self.roles["mllm"].index, self.roles["mllm"].shape
        return {
            on_disk[name]: Operands(name, shape(name), {role: _slices(it, name) for role, it in self.roles.items()})
            for name in self.names
        }

    def identity(self) -> dict[str, list[tuple[str, int, int]]]:
        """What tells an interrupted merge that its sources are still the same: path, size and time of each shard."""
        return {
            role: [(str(shard.path.resolve()), *_stamp(shard.path)) for shard in source.checkpoint.shards]
            for role, source in self.roles.items()
        }


def open_inputs(mllm: Path | str, expert: Path | str, base: Path | str | None) -> Inputs:
    """Opens the checkpoints, folders or hub ids, and checks that their LMs can be merged.

    Raises:
        CheckpointError: a folder is incomplete or corrupt, a tensor has another shape, or the heads another number.
        FamilyError: a family is unknown.
        CoverageError: a tensor that one side lacks.
        MergeError: the LMs are of different families.
    """
    words = {"mllm": mllm, "expert": expert, "base": base}
    roles = {role: open_source(word) for role, word in words.items() if word is not None}
    first = roles["mllm"]
    names = select_target(first, MERGED_GROUPS)
    warnings: list[str] = []
    for role, other in list(roles.items())[1:]:
        _check_family(first.checkpoint, other.checkpoint, role)
        check_fit(first, other, names)
        warnings += _differences(first, other, role)
    return Inputs(roles, tuple(names), tuple(warnings))


def _check_family(mllm: Checkpoint, other: Checkpoint, role: str) -> None:
    """Equal shapes don't make equal architectures: a Llama can have a Mistral's."""
    if mllm.family.text != other.family.text:
        raise MergeError(
            f"the LM of the MLLM {mllm.folder} is of family {mllm.family.text!r}, the {role} {other.folder} of "
            f"{other.family.text!r}; choose one of the same family"
        )


def _differences(mllm: Source, other: Source, role: str) -> list[str]:
    """What check_fit warns of in the log, as sentences for the summary and the model card."""
    ours, theirs = mllm.lm.rope_theta, other.lm.rope_theta
    if ours is None or theirs is None or ours == theirs:
        return []
    return [
        f"rope_theta is {ours:g} in the MLLM and {theirs:g} in the {role}: their attention weights were trained for "
        "different position encodings; the result keeps the MLLM's."
    ]


def _slices(source: Source, name: str) -> Read:
    return lambda start, stop: source.read_slice(name, start, stop)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
