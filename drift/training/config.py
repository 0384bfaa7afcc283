"""What one fine-tuning job is: model, data, out, the schedule, the injection. Plain dataclasses, no torch.

The defaults are the paper's (section 4.2 and the authors' yaml: 3 epochs, 1e-6 cosine, warm-up 0.05, batch 1 a device,
bf16 on ZeRO-2, 262144 pixels, 32768 tokens, vision tower and projector frozen). The number of devices is not stated
there; a global batch of 8 is assumed.
A job travels to the worker processes as JSON; unknown keys are refused.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from drift.choices import DEFAULT_SEMANTICS, ImageBackend, Scale, Schedule, Semantics
from drift.config import RUNTIME, UNLESS_DEFAULT, Count, LessThanOne, Natural, NotNegative, Positive, Strength, faults
from drift.errors import TrainingError, closest
from drift.files import write_whole
from drift.selection import GROUPS

AUTO = "auto"


@dataclass(frozen=True)
class TrainingConfig:
    """The schedule of one full fine-tuning of the language model.

    overlong says what happens to an example of more than cutoff_len tokens: "truncate" cuts its end, "drop" leaves it
    out, "error" stops; the first two are counted in summary.json. save_steps 0 writes no checkpoint; max_grad_norm 0
    does not clip. global_batch is the examples of one optimizer step, per_device_batch_size those of one pass: how many
    processes and passes that makes is drift.training.division's.
    fused_cross_entropy is Liger's: the logits are never whole in memory. sgd is plain descent, without momentum: it
    takes a learning rate of its own. group_by_length makes steps of examples of similar length, anew each epoch by the
    seed. packing lays the examples of a pass in one row without padding, each attending to itself alone: loss and
    gradients differ from those of padded rows by rounding. dataloader_workers encode ahead of the steps, beside each
    process; image_cache_gb of image tensors are kept on each machine, shared by its processes.
    Differs from LLaMA-Factory: it cuts prompt and reply each in part; at the paper's cutoff hardly any example is cut.
    """

    epochs: Count = 3
    learning_rate: Positive = 1e-6
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup_ratio: LessThanOne = 0.05
    weight_decay: NotNegative = 0.0
    adam_beta1: LessThanOne = 0.9
    adam_beta2: LessThanOne = 0.999
    max_grad_norm: NotNegative = 1.0
    global_batch: Count = 8
    per_device_batch_size: Count = 1
    zero_stage: Literal[0, 1, 2, 3] = 2
    offload: Literal["none", "cpu"] = "none"
    precision: Literal["bf16", "fp32"] = "bf16"
    cutoff_len: Count = 32768
    image_max_pixels: Count | None = 262144
    image_min_pixels: Count | None = None
    overlong: Literal["truncate", "drop", "error"] = "truncate"
    add_tokens: tuple[str, ...] = ("<think>", "</think>")
    train_vision: bool = False
    train_projector: bool = False
    gradient_checkpointing: bool = True
    save_steps: Natural = 500
    logging_steps: Count = 10
    seed: Natural = 42
    image_backend: ImageBackend = "auto"
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    fused_cross_entropy: bool = field(default=False, metadata=UNLESS_DEFAULT)
    optimizer: Literal["adamw", "sgd"] = field(default="adamw", metadata=UNLESS_DEFAULT)
    group_by_length: bool = field(default=False, metadata=UNLESS_DEFAULT)
    packing: bool = field(default=False, metadata=UNLESS_DEFAULT)
    dataloader_workers: Natural = field(default=0, metadata=RUNTIME)
    image_cache_gb: NotNegative = field(default=1.0, metadata=RUNTIME)

    def __post_init__(self) -> None:
        """Refuse what can't be trained with.

        Raises:
            TrainingError: every field that is out of range, in one message.
        """
        _raise_all("training", faults(self, *self._ranges()))

    def _ranges(self) -> Iterator[tuple[str, bool, str]]:
        yield (
            "offload",
            self.offload != "cpu" or self.zero_stage != 0,
            "none with zero_stage 0, or zero_stage 1, 2 or 3",
        )
        # The logged loss is a mean since the last line; a checkpoint inside that window would lose its start.
        is_whole = self.logging_steps < 1 or self.save_steps % self.logging_steps == 0
        yield "save_steps", is_whole, f"a multiple of logging_steps {self.logging_steps}"
        fits = (self.image_min_pixels or 0) <= (self.image_max_pixels or self.image_min_pixels or 0)
        yield "image_min_pixels", fits, f"at most image_max_pixels {self.image_max_pixels}"
        is_half = self.attn_implementation != "flash_attention_2" or self.precision == "bf16"
        yield "attn_implementation", is_half, "sdpa or eager with precision fp32"
        fits = not self.fused_cross_entropy or self.zero_stage < 3
        yield "fused_cross_entropy", fits, "false with zero_stage 3, which has lm_head's weights in parts"
        yield (
            "global_batch",
            self.per_device_batch_size < 1 or self.global_batch % self.per_device_batch_size == 0,
            f"a multiple of per_device_batch_size {self.per_device_batch_size}",
        )
        yield "packing", not self.packing or self.per_device_batch_size != 1, "false where a pass has one example"
        is_distinct = "" not in self.add_tokens and len(set(self.add_tokens)) == len(self.add_tokens)
        yield "add_tokens", is_distinct, "distinct tokens, none of them empty"


@dataclass(frozen=True)
class InjectionConfig:
    """How the prior enters the gradient; scale "none" is plain SFT and registers nothing.

    Attributes:
        alpha: strength, negative toward Delta; "auto" is a value that a plan chooses on validation, and no training
            takes it.
        semantics: micro_batch is the authors' release, the reference for the paper's numbers; step is weaker.
        rescale_to_parameter: Delta is given the parameter's norm, as in the release; changes `absolute` alone.
        group_alpha: alpha by module group, where it is not `alpha`.
        target_w_eff: share of Delta (w_eff) that the injection takes each module group to by half the run, and no
            further; none spends alpha to the end. alpha is then the most that is injected, and the target has the sign
            that it leads to: above 0 where alpha is below.
    """

    scale: Literal["none", Scale] = "none"
    alpha: Strength | Literal["auto"] = -1.0
    semantics: Semantics = DEFAULT_SEMANTICS
    rescale_to_parameter: bool = False
    alpha_schedule: Schedule = "constant"
    group_alpha: Mapping[str, Strength] = field(default_factory=dict)
    target_w_eff: Strength | None = field(default=None, metadata=UNLESS_DEFAULT)

    def __post_init__(self) -> None:
        """Refuse what can't be injected.

        Raises:
            TrainingError: an unknown choice, or an alpha that is no finite number.
        """
        errors = faults(self)
        if isinstance(self.alpha, str) and self.alpha != AUTO:
            errors.append(f"alpha is {self.alpha!r}, expected a number or {AUTO}")
        alphas = [a for a in (self.alpha, *self.group_alpha.values()) if not isinstance(a, str)]
        if (target := self.target_w_eff) is not None and not (target and all(a * target <= 0 for a in alphas)):
            errors.append(f"target_w_eff is {target}, which no alpha of {alphas} leads to: expected the other sign")
        errors += [f"unknown group_alpha {g!r}; {closest(g, GROUPS)}" for g in self.group_alpha if g not in GROUPS]
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
    processes: Count = 1

    def __post_init__(self) -> None:
        """Raises:
        TrainingError: an injection without a prior, or no process.
        """
        if self.injection.scale != "none" and self.prior is None:
            raise TrainingError(f"injection.scale is {self.injection.scale!r} but no prior folder is given")
        if self.injection.alpha == AUTO:
            raise TrainingError("injection.alpha is 'auto', which a plan chooses; give a training its number")
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
    unboxed: int = 0


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


def _raise_all(what: str, errors: Sequence[str]) -> None:
    if errors:
        raise TrainingError(f"{what}: " + "; ".join(errors))
