"""The release's semantics without the release's memory: hooks that only watch each rank's local gradient.

The authors bias every micro-batch's local gradient with their own scale. The bias is linear in Delta, so the sum over
micro-batches and the mean over ranks is one coefficient times Delta: the hooks add up the strengths, and Delta itself
is added once per optimizer step, sharded. Only a cosine (`adaptive`) needs a parameter's whole Delta, in its hook.
"""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.utils.hooks import RemovableHandle

from drift.injection.bias import gradient_products
from drift.injection.coverage import Prior
from drift.injection.gather import SharedDelta
from drift.scaling import WITHOUT_DOT, get_scaling


class LocalStrengths:
    """Adds up, per parameter, the scaling strength of every local gradient since the last `take`."""

    def __init__(
        self,
        prior: Prior,
        scale: str,
        model: nn.Module,
        parameters: Mapping[str, nn.Parameter],
        deltas: SharedDelta,
    ) -> None:
        """Register one hook per parameter.

        Args:
            prior: shapes and norms of the Deltas.
            scale: a key of drift.scaling.SCALINGS.
            model: holds the parameters; asked for the unsharded ones under FSDP2.
            parameters: canonical name to parameter.
            deltas: asked for a parameter's Delta while its hook runs.
        """
        self._deltas = deltas
        self._strength = get_scaling(scale)
        self._needs_delta = scale not in WITHOUT_DOT
        self._handles: list[RemovableHandle] = []
        self._sums: dict[str, Tensor] = {}
        for name, tensor in hooked_tensors(model, parameters):
            self._handles.append(tensor.register_hook(self._observer(prior, name)))

    def _observer(self, prior: Prior, name: str) -> Callable[[Tensor], None]:
        norm, dtype = prior.norm(name), prior.dtype

        def observe(gradient: Tensor) -> None:
            flat = gradient.detach().reshape(-1)
            if self._needs_delta:
                delta = self._deltas.whole(name, flat.numel(), dtype, flat.device)
                squared, dot = gradient_products([flat], [delta])[0].unbind()
            else:
                squared = torch.linalg.vector_norm(flat, dtype=torch.float32).double().square()
                dot = torch.zeros_like(squared)
            strength = self._strength(squared.sqrt(), dot, torch.full_like(squared, norm))
            self._sums[name] = self._sums[name] + strength if name in self._sums else strength

        return observe

    def take(self, names: list[str], device: torch.device) -> Tensor:
        """The sums so far, (n,) float64, and start again from zero."""
        zero = torch.zeros((), dtype=torch.float64, device=device)
        sums = [self._sums[name].to(device) if name in self._sums else zero for name in names]
        self._sums = {}
        return torch.stack(sums)

    def remove(self) -> None:
        """Take every hook off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def hooked_tensors(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> Iterator[tuple[str, Tensor]]:
    """The leaf tensors that receive local gradients: the parameters, or what FSDP2 gathers them into.

    FSDP2 keeps one unsharded parameter per sharded one and gathers into it at every forward pass, so that a hook placed
    on it once sees every local gradient, before the reduce-scatter.
    """
    sharded = {id(p): name for name, p in parameters.items() if isinstance(p, DTensor)}
    yield from ((name, p) for name, p in parameters.items() if id(p) not in sharded)
    names = {path: sharded[id(p)] for path, p in model.named_parameters() if id(p) in sharded}
    for module in model.modules():
        if names and isinstance(module, FSDPModule):
            module.unshard()
            gathered = [path for path, p in model.named_parameters() if path in names and not isinstance(p, DTensor)]
            tensors = [model.get_parameter(path) for path in gathered]
            module.reshard()
            yield from zip([names.pop(path) for path in gathered], tensors, strict=True)
