"""The typed config: what `conf/` composes into. A component's knobs are fields of its own config, held here whole.

Hydra composes YAML, pydantic checks it against these dataclasses (all faults at once), and from then on nothing sees a
DictConfig. Light on purpose: planning imports no torch.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from drift.choices import ImageBackend
from drift.config import MergeConfig, PriorConfig, Selection
from drift.training.config import InjectionConfig, TrainingConfig
from evaluation.engines.config import OpenAIConfig, TransformersConfig, VLLMConfig
from evaluation.judging.config import JudgeConfig
from pipelines.errors import ConfigError
from pipelines.lab.config import WorldConfig

STRICT = ConfigDict(extra="forbid")
Source = Literal["lab", "hub", "folder"]
Seed = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class ModelRef:
    """A checkpoint: a hub repository at a revision, or a local folder.

    `revision: locked` is resolved at the first fetch and kept in `conf/revisions.lock.json`.
    """

    repo: str
    revision: str


@dataclass(frozen=True, config=STRICT)
class Pair:
    """An MLLM, the text expert that shares its LM architecture, and the models they were tuned from.

    `family` is the MLLM's `model_type`: what the lab builds at its size, and what a checkpoint's own config.json must
    say. `distance` is the lab's knob of how far the expert lies from its base (pipelines.lab.config.DISTANCES); a
    published expert lies where it lies. `min_pixels` and `max_pixels` are what VLMEvalKit gives this MLLM's image
    processor while it answers, null for nothing; the engine's settings take them from here.
    """

    name: str
    family: str
    source: Source
    distance: Literal["near", "default", "far", "farthest"]
    mllm: ModelRef
    expert: ModelRef
    base: ModelRef
    prior_base: ModelRef
    min_pixels: int | None
    max_pixels: int | None


@dataclass(frozen=True, config=STRICT)
class Method:
    """Which stage makes the checkpoint: none (the MLLM as it is), merge, or train; training may start from a merge."""

    name: str
    stage: Literal["none", "merge", "train"]
    start: Literal["mllm", "matched_merge"] = "mllm"


@dataclass(frozen=True, config=STRICT)
class Choose:
    """What `injection.alpha: auto` chooses from, by the mean validation score over all seeds.

    The choice is made per scale, with the direct prior over the groups named here; one value is no choice.
    """

    alpha: Annotated[tuple[float, ...], Field(min_length=1)]
    selection: Selection


@dataclass(frozen=True, config=STRICT)
class Merge(MergeConfig):
    """A merging baseline. `method` is `none` where nothing is merged.

    `coefficient: auto` picks one of `candidates`, each laid over `hyperparameters`, by the mean validation score over
    all seeds; `given` takes `hyperparameters` as they are.
    """

    coefficient: Literal["given", "auto"] = "given"
    candidates: tuple[Mapping[str, float | int | str], ...] = ()


@dataclass(frozen=True, config=STRICT)
class Data:
    """The SFT examples, in sharegpt format: a lab world's, a hub repository's, or a folder's.

    `unfiltered` adds as many rationales again that no filter has seen (Table 7), which only the lab can draw.
    """

    name: str
    source: Source
    repo: str = ""
    revision: str = ""
    root: str = ""
    unfiltered: bool = False


@dataclass(frozen=True, config=STRICT)
class Suite:
    """The benchmarks of a score, by the paper's column names, and where their tables come from.

    `root` is the folder of a suite whose source is one, `revision` the digest of what lies in it.
    """

    name: str
    source: Source
    benchmarks: Annotated[Mapping[str, str], Field(min_length=1)]
    split: Literal["validation", "test"] = "test"
    variant: Literal["default", "direct", "boxed"] = "default"
    root: str = ""
    revision: str = ""


@dataclass(frozen=True, config=STRICT)
class Native:
    """This project's own scoring alone."""

    name: Literal["native"]


@dataclass(frozen=True, config=STRICT)
class VLMEvalKit:
    """The real toolkit's verdicts beside ours, item by item, at a commit or at whichever is `installed`.

    `judge` is the toolkit's own judge model, at `judge_url` unless it is one that needs none.
    """

    name: Literal["vlmevalkit"]
    revision: str
    judge: str
    judge_url: str


@dataclass(frozen=True, config=STRICT)
class NoTracker:
    """Nothing is recorded."""

    mode: Literal["disabled"]


@dataclass(frozen=True, config=STRICT)
class Wandb:
    """wandb, writing to this disk or to its server."""

    mode: Literal["offline", "online"]
    project: Text


@dataclass(frozen=True, config=STRICT)
class Launcher:
    """How work is placed; `processes` is the data-parallel size and so part of a training's identity.

    `engine` places stages: on this machine, by SLURM or by Ray. `kind` starts a training of several processes.
    `workers` stages run at a time, each with `threads` compute threads and GPUs of its own out of `gpus`; 0 of them
    leaves the GPUs to the stages, which then all see the same. `options` are the engine's own.
    """

    engine: Literal["local", "slurm", "ray"]
    kind: Literal["local", "torchrun", "deepspeed"]
    processes: Count
    workers: Count
    gpus: Annotated[int, Field(ge=0)]
    threads: Count
    offline: bool
    options: Mapping[str, str | int | float | bool]


@dataclass(frozen=True, config=STRICT)
class Config:
    """One run: a checkpoint made by `method` in the world `seed`, scored on `suite`.

    `validation` is the suite whose validation draw hyper-parameters are chosen on, whatever `suite` is.
    `tables` are those that the profile makes unless others are named, none of them all that there are.
    `image_backend` and `dtype` are one word for the components that the YAML hands them to. `preflight` says what
    follows where this machine lacks what the run wants (pipelines.preflight).
    """

    profile: Literal["smoke", "lab", "small", "paper"]
    seed: Seed
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    tables: tuple[str, ...]
    store: Text
    results: Text
    image_backend: ImageBackend
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    pair: Pair
    world: WorldConfig
    method: Method
    prior: PriorConfig
    selection: Selection
    injection: InjectionConfig
    choose: Choose
    merge: Merge
    data: Data
    train: TrainingConfig
    suite: Suite
    validation: Suite
    engine: Annotated[TransformersConfig | VLLMConfig | OpenAIConfig, Field(discriminator="name")]
    judge: Annotated[JudgeConfig, Field(discriminator="name")]
    evaluator: Annotated[Native | VLMEvalKit, Field(discriminator="name")]
    tracker: Annotated[NoTracker | Wandb, Field(discriminator="mode")]
    launcher: Launcher
    preflight: Literal["refuse", "warn"]

    @model_validator(mode="after")
    def _seeds_are_distinct(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} name one twice, and what is repeated is no sample")
        return self


_CONFIG = TypeAdapter(Config)


def typed(raw: Mapping[str, Any]) -> Config:
    """The composed config as dataclasses.

    Raises:
        ConfigError: lists every unknown key, missing value, value of a wrong type or out of its range.
    """
    try:
        return _CONFIG.validate_python(raw)
    except ValidationError as error:
        faults = [
            f"  {'.'.join(str(part) for part in item['loc'])} = {item['input']!r}: {item['msg']}"
            for item in error.errors()
        ]
        raise ConfigError("the config does not fit its schema:\n" + "\n".join(dict.fromkeys(faults))) from None
