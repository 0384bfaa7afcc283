"""A parameter's whole Delta out of the slices that the ranks hold, for as long as somebody looks at it."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from drift.injection.shards import Span, world_size
from drift.singular import LowRank


class SharedDelta:
    """Reads whole Deltas; no rank keeps more than its own slices.

    All ranks ask for the same names in the same order: backward hooks do, since the ranks' graphs are alike.
    """

    def __init__(
        self, spans: Sequence[Span], deltas: Sequence[Tensor | LowRank], group: dist.ProcessGroup | None
    ) -> None:
        """Args:
        spans: which elements the slices are.
        deltas: flat, aligned with `spans`.
        group: the ranks that hold the rest.
        """
        self._group = group
        self._ranks = world_size(group)
        self._slices: dict[str, list[tuple[Span, Tensor | LowRank]]] = {}
        for span, delta in zip(spans, deltas, strict=True):
            self._slices.setdefault(span.name, []).append((span, delta))

    def whole(self, name: str, numel: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """The flat Delta of a parameter of `numel` elements; a collective unless every rank holds all of it."""
        slices = self._slices.get(name, [])
        if slices and slices[0][0].copies == self._ranks and slices[0][0].numel == numel:
            return slices[0][1][:].to(device)
        joined = torch.zeros(numel, dtype=dtype, device=device)
        for span, delta in slices:
            joined[span.start : span.stop] = delta[:]
        # Where nobody holds a byte it is 0, and a maximum leaves it the same however many ranks hold it.
        dist.all_reduce(joined.view(torch.uint8), op=dist.ReduceOp.MAX, group=self._group)
        return joined
