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

With a `rank`, a matrix is stored as that many leading singular pairs of its Delta, two vectors each (left, which holds
the singular values too, and right, fp32), and read as their product; vectors, such as biases, are stored whole.
"""

import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
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
from drift.singular import LowRank, leading, squared_norm
from drift.sources import Source, check_fit, open_source, select_target
from drift.threads import one_thread
from drift.writer import Writer

log = logging.getLogger(__name__)

FORMAT = 1
Stream = Callable[[str, Moments], Iterator[Tensor]]
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
        rank: int | None = None,
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
            rank: singular pairs that are kept of each matrix; None for all of Delta.
            dtype: bfloat16 or float32; factors of a low rank are float32.
        Raises:
            PriorError: an unknown kind or dtype, a rank below 1, or a base that is missing or not used.
            CoverageError: the expert lacks a selected tensor, or has one more.
            CheckpointError: shapes differ (names both), a source is broken, lm_head is tied, the disk is too small.
        """
        _check_request(kind, base, dtype)
        if rank is not None and rank < 1:
            raise PriorError(f"rank is {rank}, expected at least 1, or none for the whole Delta")
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
        if rank is not None:
            head |= {"rank": rank}
        with one_thread():
            _write(Path(out), recipe, kind, names, sources, head, rank)
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
        stored = [_specs(name, tuple(row["shape"]), metadata.get("rank")) for name, row in metadata["tensors"].items()]
        shapes = {spec.name: spec.shape for specs in stored for spec in specs}
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
        """The dtype that Delta is stored in; float32 where it is factors."""
        return torch.float32 if self.rank is not None else self._shard.spec(self.names[0]).dtype

    @property
    def rank(self) -> int | None:
        """Singular pairs that were kept of each matrix; None where Delta is whole."""
        return self.metadata.get("rank")

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of Delta, which is its parameter's."""
        return tuple(self._row(name)["shape"])

    def numel(self, name: str) -> int:
        """Number of elements of Delta."""
        return math.prod(self.shape(name))

    def norm(self, name: str) -> float:
        """L2 norm of Delta as stored."""
        return self._row(name)["delta"]

    def _row(self, name: str) -> dict[str, Any]:
        if name not in self.metadata["tensors"]:
            self._shard.spec(name)  # says which name is closest
        return self.metadata["tensors"][name]

    def read(self, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        """The whole Delta of one tensor."""
        return self.read_slice(name, 0, self.numel(name), dtype).view(self.shape(name))

    def read_slice(self, name: str, start: int, stop: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Elements [start, stop) of the flattened Delta, 1-D; reads only those bytes, or the factors."""
        if self._is_factored(name):
            return self._factors(name, start, stop)[:].to(dtype)
        return self._shard.read_slice(name, start, stop).to(dtype)

    def held(self, name: str, start: int, stop: int, device: torch.device) -> Tensor | LowRank:
        """Elements [start, stop) of the flattened Delta as it is stored, to be kept on a device and read in slices."""
        if self._is_factored(name):
            return self._factors(name, start, stop, device)
        return self.read_slice(name, start, stop, dtype=self.dtype).to(device)

    def _is_factored(self, name: str) -> bool:
        return self.rank is not None and len(self.shape(name)) == 2

    def _factors(self, name: str, start: int, stop: int, device: torch.device | None = None) -> LowRank:
        left, right = (
            self._shard.read_slice(spec.name, 0, spec.numel).view(spec.shape).to(device)
            for spec in _specs(name, self.shape(name), self.rank)
        )
        return LowRank(left, right, start, stop)


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


def _specs(name: str, shape: tuple[int, ...], rank: int | None, dtype: torch.dtype = torch.float32) -> list[TensorSpec]:
    """What lies on disk for a tensor: itself, or the two factors of a matrix."""
    if rank is None or len(shape) != 2:
        return [TensorSpec(name, shape, dtype)]
    kept = min(rank, *shape)
    sides = {"left": (shape[0], kept), "right": (kept, shape[1])}
    return [TensorSpec(f"{name}.{side}", own, torch.float32) for side, own in sides.items()]


def _stream(recipe: Recipe, kind: str) -> Stream:
    """What gives a tensor's direction chunk by chunk, adding to the moments on the way."""
    streams = {"random": recipe.stream_random, "shuffled": recipe.stream_shuffled}
    return streams.get(kind, recipe.stream)


def _factored(stream: Stream, name: str, shape: tuple[int, ...], rank: int, moments: Moments) -> list[Tensor]:
    """A matrix's Delta, unrounded, as (m, k) and (k, n); `moments` get the norm of their product."""
    delta = torch.cat(list(stream(name, moments))).view(shape)
    pairs = leading(delta, rank, name)
    factors = [pairs.left * pairs.values, pairs.right]
    moments.delta = squared_norm(*factors)
    return factors


def _write(
    out: Path,
    recipe: Recipe,
    kind: str,
    names: list[str],
    sources: dict[str, Source],
    head: dict[str, Any],
    rank: int | None,
) -> None:
    whole, unrounded = _stream(recipe, kind), _stream(replace(recipe, dtype=torch.float32), kind)
    shapes = {name: recipe.mllm.shape(name) for name in names}
    stored = {name: _specs(name, shape, rank, recipe.dtype) for name, shape in shapes.items()}
    specs = [spec for own in stored.values() for spec in own]
    rows: dict[str, dict[str, Any]] = {}
    with Writer(out, specs, stem="prior", max_shard_bytes=None, metadata={"kind": kind}) as writer:
        with tqdm(total=writer.nbytes, unit="B", unit_scale=True, desc=f"prior ({kind})", disable=None) as bar:
            for name, own in stored.items():
                moments = Moments()
                if rank is None or len(own) == 1:
                    for chunk in whole(name, moments):
                        writer.append(name, chunk)
                else:
                    for spec, factor in zip(own, _factored(unrounded, name, shapes[name], rank, moments), strict=True):
                        writer.append(spec.name, factor)
                rows[name] = {"shape": list(shapes[name]), **moments.row()}
                bar.update(sum(spec.nbytes for spec in own))
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
