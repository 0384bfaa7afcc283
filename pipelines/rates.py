"""What a machine does in a second: the constants that turn a call's work into time, and how they are measured.

Seconds are linear in the work: a start, and a time for each step, each floating point operation and each byte. Built-in
constants are of the 2-core CPU that the lab was made on, and guesses for an 80 GB GPU; `drift calibrate` fits them to
what a store's artifacts took, and reads what a GPU check has measured.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from drift.files import write_whole
from pipelines.errors import ConfigError

FILE = ".calibration.json"  # in a store, which is a machine's
Device = Literal["cpu", "gpu"]
_PULL = 1e-2  # of the built-in constants, on those that the measurements leave open
_CHECKED_BYTES = 16.6e9  # of the model that a GPU check is assumed to hold: Qwen2.5-VL-7B's, in bf16
_CHECKED_BATCH = 8
_FLOPS_PER_PARAMETER = 8  # of a trained token: forward, backward, and the forward again of gradient checkpointing


@dataclass(frozen=True)
class Work:
    """What one device does for a call, whatever its speed.

    Attributes:
        steps: of an optimizer, of a decoder, or calls of a judge: what costs a fixed time each.
        flops: floating point operations.
        bytes: read, written, hashed or downloaded.
    """

    steps: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0


@dataclass(frozen=True)
class Rate:
    """Seconds to begin, and for each step, floating point operation and byte."""

    start: float = 0.0
    step: float = 0.0
    flop: float = 0.0
    byte: float = 0.0

    def seconds(self, work: Work) -> float:
        return self.start + self.step * work.steps + self.flop * work.flops + self.byte * work.bytes


@dataclass(frozen=True)
class Rates:
    """A machine: a rate per stage and device, by "stage/device", and what calls of equal work have taken on it."""

    rates: Mapping[str, Rate]
    measured: Mapping[str, float] = field(default_factory=dict)

    def seconds(self, stage: str, device: Device, work: Work) -> float:
        """As measured where a call of the same work was, else by the rate."""
        name = f"{stage}/{device}"
        taken = self.measured.get(_key(name, work))
        return self.rates[name].seconds(work) if taken is None else taken


_HASHING = 6e-10  # sha256 and a read from the page cache, a core: what inputs and outputs cost in each stage
_DOWNLOAD = 1e-8  # 100 MB/s
STANDARD = Rates(
    {
        "model/cpu": Rate(start=0.3, step=0.03, flop=5e-12, byte=_DOWNLOAD),
        "data/cpu": Rate(start=0.1, byte=_DOWNLOAD),
        "benchmarks/cpu": Rate(start=0.1, byte=_DOWNLOAD),
        "prior/cpu": Rate(start=0.01, byte=_HASHING),
        "geometry/cpu": Rate(start=0.01, byte=_HASHING),
        "merge/cpu": Rate(start=0.02, flop=2e-11, byte=_HASHING),
        "train/cpu": Rate(start=0.3, step=0.02, flop=1e-11, byte=1e-10),
        "train/gpu": Rate(start=120.0, step=0.5, flop=1 / 1.5e14, byte=_HASHING),
        "generate/cpu": Rate(start=0.05, step=0.0025, flop=2e-11, byte=1e-10),
        "generate/gpu": Rate(start=60.0, step=0.028, flop=5e-15, byte=5e-13),
        "score/cpu": Rate(step=0.01),
    }
)


@dataclass(frozen=True)
class Measurement:
    """What a call of a stage took, in seconds, on a device."""

    stage: str
    device: Device
    work: Work
    seconds: float


def fit(measurements: Iterable[Measurement], start: Rates = STANDARD) -> Rates:
    """The rates under which the measured calls would have taken what they took.

    Least squares of relative errors with no negative rate; what the measurements leave open stays where it was.
    """
    found: dict[str, list[Measurement]] = {}
    for each in measurements:
        found.setdefault(f"{each.stage}/{each.device}", []).append(each)
    rates = {name: _fitted(found[name], rate) if name in found else rate for name, rate in start.rates.items()}
    taken: dict[str, list[float]] = {}
    for name, group in found.items():
        for each in group:
            taken.setdefault(_key(name, each.work), []).append(each.seconds)
    return Rates(rates, {**start.measured, **{key: _median(seconds) for key, seconds in taken.items()}})


def _fitted(measurements: list[Measurement], rate: Rate) -> Rate:
    import numpy as np
    from scipy.optimize import nnls

    rows = np.array([(1.0, m.work.steps, m.work.flops, m.work.bytes) for m in measurements])
    seconds = np.maximum([m.seconds for m in measurements], 0.01)  # a manifest's resolution
    before = np.array(astuple(rate))
    used = before > 0
    scaled = rows[:, used] * before[used]  # so that every unknown is a factor of its built-in constant
    pull = np.eye(used.sum()) * _PULL
    factors, _ = nnls(
        np.vstack([scaled / seconds[:, None], pull]), np.concatenate([np.ones(len(rows)), [_PULL] * len(pull)])
    )
    before[used] *= factors
    return Rate(*map(float, before))


def _key(name: str, work: Work) -> str:
    return f"{name} {work.steps:.3g} {work.flops:.3g} {work.bytes:.3g}"


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


Positive = Annotated[float, Field(gt=0)]


@with_config(ConfigDict(extra="allow"))
@dataclass(frozen=True)
class GpuCheck:
    """What a GPU check prints: one GPU's tokens a second in training and generation, a merge's bytes a second.

    `parameters` are those of the model that it used.
    """

    device: str
    train_tokens_per_s: Positive
    generate_tokens_per_s: Positive
    merge_bytes_per_s: Positive
    parameters: Positive = _CHECKED_BYTES / 2


def read_gpu_check(path: Path) -> GpuCheck:
    """The check in a JSON file.

    Raises:
        ConfigError: no such file, or it lacks a key.
    """
    try:
        return TypeAdapter(GpuCheck).validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}; a GPU check prints such a file") from None
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"{path} is no GPU check: {faults}") from None


def with_gpu_check(rates: Rates, check: GpuCheck) -> Rates:
    """The rates with a GPU's as the check found them; a step and its bytes are in its tokens a second.

    Its merge rate prices nothing: a plan's merges run on the CPU.
    """
    flop = 1 / (check.train_tokens_per_s * _FLOPS_PER_PARAMETER * check.parameters)
    trained = Rate(rates.rates["train/gpu"].start, flop=flop)
    before = rates.rates["generate/gpu"]
    decoded = Rate(before.start, _CHECKED_BATCH / check.generate_tokens_per_s, before.flop)
    return Rates({**rates.rates, "train/gpu": trained, "generate/gpu": decoded}, rates.measured)


_RATES = TypeAdapter(Rates)


def load(store: Path) -> Rates:
    """The rates of a store's machine: calibrated ones where there are, else the built-in guesses.

    Raises:
        ConfigError: the store's calibration is damaged.
    """
    path = store / FILE
    if not path.exists():
        return STANDARD
    try:
        return _RATES.validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigError(
            f"{path} is no calibration ({error.error_count()} faults): make it again: drift calibrate"
        ) from None


def save(rates: Rates, store: Path) -> None:
    """Keeps the rates in the store."""
    store.mkdir(parents=True, exist_ok=True)
    write_whole(store / FILE, json.dumps(_RATES.dump_python(rates), indent=1) + "\n")
