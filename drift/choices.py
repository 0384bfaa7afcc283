"""The words that configs and code share: what a prior is, how it is injected, what reads images; imports no torch."""

from typing import Literal, get_args

Group = Literal["attn", "mlp", "norm", "lm_head"]
PriorKind = Literal["direct", "hierarchical", "random", "shuffled", "reversed"]
Scale = Literal["absolute", "gradnorm", "adaptive", "adaptive_toward", "pull"]
Semantics = Literal["step", "micro_batch"]
Schedule = Literal["constant", "linear", "cosine"]
ImageBackend = Literal["auto", "pil"]  # auto is torchvision where the family's processor wants it; pil needs none

KINDS: tuple[str, ...] = get_args(PriorKind)
SEMANTICS: tuple[str, ...] = get_args(Semantics)
SCHEDULES: tuple[str, ...] = get_args(Schedule)

DEFAULT_SEMANTICS: Semantics = "micro_batch"  # the authors' release, behind the paper's numbers
