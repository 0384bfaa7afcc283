"""The typed config: what `conf/` composes into. Every knob of the project is a field here or in a class named here.

Hydra composes YAML, pydantic checks it against these dataclasses (all faults at once), and from then on nothing sees a
DictConfig. Light on purpose: planning imports no torch.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from drift.training.config import TrainingConfig
from evaluation.engines.base import GenerationSettings
from pipelines.errors import ConfigError
from pipelines.lab.config import WorldConfig

STRICT = ConfigDict(extra="forbid")
Source = Literal["lab", "hub", "folder"]
Group = Literal["attn", "mlp", "norm", "lm_head"]


@dataclass(frozen=True, config=STRICT)
class ModelRef:
    """A checkpoint: a hub repository at a revision, or a local folder; both empty for a lab model.

    `revision: locked` is resolved at the first fetch and kept in `conf/revisions.lock.json`.
    """

    repo: str
    revision: str


@dataclass(frozen=True, config=STRICT)
class Pair:
    """An MLLM, the text expert that shares its LM architecture, and the models they were tuned from.

    `family` is the MLLM's `model_type`: what the lab builds at its size, and what a checkpoint's own config.json must
    say. `distance` is the lab's knob of how far the expert lies from its base (pipelines.lab.config.DISTANCES); a
    published expert lies where it lies. `keep_layers` is Layer Swap's k: the paper's 5 of 28 layers, 0 of the lab's 3.
    """

    name: str
    family: str
    source: Source
    distance: Literal["near", "default", "far", "farthest"]
    mllm: ModelRef
    expert: ModelRef
    base: ModelRef
    prior_base: ModelRef
    keep_layers: int


@dataclass(frozen=True, config=STRICT)
class Method:
    """Which stage makes the checkpoint: none (the MLLM as it is), merge, or train; training may start from a merge."""

    name: str
    stage: Literal["none", "merge", "train"]
    start: Literal["mllm", "matched_merge"]


@dataclass(frozen=True, config=STRICT)
class Prior:
    """Which direction is injected (paper, section 3.3 and Table 10) or, as a control, what stands in for it."""

    kind: Literal["direct", "hierarchical", "random", "shuffled", "reversed"]
    seed: int


@dataclass(frozen=True, config=STRICT)
class Selection:
    """The module groups that the prior covers (Table 4)."""

    groups: tuple[Group, ...]


@dataclass(frozen=True, config=STRICT)
class Injection:
    """The injection; `alpha: auto` picks from `candidates` by the mean validation score over all seeds.

    The choice is made per scale, with the groups of `chosen_with` and the direct prior; one candidate is no choice.
    """

    scale: Literal["none", "absolute", "gradnorm", "adaptive"]
    alpha: float | Literal["auto"]
    semantics: Literal["step", "micro_batch"]
    rescale_to_parameter: bool
    alpha_schedule: Literal["constant", "linear", "cosine"]
    candidates: tuple[float, ...]
    chosen_with: tuple[Group, ...]


@dataclass(frozen=True, config=STRICT)
class Merge:
    """A merging baseline; hyperparameter names are the method's own (drift.merging.config).

    `coefficient: auto` picks one of `candidates`, each laid over `hyperparameters`, by the mean validation score over
    all seeds; `given` takes `hyperparameters` as they are.
    """

    method: str
    variant: Literal["br2v", "paper", "mergekit"]
    hyperparameters: Mapping[str, float | int | str]
    coefficient: Literal["given", "auto"]
    candidates: tuple[Mapping[str, float | int | str], ...]
    seed: int


@dataclass(frozen=True, config=STRICT)
class Data:
    """The SFT examples, in sharegpt format; `root` is a local folder for whatever is read from one.

    `unfiltered` adds as many rationales again that no filter has seen (Table 7), which only the lab can draw.
    """

    name: str
    source: Source
    repo: str
    revision: str
    root: str
    unfiltered: bool


@dataclass(frozen=True, config=STRICT)
class Zero:
    """DeepSpeed ZeRO."""

    stage: Literal[0, 1, 2, 3]
    offload: Literal["none", "cpu"]


@dataclass(frozen=True, config=STRICT)
class Suite:
    """The benchmarks of a score, by the paper's column names, and where their TSVs come from."""

    name: str
    source: Source
    benchmarks: Mapping[str, str]
    split: Literal["validation", "test"]
    variant: str


@dataclass(frozen=True, config=STRICT)
class Engine:
    """What generates: `transformers`, `vllm` or `openai`, and the settings that are part of every score."""

    name: Literal["transformers", "vllm", "openai"]
    dtype: Literal["float32", "bfloat16"]
    image_backend: Literal["auto", "pil"]
    settings: GenerationSettings
    url: str


@dataclass(frozen=True, config=STRICT)
class Judge:
    """Who decides where rules can't: `rules` alone, or an OpenAI-compatible endpoint (key in OPENAI_API_KEY).

    Prices are of a million tokens; they count the cost and change no score.
    """

    name: Literal["rules", "openai"]
    mode: Literal["official", "semantic"]
    model: str
    url: str
    prompt_price: float
    completion_price: float


@dataclass(frozen=True, config=STRICT)
class Evaluator:
    """`native` is this project's own scoring; `vlmevalkit` sets the real toolkit's verdicts beside it, item by item.

    `revision` is the toolkit's commit, `installed` whichever is found; `judge` is the toolkit's own judge model.
    """

    name: Literal["native", "vlmevalkit"]
    revision: str
    judge: str
    judge_url: str


@dataclass(frozen=True, config=STRICT)
class Tracker:
    """wandb: offline (the default), online, or disabled."""

    mode: Literal["offline", "online", "disabled"]
    project: str


@dataclass(frozen=True, config=STRICT)
class Launcher:
    """How work is placed; `processes` is the data-parallel size and so part of a training's identity.

    `engine` places stages: on this machine, by SLURM or by Ray. `kind` starts a training of several processes.
    `workers` stages run at a time, each with `threads` compute threads and GPUs of its own out of `gpus`; 0 of them
    leaves the GPUs to the stages, which then all see the same. `options` are the engine's own.
    """

    engine: Literal["local", "slurm", "ray"]
    kind: Literal["local", "torchrun", "deepspeed"]
    processes: int
    workers: int
    gpus: int
    threads: int
    offline: bool
    options: Mapping[str, str | int | float | bool]


@dataclass(frozen=True, config=STRICT)
class Config:
    """One run: a checkpoint made by `method` in the world `seed`, scored on `suite`.

    `validation` is the suite whose validation draw hyper-parameters are chosen on, whatever `suite` is.
    """

    profile: Literal["smoke", "lab", "paper"]
    seed: int
    seeds: tuple[int, ...]
    store: str
    results: str
    pair: Pair
    world: WorldConfig
    method: Method
    prior: Prior
    selection: Selection
    injection: Injection
    merge: Merge
    data: Data
    train: TrainingConfig
    zero: Zero
    suite: Suite
    validation: Suite
    engine: Engine
    judge: Judge
    evaluator: Evaluator
    tracker: Tracker
    launcher: Launcher


_CONFIG = TypeAdapter(Config)


def typed(raw: Mapping[str, Any]) -> Config:
    """The composed config as dataclasses.

    Raises:
        ConfigError: lists every unknown key, missing value and value of a wrong type.
    """
    try:
        return _CONFIG.validate_python(raw)
    except ValidationError as error:
        faults = [
            f"  {'.'.join(str(part) for part in item['loc'])} = {item['input']!r}: {item['msg']}"
            for item in error.errors()
        ]
        raise ConfigError("the config does not fit its schema:\n" + "\n".join(dict.fromkeys(faults))) from None
