"""DRIFT: reasoning priors from weight differences, merged into a model or injected into its gradients.

`from drift import ReasoningPrior, GradientInjector` is the public entrance; importing `drift` alone loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drift.injection import GradientInjector, RunObserver, effective_weight
    from drift.prior import ReasoningPrior

__all__ = ["GradientInjector", "ReasoningPrior", "RunObserver", "effective_weight"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch and transformers take seconds."""
    if name not in __all__:
        raise AttributeError(f"module 'drift' has no attribute {name!r}")
    return vars(import_module("drift.prior" if name == "ReasoningPrior" else "drift.injection"))[name]
