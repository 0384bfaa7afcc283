"""Putting the prior into a live optimizer step, and measuring what it did: see injector and effect."""

from drift.injection.effect import EffectiveWeight, effective_weight
from drift.injection.injector import GradientInjector

__all__ = ["EffectiveWeight", "GradientInjector", "effective_weight"]
