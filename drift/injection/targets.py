"""Where the bias enters each training loop: after gradients are averaged, before they are clipped.

DeepSpeed: `engine.step` at the accumulation boundary. accelerate and transformers' Trainer: after the
`accelerator.backward` that syncs gradients (Trainer's on_pre_optimizer_step comes after clipping, and under DeepSpeed
after the update). A plain module or FSDP2: the caller's own `apply()`.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import wraps
from typing import Any

from torch import nn
from torch.distributed.fsdp import FSDPModule

from drift.errors import TrainingError
from drift.injection.shards import GradientShards, ModuleShards

Action = Callable[[], None]
Observe = Callable[[], Mapping[str, float]]


class Seam(ABC):
    """One training loop, seen from the injection."""

    is_manual = False

    def __init__(self) -> None:
        self._undo = ExitStack()

    @abstractmethod
    def model(self) -> nn.Module:
        """The model as it is now, possibly wrapped."""

    @abstractmethod
    def owner(self) -> object | None:
        """What holds the gradients; a new object means new shards, None that it does not exist yet."""

    @abstractmethod
    def shards(self, parameters: Mapping[str, nn.Parameter]) -> GradientShards:
        """This rank's shards of `parameters`."""

    @abstractmethod
    def install(self, bind: Action, apply: Action, observe: Observe) -> None:
        """Call `bind` before every backward pass and `apply` once per optimizer step, before clipping.

        A loop that keeps a log adds what `observe` gives to each line that it writes, on all ranks together.
        """

    def progress(self) -> tuple[int | None, int | None]:
        """(optimizer steps taken, steps in all) where the loop knows them."""
        return None, None

    def close(self) -> None:
        """Put everything back."""
        self._undo.close()

    def _replace(self, owner: Any, name: str, method: Callable[..., Any]) -> None:
        """Shadow a bound method on one object until `close`, which puts back what was there."""
        own = vars(owner)
        if name in own:
            self._undo.callback(own.__setitem__, name, own[name])
        else:
            self._undo.callback(own.pop, name, None)
        own[name] = method


def open_seam(target: Any) -> Seam:
    """The seam of whatever the caller trains with.

    Args:
        target: a DeepSpeedEngine, a transformers Trainer, an accelerate Accelerator or a module.
    Raises:
        TrainingError: the target is none of these.
    """
    # Each framework can only be the target if it has been imported already; importing DeepSpeed costs seconds.
    for package, name, seam in _SEAMS:
        if package in sys.modules and isinstance(target, vars(sys.modules[package])[name]):
            return seam(target)
    if isinstance(target, nn.Module):
        return ModuleSeam(target)
    raise TrainingError(
        f"can't attach to a {type(target).__name__}; expected a DeepSpeedEngine, a transformers Trainer, "
        "an accelerate Accelerator or a torch module"
    )


class ModuleSeam(Seam):
    """A plain module, DDP or FSDP2: the caller says when, by `apply()`; nothing is wrapped."""

    is_manual = True

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = module

    def model(self) -> nn.Module:
        """The module, its FSDP2 parameters sharded."""
        return reshard(self._module)

    def owner(self) -> nn.Module:
        """The module."""
        return self._module

    def shards(self, parameters: Mapping[str, nn.Parameter]) -> GradientShards:
        """Gradients in `parameter.grad`."""
        return ModuleShards(parameters)

    def install(self, bind: Action, apply: Action, observe: Observe) -> None:
        """Nothing to wrap."""


def reshard(module: nn.Module) -> nn.Module:
    """The module, all its FSDP2 parameters sharded again; between forward and backward the root's are not."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()
    return module


class EngineSeam(Seam):
    """A DeepSpeed engine."""

    def __init__(self, engine: Any) -> None:
        super().__init__()
        self._engine = engine

    def model(self) -> nn.Module:
        """The module inside the engine."""
        return self._engine.module

    def owner(self) -> object | None:
        """The engine."""
        return self._engine

    def shards(self, parameters: Mapping[str, nn.Parameter]) -> GradientShards:
        """Whatever the engine's optimizer holds."""
        from drift.injection.zero import engine_shards

        return engine_shards(self._engine, parameters)

    def install(self, bind: Action, apply: Action, observe: Observe) -> None:
        """Wrap `engine.step`."""
        engine, step = self._engine, self._engine.step

        @wraps(step)
        def biased_step(*args: Any, **kwargs: Any) -> Any:
            if engine.is_gradient_accumulation_boundary():
                apply()
            return step(*args, **kwargs)

        self._replace(engine, "step", biased_step)

    def progress(self) -> tuple[int | None, int | None]:
        """The engine counts its steps."""
        return int(self._engine.global_steps), None


class AcceleratorSeam(Seam):
    """An Accelerator with one prepared model, or a Trainer's; DeepSpeed's engine appears only at `prepare`."""

    def __init__(self, accelerator: Any, trainer: Any | None = None) -> None:
        super().__init__()
        self._accelerator = accelerator
        self._trainer = trainer
        self._engine_seam: EngineSeam | None = None

    def _engine(self) -> Any | None:
        wrapper = vars(self._accelerator).get("deepspeed_engine_wrapped")
        return wrapper.engine if wrapper is not None else None

    def model(self) -> nn.Module:
        """The engine's module, the Trainer's model, or the one prepared model.

        Raises:
            TrainingError: the accelerator has prepared no model, or several.
        """
        engine = self._engine()
        if engine is not None:
            return engine.module
        if self._trainer is not None:
            return reshard(self._trainer.model)
        if len(self._accelerator._models) != 1:
            raise TrainingError(
                f"the accelerator holds {len(self._accelerator._models)} prepared models, expected 1; "
                "call attach(accelerator) after accelerator.prepare(model, ...)"
            )
        return reshard(self._accelerator._models[0])

    def owner(self) -> object | None:
        """The engine, or the prepared model; None while a Trainer has prepared neither."""
        engine = self._engine()
        if engine is not None:
            return engine
        return self._accelerator._models[-1] if self._accelerator._models else None

    def shards(self, parameters: Mapping[str, nn.Parameter]) -> GradientShards:
        """DeepSpeed's shards under DeepSpeed, else gradients in `parameter.grad`."""
        engine = self._engine()
        return (
            EngineSeam(engine).shards(parameters) if engine is not None else ModuleShards(parameters, self._loss_scale)
        )

    def _loss_scale(self) -> float:
        scaler = self._accelerator.scaler
        return float(scaler.get_scale()) if scaler is not None else 1.0

    def install(self, bind: Action, apply: Action, observe: Observe) -> None:
        """Wrap `accelerator.backward` and a Trainer's `log`; under DeepSpeed also the engine's `step`."""
        accelerator, backward = self._accelerator, self._accelerator.backward

        @wraps(backward)
        def biased_backward(*args: Any, **kwargs: Any) -> None:
            bind()
            self._follow_engine(bind, apply, observe)
            backward(*args, **kwargs)
            if self._engine_seam is None and accelerator.sync_gradients:
                apply()

        self._replace(accelerator, "backward", biased_backward)
        if self._trainer is not None:
            self._replace(self._trainer, "log", _observed(self._trainer.log, observe))

    def _follow_engine(self, bind: Action, apply: Action, observe: Observe) -> None:
        engine = self._engine()
        if engine is None or (self._engine_seam is not None and self._engine_seam.owner() is engine):
            return
        if self._engine_seam is not None:
            self._engine_seam.close()
        self._engine_seam = EngineSeam(engine)
        self._engine_seam.install(bind, apply, observe)

    def progress(self) -> tuple[int | None, int | None]:
        """The Trainer counts; a bare accelerator does not."""
        if self._trainer is None:
            return None, None
        state = self._trainer.state
        return int(state.global_step), int(state.max_steps) or None

    def close(self) -> None:
        """Unwrap `backward`, and the engine's `step`."""
        if self._engine_seam is not None:
            self._engine_seam.close()
            self._engine_seam = None
        super().close()


def _observed(log: Callable[..., None], observe: Observe) -> Callable[..., None]:
    """A Trainer's `log`, whose lines about training (they have a loss) hold what `observe` gives."""

    @wraps(log)
    def observed_log(logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            logs |= observe()
        log(logs, *args, **kwargs)

    return observed_log


_SEAMS: tuple[tuple[str, str, Callable[[Any], Seam]], ...] = (
    ("deepspeed.runtime.engine", "DeepSpeedEngine", EngineSeam),
    ("transformers.trainer", "Trainer", lambda trainer: AcceleratorSeam(trainer.accelerator, trainer)),
    ("accelerate.accelerator", "Accelerator", AcceleratorSeam),
)
