"""A stage is a typed function from parameters and input artifacts to files; a call is one use of it in the plan.

This module knows no stage by name: `pipelines.stages` holds the table. Planning must not import torch, so a stage
names its function as "module:function" and the process that runs it imports it.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.fingerprint import fingerprint


@dataclass(frozen=True)
class Runtime:
    """How a stage runs on this machine; never part of an artifact's identity.

    Args:
        store: the folder of the artifacts.
        threads: compute threads a stage may use.
        launcher: local | torchrun | deepspeed: what starts a job of several processes.
        cache: where downloads are kept between runs.
        offline: refuse every download with an error.
    """

    store: Path
    threads: int = 1
    launcher: str = "local"
    cache: Path = Path("artifacts/.cache")
    offline: bool = False


@dataclass(frozen=True)
class Needs:
    """What a call takes of a machine; it places and orders work and is part of no artifact's identity.

    Args:
        gpus: of each node, for this call alone.
        cores, memory_gb: of each host, taken by a cluster as what the job may use.
        seconds: a guess at its wall time.
        retries: how often it is started again after a failure that may pass: a download, a lost node.
        nodes: that work on it together.
        gpu_memory_gb: the peak on each GPU.
        kept, passing: bytes in the store once it is made, and those beside them while it is being made.
        downloaded: bytes from the hub, which its own cache keeps.
        dollars: of a judge.
    """

    gpus: int = 0
    cores: int = 1
    memory_gb: int = 2
    seconds: float = 1.0
    retries: int = 0
    nodes: int = 1
    gpu_memory_gb: float = 0.0
    kept: float = 0.0
    passing: float = 0.0
    downloaded: float = 0.0
    dollars: float = 0.0

    def __str__(self) -> str:
        nodes = f"{self.nodes} nodes of " if self.nodes > 1 else ""
        time = f"{self.seconds:.3g} s" if self.seconds < 120 else f"{self.seconds / 60:.0f} min"
        again = f", {self.retries} retries" if self.retries else ""
        return f"{nodes}{self.gpus} GPUs, {self.cores} cores, {self.memory_gb} GB, {time}{again}"


@dataclass(frozen=True)
class Stage:
    """A row of the stage table.

    Args:
        version: raised whenever the same parameters and inputs would give other files.
        run: "module:function" of (params, runtime, inputs, out) -> values, a JSON-able dict for the manifest.
        seconds: a guess at its wall time where there is no such function.
        needs: what a call takes, of the call and of a machine's rates (`pipelines.resources`).
    """

    name: str
    version: int
    run: str
    seconds: float
    needs: Callable[..., Needs] | None = None

    def function(self) -> Callable[[Any, Runtime, Mapping[str, Path], Path], dict[str, Any]]:
        module, name = self.run.split(":")
        return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class Bind:
    """A parameter that is read from another artifact's values when the call is about to run."""

    source: "Call"
    value: str


@dataclass(frozen=True, eq=False)
class Call:
    """A stage applied to parameters, input calls and bound parameters (dotted field path -> Bind).

    `after` are calls that must have ended well before this one begins, and of which it reads nothing: no part of it.
    `config` is the one that asked for it: recorded with what is made, and no part of it either.
    """

    stage: Stage
    params: Any
    inputs: Mapping[str, "Call"] = field(default_factory=dict)
    binds: Mapping[str, Bind] = field(default_factory=dict)
    label: str = ""
    after: tuple["Call", ...] = ()
    config: Any = None

    @cached_property
    def key(self) -> str:
        """Equal for calls that would make the same artifact; the fingerprint itself where nothing is bound upstream."""
        inputs = {name: call.key for name, call in self.inputs.items()}
        inputs |= {f"bind {name}": f"{bind.source.key}.{bind.value}" for name, bind in self.binds.items()}
        return fingerprint(self.stage.name, self.stage.version, self.params, inputs)

    @cached_property
    def words(self) -> frozenset[str]:
        """Every text in its parameters and in those of what it is made from, by which it may name code."""
        return frozenset(_texts(self.params)).union(*(call.words for call in self.inputs.values()))

    @cached_property
    def needs(self) -> Needs:
        """What it takes of a machine."""
        return self.stage.needs(self) if self.stage.needs else Needs(seconds=self.stage.seconds)

    def needs_on(self, machine: Any) -> Needs:
        """What it takes of a machine with these rates (`pipelines.rates.Rates`)."""
        return self.stage.needs(self, machine) if self.stage.needs else Needs(seconds=self.stage.seconds)

    @property
    def sources(self) -> list["Call"]:
        """The calls that must be finished before this one."""
        return [*self.inputs.values(), *(bind.source for bind in self.binds.values()), *self.after]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif value is None or isinstance(value, (int, float)):
        return
    elif is_dataclass(value):
        for each in vars(value).values():
            yield from _texts(each)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from _texts(each)


def with_value(params: Any, path: str, value: Any) -> Any:
    """A copy of a frozen dataclass with the field at a dotted path replaced; the field must exist."""
    head, _, rest = path.partition(".")
    if not is_dataclass(params) or isinstance(params, type):
        raise TypeError(f"{path!r} does not lead into a dataclass but into {type(params).__name__}")
    return replace(params, **{head: with_value(getattr(params, head), rest, value) if rest else value})


def ordered(targets: list[Call]) -> list[Call]:
    """Every call that the targets need, each once by key, sources first."""
    seen: dict[str, Call] = {}

    def visit(call: Call) -> None:
        if call.key in seen:
            return
        for source in call.sources:
            visit(source)
        seen[call.key] = call

    for target in targets:
        visit(target)
    return list(seen.values())
