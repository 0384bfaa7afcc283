"""The reasoning prior: Delta per LM tensor, extracted once from two checkpoints and read back as slices.

Section 3.3 of the paper; `hierarchical` is its Table 10. A prior is a folder: prior.safetensors (raw Delta under
canonical LM names, bf16 by default) and prior.json (norms, cosines, sources, what was left out). Delta is stored as it
is: any rescaling, such as the release's `normalize_delta_to_param`, happens where it is used.

kinds
    direct        expert - MLLM
    hierarchical  expert - base, the model that the expert was tuned from
    random        a Gaussian direction per tensor with the norm of the direct Delta
    shuffled      the direct Delta's entries in a random order, per tensor
    reversed      MLLM - expert
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from drift.choices import KINDS
from drift.deltas import Moments, Recipe
from drift.errors import DriftError, closest
from drift.safetensors_io import Shard, TensorSpec
from drift.selection import DEFAULT_GROUPS, check_coverage
from drift.sources import Source, check_fit, open_source, select_target
from drift.threads import one_thread
from drift.writer import Writer

log = logging.getLogger(__name__)

FORMAT = 1
_STORED = (torch.bfloat16, torch.float32)  # fp16 loses Deltas below 1e-5


class PriorError(DriftError):
    """A prior was asked for that is not defined, or a folder holds none."""


class ReasoningPrior:
    """Delta per canonical LM name, on disk; only what is asked for is read."""

    def __init__(self, folder: Path, metadata: dict[str, Any], shard: Shard):
        self.folder = folder
        self.metadata = metadata
        self._shard = shard

    @classmethod
    def extract(
        cls,
        mllm: Path | str,
        expert: Path | str,
        out: Path | str,
        *,
        base: Path | str | None = None,
        kind: str = "direct",
        groups: Sequence[str] = DEFAULT_GROUPS,
        layers: Sequence[int] | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.bfloat16,
    ) -> "ReasoningPrior":
        """Computes Delta over the selected LM tensors, streaming, and writes it whole or not at all.

        Args:
            mllm: folder or hub id (owner/name[@revision]) of the multimodal model; a text model serves too.
            expert: folder or hub id of the reasoning expert, of the same LM architecture.
            out: folder to write; must not exist or be empty.
            base: folder or hub id of the model that the expert was tuned from; for `hierarchical`, and only for it.
            kind: see the module.
            groups: module groups (drift.selection).
            layers: layer numbers; None for all.
            seed: for `random` and `shuffled`.
            dtype: bfloat16 or float32.
        Raises:
            PriorError: an unknown kind or dtype, or a base that is missing or not used.
            CoverageError: the expert lacks a selected tensor, or has one more.
            CheckpointError: shapes differ (names both), a source is broken, lm_head is tied, the disk is too small.
        """
        _check_request(kind, base, dtype)
        sources = {"mllm": open_source(mllm), "expert": open_source(expert)}
        if base is not None:
            sources["base"] = open_source(base)
        names = select_target(sources["mllm"], groups, layers)
        for role in ("expert", "base"):
            if role in sources:
                check_fit(sources["mllm"], sources[role], names)
        sign = -1.0 if kind == "reversed" else 1.0
        recipe = Recipe(sources["mllm"], sources["expert"], sources.get("base"), sign, dtype, seed)
        head = {"format": FORMAT, "kind": kind, "groups": list(groups), "seed": seed, "dtype": str(dtype)}
        with one_thread():
            _write(Path(out), recipe, kind, names, sources, head)
        log.info("prior %s (%s) covers %d/%d LM tensors", out, kind, len(names), len(sources["mllm"].index))
        return cls.load(out)

    @classmethod
    def load(cls, folder: Path | str) -> "ReasoningPrior":
        """Opens a prior's folder; reads its metadata and header only.

        Raises:
            PriorError: no prior there, or one of another format.
            CheckpointError: prior.safetensors is truncated.
            CoverageError: the two files name different tensors.
        """
        folder = Path(folder)
        try:
            metadata = json.loads((folder / "prior.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise PriorError(
                f"no prior.json in {folder}; expected a folder written by ReasoningPrior.extract"
            ) from error
        if metadata["format"] != FORMAT:
            raise PriorError(f"{folder} has prior format {metadata['format']}, expected {FORMAT}; extract it again")
        shard = Shard(folder / "prior.safetensors")
        shapes = {name: tuple(row["shape"]) for name, row in metadata["tensors"].items()}
        there = {name: spec.shape for name, spec in shard.specs.items()}
        check_coverage(shapes, there, f"prior.json against prior.safetensors in {folder}")
        return cls(folder, metadata, shard)

    @property
    def names(self) -> list[str]:
        """Canonical LM names, in the model's order."""
        return list(self.metadata["tensors"])

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return self.metadata["kind"]

    @property
    def groups(self) -> tuple[str, ...]:
        """The module groups that were selected."""
        return tuple(self.metadata["groups"])

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that Delta is stored in."""
        return self._shard.spec(self.names[0]).dtype

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of Delta, which is its parameter's."""
        return self._shard.spec(name).shape

    def numel(self, name: str) -> int:
        """Number of elements of Delta."""
        return self._shard.spec(name).numel

    def norm(self, name: str) -> float:
        """L2 norm of Delta as stored."""
        self._shard.spec(name)
        return self.metadata["tensors"][name]["delta"]

    def read(self, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        """The whole Delta of one tensor."""
        return self.read_slice(name, 0, self.numel(name), dtype).view(self.shape(name))

    def read_slice(self, name: str, start: int, stop: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Elements [start, stop) of the flattened Delta, 1-D; reads only those bytes."""
        return self._shard.read_slice(name, start, stop).to(dtype)


def _check_request(kind: str, base: Path | str | None, dtype: torch.dtype) -> None:
    if kind not in KINDS:
        raise PriorError(f"unknown kind of prior {kind!r}; {closest(kind, KINDS)}")
    if kind == "hierarchical" and base is None:
        raise PriorError(
            "kind 'hierarchical' needs base=, the model that the expert was tuned from; it is never guessed"
        )
    if kind != "hierarchical" and base is not None:
        raise PriorError(f"base={base} was given, but kind {kind!r} has no use for it; only 'hierarchical' has")
    if dtype not in _STORED:
        raise PriorError(f"a prior is stored as one of {', '.join(map(str, _STORED))}, not {dtype}")


def _write(
    out: Path, recipe: Recipe, kind: str, names: list[str], sources: dict[str, Source], head: dict[str, Any]
) -> None:
    streams = {"random": recipe.stream_random, "shuffled": recipe.stream_shuffled}
    stream = streams.get(kind, recipe.stream)
    specs = [TensorSpec(name, recipe.mllm.shape(name), recipe.dtype) for name in names]
    rows: dict[str, dict[str, Any]] = {}
    with Writer(out, specs, stem="prior", max_shard_bytes=None, metadata={"kind": kind}) as writer:
        with tqdm(total=writer.nbytes, unit="B", unit_scale=True, desc=f"prior ({kind})", disable=None) as bar:
            for spec in specs:
                moments = Moments()
                for chunk in stream(spec.name, moments):
                    writer.append(spec.name, chunk)
                rows[spec.name] = {"shape": list(spec.shape), **moments.row()}
                bar.update(spec.nbytes)
        body = {
            "sources": {role: source.describe() for role, source in sources.items()},
            "left_out": [name for name in recipe.mllm.index if name not in rows],
            "not_lm": len(recipe.mllm.checkpoint.names) - len(recipe.mllm.index),
            "tensors": rows,
        }
        (writer.partial / "prior.json").write_text(json.dumps({**head, **body}, indent=1) + "\n", encoding="utf-8")
    zeros = [name for name, row in rows.items() if row["delta"] == 0.0]
    if zeros:
        log.warning(
            "Delta is all zeros in %d of %d tensors, first %r: nothing pulls there", len(zeros), len(rows), zeros[0]
        )
