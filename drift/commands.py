"""The method as two commands, `drift prior` and `drift merge`: reasoning prior and merged checkpoint from folders.

torch is imported when there is something to compute: help and a mistyped key cost no seconds.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from drift import words
from drift.errors import FamilyError
from drift.families import family_of
from drift.merging.config import MERGED_GROUPS, Hyperparameters
from drift.selection import DEFAULT_GROUPS


@dataclass(frozen=True)
class Prior:
    """Computes the reasoning prior Delta = expert - MLLM, tensor by tensor, and prints what it covers as JSON.

    `ReasoningPrior.load` opens the folder, and `GradientInjector` adds it to the gradients of any Trainer.

    Example:
        drift prior mllm=Qwen2.5-VL-7B-Instruct expert=DeepSeek-R1-Distill-Qwen-7B out=prior

    Attributes:
        mllm: the multimodal model.
        expert: the reasoning expert, of the same LM architecture.
        out: folder to write; new or empty.
        base: the model that the expert was tuned from; for kind=hierarchical, and only for it.
        kind: direct, hierarchical, random, shuffled or reversed (drift.prior).
        groups: module groups, of attn, mlp, norm, final_norm, lm_head, embed_tokens.
        layers: layer numbers from 0; all without it.
        seed: of kind=random and kind=shuffled.
        rank: singular pairs that are kept of each matrix; all of Delta without it.
    """

    mllm: str
    expert: str
    out: Path
    base: str | None = None
    kind: str = "direct"
    groups: tuple[str, ...] = DEFAULT_GROUPS
    layers: tuple[int, ...] | None = None
    seed: int = 0
    rank: int | None = None


@dataclass(frozen=True)
class Merge:
    r"""Merges the expert into the MLLM's language model and prints what was merged as JSON.

    The result opens wherever the MLLM does. A merge that was killed goes on where it was.

    Example:
        drift merge method=ties density=0.2 out=merged mllm=Qwen2.5-VL-7B-Instruct base=Qwen2.5-7B \
            expert=DeepSeek-R1-Distill-Qwen-7B

    Attributes:
        method: ties, task_arithmetic, dare_linear, ...: a row of drift/merging/config.py; a wrong one is answered
            with all that there are.
        mllm: the multimodal model.
        expert: the reasoning expert, of the same LM architecture.
        out: folder to write; new or empty.
        base: the model that both were tuned from; needed where a method works on task vectors.
        variant: br2v (the DRIFT paper's Table 9), paper (the method's own) or mergekit.
        seed: of DARE's masks.
        groups: module groups that are merged, of attn, mlp, norm, final_norm; the others stay the MLLM's.
        layers: layer numbers from 0; all without it.
        hyperparameters: each is a key; a method takes those of its own, others are refused.
    """

    method: str
    mllm: str
    expert: str
    out: Path
    base: str | None = None
    variant: str = "br2v"
    seed: int = 0
    groups: tuple[str, ...] = MERGED_GROUPS
    layers: tuple[int, ...] | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict, metadata=words.keys_of(Hyperparameters))


def extract(command: Prior) -> str:
    """Extracts the prior; where it lies and what it covers."""
    from drift.prior import ReasoningPrior

    _refuse_swapped(command.mllm, command.expert)
    options = asdict(command)
    prior = ReasoningPrior.extract(options.pop("mllm"), options.pop("expert"), options.pop("out"), **options)
    return json.dumps({"prior": str(prior.folder), "kind": prior.kind, "tensors": len(prior.names)})


def combine(command: Merge) -> str:
    """Merges; where the checkpoint lies, how many tensors were merged, and with which hyper-parameters."""
    from drift.merging import merge_checkpoints

    _refuse_swapped(command.mllm, command.expert)
    options = asdict(command)
    method, out, hyperparameters = options.pop("method"), options.pop("out"), options.pop("hyperparameters")
    summary = merge_checkpoints(method, out, **options, **hyperparameters)
    return json.dumps(asdict(summary) | {"folder": str(summary.folder)})


def _refuse_swapped(mllm: str, expert: str) -> None:
    """Refuses folders that are the wrong way round: the difference of their weights would point away from the expert.

    Raises:
        FamilyError: the expert is multimodal and the MLLM is not.
    """
    folders = Path(mllm), Path(expert)
    if not all(folder.is_dir() for folder in folders):
        return  # one is to be fetched, or is not there, which is told where it is opened
    first, second = map(family_of, folders)
    if second.sized_by and not first.sized_by:
        raise FamilyError(
            f"mllm={mllm} is a text model ({first.name}) and expert={expert} is multimodal ({second.name}); "
            "they are the wrong way round"
        )


prior = partial(words.run, command=Prior, body=extract)  # `drift prior`
merge = partial(words.run, command=Merge, body=combine)  # `drift merge`
