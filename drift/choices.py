"""The words for what a prior is and how it is injected, for configs and code alike; imports no torch."""

from typing import Literal, get_args

Group = Literal["attn", "mlp", "norm", "lm_head"]
PriorKind = Literal["direct", "hierarchical", "random", "shuffled", "reversed"]
Scale = Literal["absolute", "gradnorm", "adaptive"]
Semantics = Literal["step", "micro_batch"]
Schedule = Literal["constant", "linear", "cosine"]

KINDS: tuple[str, ...] = get_args(PriorKind)
SEMANTICS: tuple[str, ...] = get_args(Semantics)
SCHEDULES: tuple[str, ...] = get_args(Schedule)

DEFAULT_SEMANTICS: Semantics = "micro_batch"  # the authors' release, behind the paper's numbers
