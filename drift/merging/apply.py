"""Merging whole checkpoints: any size in bounded memory, resumable, published whole or not at all.

The LM's attention, MLP and norm tensors are merged in float32 and stored in the MLLM's dtype; vision tower, projector,
embeddings and lm_head are the MLLM's, bit for bit. The result has the MLLM's tensor names, so it opens wherever the
MLLM does.

    merge_checkpoints("ties", out, mllm=vl, expert=r1, base=qwen, density=0.2)
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml
from torch import Tensor
from tqdm import tqdm

from drift.checkpoints import Checkpoint
from drift.merging.card import copy_side_files, merge_config, model_card
from drift.merging.config import (
    MERGED_GROUPS,
    MergeError,
    Method,
    Value,
    describe,
    get_method,
    resolve_hyperparameters,
)
from drift.merging.methods import check_base, plan_merge
from drift.merging.operands import Merge, Merged, Operands
from drift.safetensors_io import TensorSpec
from drift.sources import Source, check_fit, open_source, select_target
from drift.threads import one_thread
from drift.writer import Writer

log = logging.getLogger(__name__)

# Long enough to hide the cost of a call, short enough that slices stay in the cache and their pages with the allocator:
# on 106M parameters a linear merge takes 0.28 CPU seconds at 2^17, 0.44 at 2^18, 0.52 at 2^20.
CHUNK_ELEMENTS = 1 << 17


@dataclass(frozen=True)
class MergeSummary:
    """What a merge did.

    Attributes:
        folder: the merged checkpoint.
        merged: tensors that were merged.
        copied: tensors that are the MLLM's.
        hyperparameters: those used, defaults included; what scales with the depth as the number it came to.
        warnings: differences between the sources' configs, each naming both values.
    """

    folder: Path
    merged: int
    copied: int
    hyperparameters: dict[str, Value]
    warnings: tuple[str, ...]


def merge_checkpoints(
    method: str,
    out: Path | str,
    *,
    mllm: Path | str,
    expert: Path | str,
    base: Path | str | None = None,
    variant: str = "br2v",
    seed: int = 0,
    groups: Sequence[str] = MERGED_GROUPS,
    layers: Sequence[int] | None = None,
    chunk_elements: int = CHUNK_ELEMENTS,
    **hyperparameters: object,
) -> MergeSummary:
    """Merges the expert into the MLLM's language model and writes a checkpoint that `from_pretrained` opens.

    A run that was killed leaves `.NAME.resumable.partial` beside `out`; the same call goes on after its last finished
    tensor and gives the same bytes.

    Args:
        method: a key of METHODS (drift.merging.config): linear, task_arithmetic, ties, dare_linear, ...
        out: folder to write; must not exist or be empty.
        mllm, expert: checkpoint folders or hub ids (owner/name[@revision]) whose LMs have the same shapes.
        base: the text model (or MLLM) that both were tuned from; needed where the method works on task vectors.
        variant: br2v (the paper's Table 9), paper (the method's own) or mergekit.
        seed: of DARE's masks.
        groups: module groups whose tensors are merged; the others stay the MLLM's.
        layers: layer numbers from 0; None for all.
        chunk_elements: how many elements are held at a time; changes no byte of the result.
        hyperparameters: those of the method's row.
    Raises:
        MergeError: unknown method, variant or hyperparameter, a value out of range, no base, unlike families; layers
            for a method that chooses them itself.
        SelectionError: an unknown group or layer.
        CheckpointError, CoverageError, FamilyError: sources that are incomplete or don't fit; not enough disk.
    """
    row = get_method(method, variant)
    chosen = resolve_hyperparameters(row, hyperparameters)
    check_base(row, base is not None)
    if chunk_elements < 1:
        raise MergeError(f"chunk_elements is {chunk_elements}; it must be at least 1")
    if layers is not None and row.layers != "all":
        raise MergeError(f"{method} ({variant}) says itself which layers it merges; leave layers={list(layers)} out")
    if base is not None and not row.needs_base:
        log.info("%s (%s) needs no base; %s is not read", method, variant, base)
    inputs = _open_inputs(mllm, expert, base if row.needs_base else None, groups, layers)
    with one_thread():
        return _run(Merge(row, chosen, inputs.operands(), seed), inputs, chunk_elements, Path(out))


@dataclass(frozen=True)
class _Inputs:
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


def _open_inputs(
    mllm: Path | str,
    expert: Path | str,
    base: Path | str | None,
    groups: Sequence[str],
    layers: Sequence[int] | None,
) -> _Inputs:
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
    names = select_target(first, groups, layers)
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
    return _Inputs(roles, tuple(names), tuple(warnings))


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


def _run(merge: Merge, inputs: _Inputs, chunk: int, out: Path) -> MergeSummary:
    """Plans every tensor, then streams all of them, merged or copied, through the writer."""
    method, mllm = merge.method, inputs.mllm.checkpoint
    specs = [mllm.spec(name) for name in mllm.names]
    count = len(merge.tensors)
    used = describe(method, merge.chosen, merge.layers)
    summary = MergeSummary(out, count, len(specs) - count, used, inputs.warnings)
    # Equal for equal results: method, hyperparameters as numbers, seed and the state of the sources; not the chunk.
    identity = [method.key, method.variant, used, merge.seed, inputs.names, inputs.identity()]
    resume_key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    with Writer(out, specs, resume_key=resume_key) as writer:
        planned = plan_merge(method, merge.chosen, merge.tensors, merge.seed)
        on_disk = [inputs.mllm.index[each.name] for each in merge.tensors]
        merged, done = dict(zip(on_disk, planned, strict=True)), writer.done
        with tqdm(total=writer.nbytes, unit="B", unit_scale=True, desc=method.key, disable=None) as progress:
            for spec in specs:
                if spec.name not in done:
                    for part in _slices(mllm, spec, merged.get(spec.name), chunk):
                        writer.append(spec.name, part)
                progress.update(spec.nbytes)
        config = merge_config(method, used, inputs.folders, merge.seed, mllm.spec(on_disk[0]).dtype)
        _write_side_files(writer.partial, method, config, inputs, summary)
    log.info("%s (%s): %d merged, %d copied, in %s", method.key, method.variant, count, summary.copied, out)
    return summary


def _slices(mllm: Checkpoint, spec: TensorSpec, merged: Merged | None, chunk: int) -> Iterator[Tensor]:
    """The result's tensor in consecutive flat pieces."""
    step = spec.numel if merged is not None and merged.is_whole else chunk
    for start in range(0, spec.numel, step):
        stop = min(start + step, spec.numel)
        if merged is None or merged.is_copy:
            yield mllm.read_slice(spec.name, start, stop)
        else:
            yield merged.read(start, stop)


def _write_side_files(
    folder: Path, method: Method, config: dict[str, object], inputs: _Inputs, summary: MergeSummary
) -> None:
    """Config, tokenizer, processor, the merge's YAML and the model card."""
    copy_side_files(inputs.mllm.folder, folder)
    (folder / "mergekit_config.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    notes = [f"{summary.merged} tensors merged; {summary.copied} are the MLLM's, bit for bit.", *summary.warnings]
    card = model_card(method, config, inputs.folders, "\n\n".join(notes))
    (folder / "README.md").write_text(card, encoding="utf-8")
