"""Where the bias enters each training loop: after gradients are averaged, before they are clipped.

DeepSpeed: `engine.step` at the accumulation boundary. accelerate and transformers' Trainer: after the
`accelerator.backward` that syncs gradients (Trainer's on_pre_optimizer_step comes after clipping, and under DeepSpeed
after the update). A plain module or FSDP2: the caller's own `apply()`.
"""

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Protocol

from torch import nn
from torch.distributed.fsdp import FSDPModule

from drift.errors import TrainingError
from drift.injection.shards import GradientShards, ModuleShards

Action = Callable[[], None]
Observe = Callable[[], Mapping[str, float]]


class Seam(Protocol):
    """One training loop, seen from the injection."""

    is_manual: bool

    def model(self) -> nn.Module:
        """The model as it is now, possibly wrapped."""
        ...

    def owner(self) -> object | None:
        """What holds the gradients; a new object means new shards, None that it does not exist yet."""
        ...

    def shards(self, parameters: Mapping[str, nn.Parameter]) -> GradientShards:
        """This rank's shards of `parameters`."""
        ...

    def install(self, bind: Action, apply: Action, observe: Observe) -> None:
        """Call `bind` before every backward pass and `apply` once per optimizer step, before clipping.

        A loop that keeps a log adds what `observe` gives to each line that it writes, on all ranks together.
        """
        ...

    def progress(self) -> tuple[int | None, int | None]:
        """(optimizer steps taken, steps in all) where the loop knows them."""
        ...

    def close(self) -> None:
        """Put everything back."""
        ...


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


def replace_method(owner: Any, name: str, method: Callable[..., Any]) -> Action:
    """Shadow a bound method on one object; the returned function puts back what was there."""
    shadowed = vars(owner).get(name)
    vars(owner)[name] = method

    def restore() -> None:
        if shadowed is None:
            vars(owner).pop(name, None)
        else:
            vars(owner)[name] = shadowed

    return restore


class ModuleSeam:
    """A plain module, DDP or FSDP2: the caller says when, by `apply()`."""

    is_manual = True

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def model(self) -> nn.Module:
        """The module, its FSDP2 parameters sharded."""
        return reshard(self._module)

    def owner(self) -> object | None:
        """The module."""
        return self._module

    def shards(self, parameters: Mapping[str, nn.Parameter]) -> GradientShards:
        """Gradients in `parameter.grad`."""
        return ModuleShards(parameters)

    def install(self, bind: Action, apply: Action, observe: Observe) -> None:
        """Nothing to wrap."""

    def progress(self) -> tuple[int | None, int | None]:
        """Unknown."""
        return None, None

    def close(self) -> None:
        """Nothing was wrapped."""


def reshard(module: nn.Module) -> nn.Module:
    """The module, all its FSDP2 parameters sharded again; between forward and backward the root's are not."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()
    return module


class EngineSeam:
    """A DeepSpeed engine."""

    is_manual = False

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._restore: list[Action] = []

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

        self._restore.append(replace_method(engine, "step", biased_step))

    def progress(self) -> tuple[int | None, int | None]:
        """The engine counts its steps."""
        return int(self._engine.global_steps), None

    def close(self) -> None:
        """Unwrap `engine.step`."""
        while self._restore:
            self._restore.pop()()


class AcceleratorSeam:
    """An Accelerator with one prepared model, or a Trainer's; DeepSpeed's engine appears only at `prepare`."""

    is_manual = False

    def __init__(self, accelerator: Any, trainer: Any | None = None) -> None:
        self._accelerator = accelerator
        self._trainer = trainer
        self._engine_seam: EngineSeam | None = None
        self._restore: list[Action] = []

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

        self._restore.append(replace_method(accelerator, "backward", biased_backward))
        if self._trainer is not None:
            self._restore.append(replace_method(self._trainer, "log", _observed(self._trainer.log, observe)))

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
        while self._restore:
            self._restore.pop()()


def _observed(log: Callable[..., None], observe: Observe) -> Callable[..., None]:
    """A Trainer's `log`, whose lines about training (they have a loss) hold what `observe` gives."""

    @wraps(log)
    def observed_log(logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            logs |= observe()
        log(logs, *args, **kwargs)

    return observed_log


def _trainer_seam(trainer: Any) -> Seam:
    return AcceleratorSeam(trainer.accelerator, trainer)


_SEAMS: tuple[tuple[str, str, Callable[[Any], Seam]], ...] = (
    ("deepspeed.runtime.engine", "DeepSpeedEngine", EngineSeam),
    ("transformers.trainer", "Trainer", _trainer_seam),
    ("accelerate.accelerator", "Accelerator", AcceleratorSeam),
)
