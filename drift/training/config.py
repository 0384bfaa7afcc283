"""What one fine-tuning job is: model, data, out, the schedule, the injection. Plain dataclasses, no torch.

The defaults are the paper's (section 4.2 and the authors' yaml: 3 epochs, 1e-6 cosine, warm-up 0.05, batch 1, bf16 on
ZeRO-2, 262144 pixels, 32768 tokens, vision tower and projector frozen). The number of processes is not stated there.
A job travels to the worker processes as JSON; unknown keys are refused.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drift.choices import DEFAULT_SEMANTICS, SCALES, SCHEDULES, SEMANTICS
from drift.errors import TrainingError, closest
from drift.files import write_whole
from drift.selection import GROUPS

PRECISIONS = ("bf16", "fp32")
SCHEDULERS = ("cosine", "linear", "constant", "constant_with_warmup")
OVERLONG = ("truncate", "drop", "error")
OFFLOADS = ("none", "cpu")
IMAGE_BACKENDS = ("auto", "pil")
ATTENTION = ("sdpa", "eager", "flash_attention_2")


@dataclass(frozen=True)
class TrainingConfig:
    """The schedule of one full fine-tuning of the language model.

    overlong says what happens to an example of more than cutoff_len tokens: "truncate" cuts its end, "drop" leaves it
    out, "error" stops; the first two are counted in summary.json. save_steps 0 writes no checkpoint.
    Differs from LLaMA-Factory: it cuts prompt and reply each in part; at the paper's cutoff hardly any example is cut.
    """

    epochs: int = 3
    learning_rate: float = 1e-6
    scheduler: str = "cosine"
    warmup_ratio: float = 0.05
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    max_grad_norm: float = 1.0
    per_device_batch_size: int = 1
    gradient_accumulation_steps: int = 1
    zero_stage: int = 2
    offload: str = "none"
    precision: str = "bf16"
    cutoff_len: int = 32768
    image_max_pixels: int | None = 262144
    image_min_pixels: int | None = None
    overlong: str = "truncate"
    add_tokens: tuple[str, ...] = ("<think>", "</think>")
    train_vision: bool = False
    train_projector: bool = False
    gradient_checkpointing: bool = True
    save_steps: int = 500
    logging_steps: int = 10
    seed: int = 42
    image_backend: str = "auto"
    attn_implementation: str = "sdpa"

    def __post_init__(self) -> None:
        """Raises:
        TrainingError: every field that is out of range, in one message.
        """
        _raise_all("training", [*self._choice_errors(), *self._range_errors()])

    def _choice_errors(self) -> list[str]:
        choices: dict[str, Sequence[object]] = {
            "scheduler": SCHEDULERS,
            "zero_stage": (0, 1, 2, 3),
            "offload": OFFLOADS,
            "precision": PRECISIONS,
            "overlong": OVERLONG,
            "image_backend": IMAGE_BACKENDS,
            "attn_implementation": ATTENTION,
        }
        errors = _unknown_choices(dataclasses.asdict(self), choices)
        if self.offload == "cpu" and self.zero_stage == 0:
            errors.append("offload 'cpu' needs zero_stage 1, 2 or 3, found 0")
        return errors

    def _range_errors(self) -> list[str]:
        positive = ("epochs", "per_device_batch_size", "gradient_accumulation_steps", "cutoff_len", "logging_steps")
        fields = dataclasses.asdict(self)
        errors = [f"{name} must be at least 1, found {fields[name]}" for name in positive if fields[name] < 1]
        for name in ("learning_rate", "warmup_ratio", "weight_decay", "max_grad_norm", "save_steps"):
            if not fields[name] >= 0:
                errors.append(f"{name} must not be negative, found {fields[name]}")
        if self.warmup_ratio >= 1:
            errors.append(f"warmup_ratio is a share of the steps in [0, 1), found {self.warmup_ratio}")
        if self.logging_steps >= 1 and self.save_steps % self.logging_steps:
            # The logged loss is a mean since the last line; a checkpoint inside that window would lose its start.
            errors.append(f"save_steps {self.save_steps} must be a multiple of logging_steps {self.logging_steps}")
        return errors


@dataclass(frozen=True)
class InjectionConfig:
    """How the prior enters the gradient; scale "none" is plain SFT and registers nothing.

    group_alpha is alpha by module group, where it is not `alpha`.
    """

    scale: str = "none"
    alpha: float = -1.0
    semantics: str = DEFAULT_SEMANTICS
    rescale_to_parameter: bool = False
    alpha_schedule: str = "constant"
    group_alpha: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises:
        TrainingError: an unknown scale, semantics, schedule or group, or an alpha that is no finite number.
        """
        choices = {"scale": ("none", *SCALES), "semantics": SEMANTICS, "alpha_schedule": SCHEDULES}
        errors = _unknown_choices(dataclasses.asdict(self), choices)
        errors += [
            f"unknown group in group_alpha {name!r}; {closest(name, GROUPS)}"
            for name in self.group_alpha
            if name not in GROUPS
        ]
        alphas = {"alpha": self.alpha} | {f"group_alpha {name}": alpha for name, alpha in self.group_alpha.items()}
        for name, alpha in alphas.items():
            if not isinstance(alpha, int | float) or not math.isfinite(alpha):
                errors.append(f"{name} must be a finite number, found {alpha!r}")
        _raise_all("injection", errors)


@dataclass(frozen=True)
class TrainingJob:
    """One run: a model folder, a sharegpt JSON, the folder to fill, and the prior (None: w_eff is not observed)."""

    model: Path
    data: Path
    out: Path
    prior: Path | None = None
    training: TrainingConfig = field(default_factory=TrainingConfig)
    injection: InjectionConfig = field(default_factory=InjectionConfig)
    processes: int = 1

    def __post_init__(self) -> None:
        """Raises:
        TrainingError: an injection without a prior, or no process.
        """
        if self.injection.scale != "none" and self.prior is None:
            raise TrainingError(f"injection.scale is {self.injection.scale!r} but no prior folder is given")
        if self.processes < 1:
            raise TrainingError(f"processes must be at least 1, found {self.processes}")

    def write(self, path: Path) -> None:
        """The job as JSON, whole or not at all."""
        write_whole(path, json.dumps(dataclasses.asdict(self), indent=2, default=str) + "\n")

    @classmethod
    def read(cls, path: Path) -> "TrainingJob":
        """The job that `write` wrote.

        Raises:
            TrainingError: no such file, not JSON, an unknown or missing key.
        """
        try:
            fields = json.loads(path.read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise TrainingError(f"can't read the job {path}: {error}") from error
        return _build(cls, fields, _NESTED)


@dataclass(frozen=True)
class TrainingResult:
    """What summary.json says; w_eff is None without a prior, covered and expected are 0 without an injection."""

    steps: int
    loss: float
    w_eff: float | None
    covered: int
    expected: int
    examples: int
    truncated: int
    dropped: int
    tokens: int
    seconds: float


def _build(cls: type, fields: Mapping, converters: Mapping[str, Callable]) -> "TrainingJob":
    """A dataclass from JSON fields, refusing keys it does not have."""
    known = {f.name: f for f in dataclasses.fields(cls)}
    for name in fields:
        if name not in known:
            raise TrainingError(f"unknown key {name!r} in {cls.__name__}; {closest(name, known)}")
    values = {n: converters[n](v) if n in converters and v is not None else v for n, v in fields.items()}
    try:
        return cls(**values)
    except TypeError as error:
        raise TrainingError(f"{cls.__name__}: {error}") from error


_NESTED: dict[str, Callable] = {
    "model": Path,
    "data": Path,
    "out": Path,
    "prior": Path,
    "training": lambda fields: _build(TrainingConfig, fields, {"add_tokens": tuple}),
    "injection": lambda fields: _build(InjectionConfig, fields, {}),
}


def _unknown_choices(fields: Mapping[str, object], choices: Mapping[str, Sequence[object]]) -> list[str]:
    return [
        f"unknown {name} {fields[name]!r}; {closest(str(fields[name]), known)}"
        for name, known in choices.items()
        if fields[name] not in known
    ]


def _raise_all(what: str, errors: Sequence[str]) -> None:
    if errors:
        raise TrainingError(f"{what}: " + "; ".join(errors))
