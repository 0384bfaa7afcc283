"""Merging whole checkpoints: any size in bounded memory, resumable, published whole or not at all.

The LM's attention, MLP and norm tensors are merged in float32 and stored in the MLLM's dtype; vision tower, projector,
embeddings and lm_head are the MLLM's, bit for bit. The result has the MLLM's tensor names, so it opens wherever the
MLLM does.

    merge_checkpoints("ties", out, mllm=vl, expert=r1, base=qwen, density=0.2)
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from torch import Tensor
from tqdm import tqdm

from drift.merging.card import copy_side_files, merge_config, model_card
from drift.merging.config import (
    Hyperparameters,
    MergeError,
    Method,
    Value,
    describe,
    get_method,
    resolve_hyperparameters,
)
from drift.merging.inputs import Inputs, open_inputs
from drift.merging.methods import check_base, plan_merge
from drift.merging.operands import Merged, count_layers
from drift.safetensors_io import TensorSpec
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
        chunk_elements: how many elements are held at a time; changes no byte of the result.
        hyperparameters: those of the method's row.
    Raises:
        MergeError: unknown method, variant or hyperparameter, a value out of range, no base, unlike families.
        CheckpointError, CoverageError, FamilyError: sources that are incomplete or don't fit; not enough disk.
    """
    row = get_method(method, variant)
    chosen = resolve_hyperparameters(row, hyperparameters)
    check_base(row, base is not None)
    if chunk_elements < 1:
        raise MergeError(f"chunk_elements is {chunk_elements}; it must be at least 1")
    if base is not None and not row.needs_base:
        log.info("%s (%s) needs no base; %s is not read", method, variant, base)
    inputs = open_inputs(mllm, expert, base if row.needs_base else None)
    with one_thread():
        return _run(_Job(row, chosen, inputs, seed, chunk_elements), Path(out))


@dataclass(frozen=True)
class _Job:
    """One merge, checked and ready to run."""

    method: Method
    hyperparameters: Hyperparameters
    inputs: Inputs
    seed: int
    chunk: int

    @property
    def used(self) -> dict[str, Value]:
        """The hyperparameters as numbers for a model of this depth."""
        return describe(self.method, self.hyperparameters, count_layers(self.inputs.names))

    @property
    def resume_key(self) -> str:
        """Equal for equal results: method, hyperparameters, seed and the state of the sources; not the chunk."""
        identity = [self.method.key, self.method.variant, self.used, self.seed, self.inputs.identity()]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _run(job: _Job, out: Path) -> MergeSummary:
    """Plans every tensor, then streams all of them, merged or copied, through the writer."""
    mllm, operands = job.inputs.mllm, job.inputs.operands()
    specs = [mllm.spec(name) for name in mllm.names]
    summary = MergeSummary(out, len(operands), len(specs) - len(operands), job.used, job.inputs.warnings)
    with Writer(out, specs, resume_key=job.resume_key) as writer:
        planned = plan_merge(job.method, job.hyperparameters, list(operands.values()), job.seed)
        merged, done = dict(zip(operands, planned, strict=True)), writer.done
        with tqdm(total=writer.nbytes, unit="B", unit_scale=True, desc=job.method.key, disable=None) as progress:
            for spec in specs:
                if spec.name not in done:
                    for part in _slices(job, spec, merged.get(spec.name)):
                        writer.append(spec.name, part)
                progress.update(spec.nbytes)
        _write_side_files(job, writer.partial, summary)
    log.info(
        "%s (%s): %d merged, %d copied, in %s", job.method.key, job.method.variant, summary.merged, summary.copied, out
    )
    return summary


def _slices(job: _Job, spec: TensorSpec, merged: Merged | None) -> Iterator[Tensor]:
    """The result's tensor in consecutive flat pieces."""
    step = spec.numel if merged is not None and merged.is_whole else job.chunk
    for start in range(0, spec.numel, step):
        stop = min(start + step, spec.numel)
        if merged is None or merged.is_copy:
            yield job.inputs.mllm.read_slice(spec.name, start, stop)
        else:
            yield merged.read(start, stop)


def _write_side_files(job: _Job, folder: Path, summary: MergeSummary) -> None:
    """Config, tokenizer, processor, the merge's YAML and the model card."""
    mllm = job.inputs.mllm
    dtype = mllm.dtype(next(iter(job.inputs.operands())))
    config = merge_config(job.method, job.used, job.inputs.folders, job.seed, dtype)
    copy_side_files(mllm.folder, folder)
    (folder / "mergekit_config.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    notes = [f"{summary.merged} tensors merged; {summary.copied} are the MLLM's, bit for bit.", *summary.warnings]
    (folder / "README.md").write_text(
        model_card(job.method, config, job.inputs.folders, "\n\n".join(notes)), encoding="utf-8"
    )
