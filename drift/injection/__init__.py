"""Putting the prior into a live optimizer step, and measuring what it did: see injector and effect."""

from drift.injection.effect import RunObserver, effective_weight
from drift.injection.injector import GradientInjector

__all__ = ["GradientInjector", "RunObserver", "effective_weight"]
