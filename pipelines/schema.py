"""The typed config: what `conf/` composes into. A component's knobs are fields of its own config, held here whole.

Hydra composes YAML, pydantic checks it against these dataclasses (all faults at once), and from then on nothing sees a
DictConfig. Light on purpose: planning imports no torch.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from drift.choices import ImageBackend, Scale
from drift.config import FrismConfig, MergeConfig, PriorConfig, Selection, Strength
from drift.errors import closest
from drift.training.config import InjectionConfig, TrainingConfig
from evaluation.data.published import Format
from evaluation.engines.config import OpenAIConfig, TransformersConfig, VLLMConfig
from evaluation.judging.config import JudgeConfig
from pipelines.distil.config import FilterConfig, MixConfig, PictureLimits, Sampling
from pipelines.errors import ConfigError
from pipelines.lab.config import WorldConfig

STRICT = ConfigDict(extra="forbid")
Source = Literal["lab", "hub", "folder"]
Split = Literal["validation", "test", "all"]
Seed = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Alpha = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Alphas = Annotated[tuple[Alpha, ...], Field(min_length=1)]


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
    published expert lies where it lies. `skill` is the lab's too: what its expert has learnt, counting being what no
    suite of a parted world asks for. `min_pixels` and `max_pixels` are what VLMEvalKit gives this MLLM's image
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
    min_pixels: Count | None
    max_pixels: Count | None
    skill: Literal["reasoning", "counting"] = "reasoning"


@dataclass(frozen=True, config=STRICT)
class Method:
    """Which stage makes the checkpoint: none (the MLLM as it is), merge, train or frism; and what it starts from.

    Training may start from a merge: one that moved the MLLM as far along Delta as the configured DRIFT run
    (`matched_merge`), or the configured one (`merge`). A merge may add the expert to what SFT made (`sft`). It moves
    the whole `lm`, or the `selected` tensors alone, which are those that DRIFT moves.
    """

    name: str
    stage: Literal["none", "merge", "train", "frism"]
    start: Literal["mllm", "matched_merge", "merge", "sft"] = "mllm"
    tensors: Literal["lm", "selected"] = "lm"

    @model_validator(mode="after")
    def _start_fits_the_stage(self) -> Self:
        more = {"merge": ("sft",), "train": ("matched_merge", "merge")}
        starts = ("mllm", *more.get(self.stage, ()))
        if self.start not in starts:
            raise ValueError(f"method.start is {self.start}; a method of stage {self.stage} has {' or '.join(starts)}")
        return self


@dataclass(frozen=True, config=STRICT)
class Choose:
    """What `injection.alpha: auto` chooses from, by the mean validation score over all seeds.

    The choice is made per scale, with the direct prior over the groups named here; one value is no choice. `prior: own`
    chooses with the row's own prior and groups: what a control could have reached, beside what it gets from its row.
    `by_scale` has the candidates of a scale whose alpha counts in another unit.
    """

    alpha: Alphas
    selection: Selection
    by_scale: Mapping[Scale, Alphas]
    prior: Literal["direct", "own"] = "direct"

    def alphas(self, scale: str) -> tuple[float, ...]:
        """What a scale chooses from: its own candidates, else `alpha`."""
        return next((own for name, own in self.by_scale.items() if name == scale), self.alpha)


@dataclass(frozen=True, config=STRICT)
class Merge(MergeConfig):
    """A merging baseline. `method` is `none` where nothing is merged.

    `coefficient: auto` picks one of `candidates`, each laid over `hyperparameters`, by the mean validation score over
    all seeds; `given` takes `hyperparameters` as they are.
    """

    coefficient: Literal["given", "auto"] = "given"
    candidates: tuple[Mapping[str, Strength | int | str], ...] = ()


@dataclass(frozen=True, config=STRICT)
class Frism(FrismConfig):
    """FRISM's gates. `coefficient: auto` picks `strengths` out of `candidates` by the mean validation score."""

    coefficient: Literal["given", "auto"] = "given"
    candidates: tuple[Mapping[str, Strength], ...] = ()


@dataclass(frozen=True, config=STRICT)
class Questions:
    """Questions with gold answers and pictures: a lab world's, or the tables of a hub repository or of a folder.

    `files` is a pattern of their tables' names, where a folder has several kinds.
    """

    source: Source
    repo: str = ""
    revision: str = ""
    root: str = ""
    files: str = ""
    limits: PictureLimits = PictureLimits()


@dataclass(frozen=True, config=STRICT)
class Generator:
    """Who answers the questions: a checkpoint, or a lab's teacher, which a world's own examples train.

    `examples` is how many of these a teacher is trained on, for each one of the SFT data.
    """

    source: Source
    repo: str = ""
    revision: str = ""
    family: str = ""
    examples: Count = 1


@dataclass(frozen=True, config=STRICT)
class Against:
    """The benchmarks of whose items a set may have none, and where their tables come from."""

    source: Source
    benchmarks: tuple[str, ...]
    root: str = ""
    revision: str = ""


@dataclass(frozen=True, config=STRICT)
class Distil:
    """Questions, who answers them and how, and what is left of the answers."""

    questions: Questions
    generator: Generator
    against: Against
    sampling: Sampling = Sampling()
    filter: FilterConfig = FilterConfig()


@dataclass(frozen=True, config=STRICT)
class Data:
    """The SFT examples, in sharegpt format: a lab world's, a hub repository's, a folder's, or what a filter left.

    `mix` puts answers that no filter has seen beside them (Table 7): those of `distil`, which is needed for it and
    where the source is `distil`. `direct` adds that share of as many again that ask for an answer without a rationale,
    which only the lab can draw.
    """

    name: str
    source: Source | Literal["distil"]
    repo: str = ""
    revision: str = ""
    root: str = ""
    direct: Annotated[float, Field(ge=0, le=1)] = 0.0
    mix: MixConfig = MixConfig()
    distil: Distil | None = None

    @model_validator(mode="after")
    def _has_its_answers(self) -> Self:
        if self.distil is None and (self.source == "distil" or self.mix.unfiltered):
            raise ValueError(
                "unfiltered answers are a generator's: data=mixed and data=lab_mixed have one, or write data.distil"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class Suite:
    """The benchmarks of a score, by the paper's column names, and where their tables come from.

    Choices are made on the split `validation`, reported is `test` (evaluation.data.splits parts published tables, a lab
    world draws the two apart); `all` is a whole published table. `root` is the folder of a suite whose source is one,
    `revision` the digest of what lies in it.
    """

    name: str
    source: Source
    benchmarks: Annotated[Mapping[str, str], Field(min_length=1)]
    split: Split = "test"
    variant: Literal["default", "direct", "boxed"] = "default"
    root: str = ""
    revision: str = ""


@dataclass(frozen=True, config=STRICT)
class PublishedFile:
    """A file of published answers: `path` in the repository, `place` below `root`; both are the bytes of `sha256`.

    `place_sha256` is that of a copy in another form.
    """

    path: str
    sha256: str
    place: str
    place_sha256: str = ""
    benchmark: str = ""


@dataclass(frozen=True, config=STRICT)
class Answers:
    """Published answers in place of a model's: the set `chosen`, its files by column of the tables.

    They are fetched from a repository at a commit, or taken from the folder `root` where that is given.
    """

    name: str
    format: Format
    repository: str
    commit: str
    root: str
    chosen: str
    questions: PublishedFile | None
    sets: Mapping[str, Mapping[str, PublishedFile]]

    @property
    def files(self) -> Mapping[str, PublishedFile]:
        """The chosen set's; none where a model answers."""
        return self.sets[self.chosen] if self.sets else {}

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if self.sets and self.chosen not in self.sets:
            raise ValueError(f"answers.chosen is {self.chosen!r}: {closest(self.chosen, self.sets)}")
        return self


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
class Gate:
    """What follows where an untouched, published MLLM does not score as published (pipelines.stages.gate).

    It may lie `points` beside, or the interval of so many items where that is larger. `published` is by column; the
    tables know theirs. `stop` builds nothing on it, `warn` writes it down, `none` asks nothing.
    """

    mode: Literal["stop", "warn", "none"]
    points: Percent
    published: Mapping[str, tuple[Percent, ...]] = Field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class NoTracker:
    """Nothing is recorded."""

    mode: Literal["disabled"]


@dataclass(frozen=True, config=STRICT)
class Wandb:
    """wandb, writing into `folder` on this disk, and sent from there to its server where it is `online`.

    An evaluated checkpoint's run shows `items` of each benchmark, with picture, response and verdict.
    """

    mode: Literal["offline", "online"]
    project: Text
    folder: Text
    items: Annotated[int, Field(ge=0, le=200)]


@dataclass(frozen=True, config=STRICT)
class Launcher:
    """How work is placed; no result depends on it.

    `engine` places stages: on this machine, by SLURM or by Ray. `kind` starts a training of several `processes`, which
    divide its global batch and are spread evenly over `nodes`; `auto` is one a GPU of these nodes, one where a node has
    none. `workers` stages run at a time, each with `threads` compute threads and GPUs of its own out of a node's
    `gpus`; 0 of them leaves the GPUs to the stages, which then all see the same. `options` are a cluster's own;
    what takes less than `short_seconds` and no GPU stays on this machine, since nobody queues a tenth of a second.
    """

    engine: Literal["local", "slurm", "ray"]
    kind: Literal["local", "torchrun", "deepspeed"]
    processes: Count | Literal["auto"]
    workers: Count
    gpus: Annotated[int, Field(ge=0)]
    threads: Count
    offline: bool
    options: Mapping[str, str | int | float | bool]
    nodes: Count = 1
    short_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    @property
    def ranks(self) -> int:
        """The processes of a training."""
        return self.nodes * max(1, self.gpus) if self.processes == "auto" else self.processes

    @model_validator(mode="after")
    def _nodes_can_be_reached(self) -> Self:
        if self.nodes > 1 and (self.engine == "local" or self.kind != "torchrun"):
            raise ValueError(
                f"{self.nodes} nodes in one training need launcher=slurm or launcher=ray, with launcher.kind=torchrun"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class Config:
    """One run: a checkpoint made by `method` in the world `seed`, scored on `suite`.

    `validation` is the suite whose validation draw hyper-parameters are chosen on, whatever `suite` is.
    `tables` are those that the profile makes unless others are named, none of them all that there are.
    `image_backend` and `dtype` are one word for the components that the YAML hands them to. `preflight` says what
    follows where this machine lacks what the run wants (pipelines.preflight), `keep` whose weights stay in the store
    once nothing of the plan reads them (pipelines.retention). `trust` takes what other code made, `force` names the
    stages whose artifacts are made again (pipelines.staleness).
    """

    profile: Literal["smoke", "lab", "small", "paper", "published"]
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
    frism: Frism
    data: Data
    answers: Answers
    train: TrainingConfig
    suite: Suite
    validation: Suite
    engine: Annotated[TransformersConfig | VLLMConfig | OpenAIConfig, Field(discriminator="name")]
    judge: Annotated[JudgeConfig, Field(discriminator="name")]
    evaluator: Annotated[Native | VLMEvalKit, Field(discriminator="name")]
    tracker: Annotated[NoTracker | Wandb, Field(discriminator="mode")]
    launcher: Launcher
    preflight: Literal["refuse", "warn"]
    keep: Literal["all", "weights", "scores"]
    trust: bool
    force: tuple[Text, ...]
    gate: Gate

    @property
    def columns(self) -> Mapping[str, str]:
        """Column of the tables -> benchmark: of the published answers where there are some, else of the suite."""
        return {name: file.benchmark for name, file in self.answers.files.items()} or self.suite.benchmarks

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} name one twice, and what is repeated is no sample")
        own = {f"by_scale.{scale}": alphas for scale, alphas in self.choose.by_scale.items()}
        for name, alphas in {"alpha": self.choose.alpha, **own}.items():
            if len(set(alphas)) < len(alphas):
                raise ValueError(f"choose.{name} {list(alphas)} names one twice")
        for name in ("sft_items", "suite_items", "wemath_groups"):
            if getattr(self.world, name) < 1:
                raise ValueError(f"world.{name} is {getattr(self.world, name)}; expected at least 1")
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
