"""The two or three checkpoints of a merge, opened and checked against each other before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from drift.merging.config import MergeError
from drift.merging.operands import Operands
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
    def mllm(self) -> Source:
        """The checkpoint whose layout and whose other tensors the result has."""
        return self.roles["mllm"]

    @property
    def folders(self) -> dict[str, Path]:
        """Folder by role."""
        return {role: source.folder for role, source in self.roles.items()}

    def operands(self) -> list[Operands]:
        """What is merged, in the model's order."""
        return [
            Operands(name, self.mllm.shape(name), {r: partial(s.read_slice, name) for r, s in self.roles.items()})
            for name in self.names
        ]

    def identity(self) -> dict[str, list[tuple[str, int, int]]]:
        """What tells an interrupted merge that its sources are still the same: path, size and time of each shard."""
        return {role: [_stamp(shard.path) for shard in source.checkpoint.shards] for role, source in self.roles.items()}


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
        if first.checkpoint.family.text != other.checkpoint.family.text:
            # Equal shapes don't make equal architectures: a Llama can have a Mistral's.
            raise MergeError(
                f"the LM of the MLLM {first.folder} is of family {first.checkpoint.family.text!r}, the {role} "
                f"{other.folder} of {other.checkpoint.family.text!r}; choose one of the same family"
            )
        check_fit(first, other, names)
        warnings += _differences(first, other, role)
    return Inputs(roles, tuple(names), tuple(warnings))


def _differences(mllm: Source, other: Source, role: str) -> list[str]:
    """What check_fit warns of in the log, as sentences for the summary and the model card."""
    ours, theirs = mllm.lm.rope_theta, other.lm.rope_theta
    if ours is None or theirs is None or ours == theirs:
        return []
    return [
        f"rope_theta is {ours:g} in the MLLM and {theirs:g} in the {role}: their attention weights were trained for "
        "different position encodings; the result keeps the MLLM's."
    ]


def _stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path.resolve()), status.st_size, status.st_mtime_ns
