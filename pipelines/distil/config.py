"""What distilling and filtering are told: the frozen configs that `conf/data` composes. Light: no numpy, no Pillow."""

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from drift.config import RUNTIME, Count, Natural, NotNegative, Positive, Share, SomeShare, faults
from drift.errors import DataError
from evaluation.engines.base import GenerationSettings

RuleName = Literal["whole", "format", "length", "language", "repetition", "correct", "contamination", "duplicates"]
OF_SETS: tuple[str, ...] = ("contamination", "duplicates")
Select = Literal["shortest", "longest", "first", "random"]


@dataclass(frozen=True)
class PictureLimits:
    """What a picture must be like to be learnt from: its sides in pixels, and how much longer one may be.

    Qwen's image processors refuse an aspect of more than 200; 8,192 squared unpack to 200 MB.
    """

    least_side: Count = 8
    most_side: Count = 8192
    most_aspect: Positive = 200.0

    def __post_init__(self) -> None:
        """Refuse numbers out of range (DataError)."""
        _refuse("limits", self)


@dataclass(frozen=True)
class Sampling:
    """How a generator is asked: `samples` answers to each question, the n-th drawn with seed + n.

    Attributes:
        prompt: what is asked, `{question}` standing for question and options.
    """

    samples: Count = 1
    temperature: NotNegative = 1.0
    top_p: SomeShare = 1.0
    max_new_tokens: Count = 4096
    seed: Natural = 0
    prompt: str = "{question}\nThink first, between <think> and </think>; then give the final answer in \\boxed{}."

    def __post_init__(self) -> None:
        """Refuse several samples that would all be the same, and a prompt without the question (DataError)."""
        _refuse(
            "sampling",
            self,
            ("samples", self.samples == 1 or self.temperature > 0, "1 with temperature 0, which draws nothing"),
            ("prompt", "{question}" in self.prompt, "a text with {question} in it"),
        )


def settings_of(sampling: Sampling, engine: GenerationSettings) -> GenerationSettings:
    """An engine's settings with what the sampling says of them."""
    return replace(
        engine,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_new_tokens=sampling.max_new_tokens,
        seed=sampling.seed,
    )


@dataclass(frozen=True)
class Length:
    """So many characters of thoughts, which every language and tokenizer has."""

    least: Count = 10
    most: Count = 20_000


@dataclass(frozen=True)
class Language:
    """Of an answer's letters, at least a share are of one script: what is told is the script, not the language."""

    script: Literal["latin", "han", "cyrillic"] = "latin"
    least: Share = 0.98


@dataclass(frozen=True)
class Repetition:
    """At most a share of an answer's runs of `run` words stand in it before; below `least` runs nothing is told."""

    run: Count = 10
    most: Share = 0.3
    least: Count = 30


@dataclass(frozen=True)
class Correct:
    """`symbolic` asks a computer algebra system about formulas, in a process with bounded time."""

    symbolic: bool = True


@dataclass(frozen=True)
class Alike:
    """When two questions count as one: the least share of common word triples, and how many words say anything.

    A question of fewer words ("What is the value of x?") is asked about many pictures, so there words prove nothing.
    """

    overlap: SomeShare = 0.6
    words: Count = 8
    permutations: Count = 128


@dataclass(frozen=True)
class Near:
    """How near two pictures must be: the share of bits that may differ, in both hashes of a view.

    Attributes:
        bits: 0 finds only what looks the same to the last bit.
        crops: what each side of an indexed picture is also cut by, as shares of it.
    """

    bits: Share = 0.28
    crops: tuple[Share, ...] = (0.03, 0.06)


@dataclass(frozen=True)
class FilterConfig:
    """Which rules an answer must pass, their knobs, and which of several that do is taken.

    Attributes:
        rules: those that apply; those of answers in their order, then, of what was taken, contamination and duplicates.
        select: of the answers to one question that passed.
        seed: of select=random.
        processes: that apply the rules side by side.
    """

    rules: tuple[RuleName, ...] = get_args(RuleName)
    select: Select = "shortest"
    seed: Natural = 0
    length: Length = field(default_factory=Length)
    language: Language = field(default_factory=Language)
    repetition: Repetition = field(default_factory=Repetition)
    correct: Correct = field(default_factory=Correct)
    alike: Alike = field(default_factory=Alike)
    near: Near = field(default_factory=Near)
    processes: Count = field(default=2, metadata=RUNTIME)

    def __post_init__(self) -> None:
        """Refuse a rule that is unknown or named twice, and knobs out of range (DataError)."""
        known = all(name in get_args(RuleName) for name in self.rules) and len(set(self.rules)) == len(self.rules)
        _refuse("filter", self, ("rules", known, f"some of {', '.join(get_args(RuleName))}, each once"))

    @property
    def of_answers(self) -> tuple[str, ...]:
        """The rules that look at one answer, in their order."""
        return tuple(name for name in self.rules if name not in OF_SETS)


@dataclass(frozen=True)
class MixConfig:
    """How many filtered examples, and how many answers that no filter has seen go beside each of them.

    Attributes:
        filtered: 0 takes all there are.
        unfiltered: for each filtered one.
        seed: of the draw.
    """

    filtered: Natural = 0
    unfiltered: NotNegative = 0.0
    seed: Natural = 0

    def __post_init__(self) -> None:
        """Refuse numbers out of range (DataError)."""
        _refuse("mix", self)


def _refuse(name: str, config: object, *ranges: tuple[str, bool, str]) -> None:
    if found := faults(config, *ranges):
        raise DataError("; ".join(f"{name}.{each}" for each in found))
