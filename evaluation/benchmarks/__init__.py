"""The benchmarks, a module each; whatever module lies in this folder is one, so that a new file is all that is needed.

A module offers `BENCHMARKS`, a tuple of `Benchmark`s (evaluation.benchmarks.base says what their members are). Light on
purpose: a planner imports this without torch, pandas or scipy.
"""

import pkgutil
from importlib import import_module

from drift.errors import DataError, closest
from evaluation.benchmarks.base import Benchmark, build_prompt
from evaluation.judging.prompts import Protocol

__all__ = ["ALIASES", "BENCHMARKS", "Benchmark", "build_prompt", "get_benchmark", "protocol_of", "register"]

BENCHMARKS: dict[str, Benchmark] = {}
ALIASES: dict[str, str] = {}


def register(benchmark: Benchmark) -> None:
    """From now on `get_benchmark` knows this benchmark by its name and its aliases.

    Raises:
        DataError: one of its names is taken.
    """
    taken = [name for name in (benchmark.name, *benchmark.aliases) if name in BENCHMARKS or name in ALIASES]
    if taken:
        raise DataError(f"benchmark {benchmark.name!r}: {taken} are names of others; choose new ones")
    BENCHMARKS[benchmark.name] = benchmark
    ALIASES.update(dict.fromkeys(benchmark.aliases, benchmark.name))


def get_benchmark(name: str) -> Benchmark:
    """The benchmark called `name`, aliases resolved.

    Raises:
        DataError: no such benchmark; the message names the closest one.
    """
    benchmark = BENCHMARKS.get(ALIASES.get(name, name))
    if benchmark is None:
        raise DataError(f"unknown benchmark {name!r}: {closest(name, [*BENCHMARKS, *ALIASES])}")
    return benchmark


def protocol_of(name: str) -> Protocol:
    """How a judge is asked about the benchmark called `name`."""
    return get_benchmark(name).protocol


for _module in pkgutil.iter_modules(__path__):
    if _module.name != "base":
        for _benchmark in import_module(f"{__name__}.{_module.name}").BENCHMARKS:
            register(_benchmark)
