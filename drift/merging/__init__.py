"""Merging checkpoints without training: the baselines that DRIFT is compared with (Tables 1, 2 and 9).

`merge_checkpoints` is loaded on first use, so that `drift.merging.config` can be imported without torch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drift.merging.apply import MergeSummary, merge_checkpoints

__all__ = ["MergeSummary", "merge_checkpoints"]


def __getattr__(name: str) -> object:
    """The public names, imported when first asked for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from drift.merging import apply

    return vars(apply)[name]
