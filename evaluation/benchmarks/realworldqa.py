"""RealWorldQA: a letter among options."""

from evaluation.benchmarks.base import lettered

BENCHMARKS = (lettered("RealWorldQA", "4de008f55dc4fd008ca9e15321dc44b7"),)
