"""The table of stages: parameters, versions, and where each function is. Light: no torch until a stage runs.

Raise a version whenever the same parameters and inputs would give other files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drift.config import RUNTIME, UNLESS_DEFAULT, FrismConfig, MergeConfig, PriorConfig, Selection
from drift.errors import TrainingError
from drift.training.config import InjectionConfig, TrainingConfig
from drift.training.division import divide, identity
from evaluation.data.published import Format
from evaluation.engines.config import EngineConfig, TransformersConfig, VLLMConfig
from evaluation.judging.config import AskedJudge, JudgeConfig
from pipelines import resources
from pipelines.distil.config import FilterConfig, MixConfig, PictureLimits, Sampling
from pipelines.lab.config import WorldConfig
from pipelines.report.spec import Cell, Table
from pipelines.stage import Stage


@dataclass(frozen=True)
class ModelParams:
    """A checkpoint by role (base | expert | mllm): built in a lab world, or taken from a hub or a folder.

    `family` is the `model_type` that it is built with or must have; `distance` and `skill` are of a lab world's expert
    alone.
    """

    role: str
    family: str
    distance: str
    source: str
    world: WorldConfig | None
    repo: str
    revision: str
    skill: str = field(default="reasoning", metadata=UNLESS_DEFAULT)


@dataclass(frozen=True)
class DataParams:
    """SFT examples as sharegpt JSON and images."""

    source: str
    world: WorldConfig | None
    repo: str
    revision: str
    direct: float = field(default=0.0, metadata=UNLESS_DEFAULT)

    def identity(self) -> dict[str, Any]:
        """Its fields, and that it is no mix (`MixParams`): the names of all sets in all stores say so."""
        own = {"source": self.source, "world": self.world, "repo": self.repo, "revision": self.revision}
        return own | {"unfiltered": False} | ({"direct": self.direct} if self.direct else {})


@dataclass(frozen=True)
class QuestionsParams:
    """Questions with gold answers and pictures: drawn in a lab's world, or from a hub's or a local folder's tables."""

    source: str
    world: WorldConfig | None
    repo: str
    revision: str
    files: str
    limits: PictureLimits


@dataclass(frozen=True)
class DistilParams:
    """A generator's answers to questions; the engine's settings are the sampling's."""

    sampling: Sampling
    engine: EngineConfig


@dataclass(frozen=True)
class FilterParams:
    """What is left of a generator's answers; `benchmarks` are those of whose items there may be none."""

    filter: FilterConfig
    benchmarks: tuple[str, ...]


@dataclass(frozen=True)
class MixParams:
    """A filtered set with answers that no filter has seen."""

    mix: MixConfig


@dataclass(frozen=True)
class BenchmarksParams:
    """TSVs of the named benchmarks, or of a split of them.

    `root` is the folder that they come from, where they do; `revision` its digest, and the rule that parts the tables.
    """

    source: str
    names: tuple[str, ...]
    split: str
    world: WorldConfig | None
    root: str
    revision: str


@dataclass(frozen=True)
class AnswerFile:
    """A file of published answers, or of their questions (`column` empty), at its place in the source."""

    column: str
    benchmark: str
    path: str
    sha256: str


@dataclass(frozen=True)
class AnswersParams:
    """Published answers: from a repository at a commit, or from the folder `root`, whose files are known by hash."""

    source: str
    format: Format
    repository: str
    commit: str
    files: tuple[AnswerFile, ...]
    root: str = field(default="", metadata=RUNTIME)


@dataclass(frozen=True)
class PriorParams:
    """The reasoning prior: drift.prior."""

    prior: PriorConfig
    selection: Selection


@dataclass(frozen=True)
class GeometryParams:
    """L2 distances and cosines of an MLLM and its expert over module groups: drift.geometry."""

    groups: tuple[str, ...]


@dataclass(frozen=True)
class MergeParams:
    """A merge: drift.merging. `matched` (bound to a run's w_eff) sets both weights of a linear merge.

    `selection` are the tensors that it moves, where these are not all of the LM's layers and norms.
    """

    merge: MergeConfig
    matched: float | None = None
    selection: Selection | None = field(default=None, metadata=UNLESS_DEFAULT)


@dataclass(frozen=True)
class FrismParams:
    """FRISM: drift.training.gates."""

    frism: FrismConfig


@dataclass(frozen=True)
class TrainParams:
    """SFT or DRIFT: drift.training. On how many `processes` and `nodes` the global batch is trained is no identity."""

    training: TrainingConfig
    injection: InjectionConfig
    processes: int = 1
    nodes: int = 1

    def __post_init__(self) -> None:
        """Raises TrainingError where the global batch can't be divided over the processes, or these over the nodes."""
        divide(self.training, self.processes)
        if self.processes % self.nodes:
            raise TrainingError(f"{self.processes} processes on {self.nodes} nodes: each node has equally many")

    def identity(self) -> dict[str, Any]:
        """As one process would train it."""
        return {"training": identity(self.training), "injection": self.injection, "processes": 1}


@dataclass(frozen=True)
class GenerateParams:
    """Responses of a checkpoint to benchmarks."""

    benchmarks: tuple[str, ...]
    variant: str
    engine: EngineConfig


@dataclass(frozen=True)
class AgreementParams:
    """The first `items` of each benchmark answered by vLLM and by transformers; a share of `least` must be alike."""

    benchmarks: tuple[str, ...]
    variant: str
    engine: VLLMConfig
    reference: TransformersConfig
    items: int
    least: float


@dataclass(frozen=True)
class JudgeParams:
    """A judge's replies on what the rules leave open."""

    benchmarks: tuple[str, ...]
    judge: AskedJudge


@dataclass(frozen=True)
class ScoreParams:
    """Verdicts and scores of responses, by column."""

    benchmarks: Mapping[str, str]
    judge: JudgeConfig


@dataclass(frozen=True)
class SecondOpinionParams:
    """VLMEvalKit at a commit, generating and scoring with its own judge: evaluation.toolkit.job."""

    commit: str
    benchmarks: tuple[str, ...]
    variant: str
    engine: TransformersConfig
    judge: str
    judge_url: str


@dataclass(frozen=True)
class ChooseParams:
    """Picks the value whose scores have the highest mean.

    Inputs are named `<place of the value>:<seed>`, and `seen:<seed>` and `reported:<seed>` for the validation and test
    tables of `benchmarks`.
    """

    values: tuple[Any, ...]
    benchmarks: tuple[str, ...]


@dataclass(frozen=True)
class GateParams:
    """An untouched MLLM's scores beside the published ones, by column; `mode` is what follows outside the band."""

    published: Mapping[str, tuple[float, ...]]
    points: float
    mode: str


@dataclass(frozen=True)
class ReportParams:
    """The tables of a profile; `published` holds the text of each CSV of the paper's numbers by file name.

    `variant` are the overrides that make it another report than the profile's own.
    """

    profile: str
    seeds: tuple[int, ...]
    tables: tuple[Table, ...]
    published: Mapping[str, str]
    cells: tuple[Cell, ...]
    variant: tuple[str, ...]


@dataclass(frozen=True)
class Failed:
    """A cell that has no number, and why."""

    table: str
    row: str
    seed: int
    reason: str


@dataclass(frozen=True)
class PartialParams:
    """The report as far as it could be made, all tables that were asked for, and the cells that failed."""

    report: ReportParams
    tables: tuple[Table, ...]
    failed: tuple[Failed, ...]


MODEL = Stage("model", 1, "pipelines.stages.models:make_model", 70, resources.fetching_model)
ANSWERS = Stage("answers", 1, "pipelines.stages.published:take_answers", 3, resources.fetching_answers)
DATA = Stage("data", 1, "pipelines.stages.data:make_data", 3, resources.fetching_data)
QUESTIONS = Stage("questions", 1, "pipelines.stages.distil:take_questions", 3, resources.fetching_questions)
DISTIL = Stage("distil", 1, "pipelines.stages.distil:ask_generator", 10, resources.distilling)
FILTER = Stage("filter", 1, "pipelines.stages.distil:filter_answers", 10, resources.filtering)
MIX = Stage("mix", 1, "pipelines.stages.distil:mix_sets", 3, resources.mixing)
BENCHMARKS = Stage("benchmarks", 1, "pipelines.stages.benchmarks:make_benchmarks", 3, resources.fetching_tables)
PRIOR = Stage("prior", 1, "pipelines.stages.weights:extract_prior", 1, resources.extracting)
GEOMETRY = Stage("geometry", 1, "pipelines.stages.weights:measure_geometry", 1, resources.measuring)
MERGE = Stage("merge", 1, "pipelines.stages.weights:merge_models", 1, resources.merging)
FRISM = Stage("frism", 1, "pipelines.stages.weights:learn_gates", 20, resources.gating)
TRAIN = Stage("train", 1, "pipelines.stages.train:run_training", 13, resources.training)
GENERATE = Stage("generate", 2, "pipelines.stages.evaluate:generate", 2, resources.answering)
AGREEMENT = Stage("agreement", 1, "pipelines.stages.agreement:check_agreement", 2, resources.agreeing)
JUDGE = Stage("judge", 2, "pipelines.stages.judge:judge_responses", 600, resources.judging)
SCORE = Stage("score", 5, "pipelines.stages.evaluate:score_responses", 0.2, resources.judging)
SECOND_OPINION = Stage(
    "second_opinion", 1, "pipelines.stages.second_opinion:compare_with_toolkit", 200, resources.comparing
)
CHOOSE = Stage("choose", 2, "pipelines.stages.evaluate:choose", 0.1)
GATE = Stage("gate", 1, "pipelines.stages.gate:check_baseline", 0.1)
REPORT = Stage("report", 5, "pipelines.stages.report:report", 5)
PARTIAL = Stage("partial", 3, "pipelines.stages.partial:partial_report", 5)
_ALL = (
    MODEL, DATA, QUESTIONS, DISTIL, FILTER, MIX, ANSWERS, BENCHMARKS, PRIOR, GEOMETRY, MERGE, FRISM, TRAIN, AGREEMENT,
    GENERATE, JUDGE, SCORE, SECOND_OPINION, CHOOSE, GATE, REPORT, PARTIAL,
)  # fmt: skip
STAGES = {stage.name: stage for stage in _ALL}
