"""What every generation engine takes and gives: requests in, responses out, settings with a hash. Light: no torch.

An engine is a loaded model or an open endpoint. It first plans (which requests are computed together, a pure function
of the whole request list), then runs the batches it is handed. Planning and running are apart so that an interrupted
run can repeat exactly the batches that are missing: a response then never depends on where the interruption fell.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from drift.config import RUNTIME, Count, Natural, NotNegative, Positive, SomeShare, faults, identity_of
from drift.errors import DriftError

FINISH_REASONS = ("stop", "length", "unknown")


class EngineError(DriftError):
    """A model could not be loaded, an endpoint could not be reached, or an answer has no usable form."""


def refuse(config: Any, *ranges: tuple[str, bool, str]) -> None:
    """Raise one EngineError with all that `drift.config.faults` finds, if it finds anything."""
    if found := faults(config, *ranges):
        raise EngineError(f"{type(config).__name__}: {'; '.join(found)}")


@dataclass(frozen=True)
class Request:
    """One question to a model: images first, then the prompt, in one user turn.

    Attributes:
        index: the benchmark's row index, unique in a run.
        prompt: the user's text, before any chat template.
        images: encoded files (PNG, JPEG, ...), in the order in which the model sees them.
    """

    index: str
    prompt: str
    images: tuple[bytes, ...] = ()

    @property
    def prompt_sha256(self) -> str:
        """The hash of the prompt and its images, so that a changed image is a changed prompt."""
        digest = hashlib.sha256(self.prompt.encode())
        for image_sha256 in self.image_sha256:
            digest.update(image_sha256.encode())
        return digest.hexdigest()

    @property
    def image_sha256(self) -> tuple[str, ...]:
        """The hash of each encoded image."""
        return tuple(hashlib.sha256(image).hexdigest() for image in self.images)


@dataclass(frozen=True)
class GenerationSettings:
    """Everything that may change a response, plus the batch size, which must not.

    Attributes:
        max_new_tokens: an answer longer than this is cut and marked `length`.
        temperature: 0 is greedy; above 0 samples with `top_k`, `top_p` and `seed`.
        top_k: 0 keeps all tokens.
        top_p: in (0, 1]; 1 keeps all tokens.
        repetition_penalty: 1 is none. A checkpoint's own generation_config is never consulted for it.
        seed: of sampling; no effect when greedy.
        min_pixels, max_pixels: limits of the image processor; None keeps the processor's own.
        system_prompt: a system turn before the question; empty leaves the chat template's default.
        batch_size: requests computed together; not part of the hash.
    """

    max_new_tokens: Count = 2048
    temperature: NotNegative = 0.0
    top_k: Natural = 0
    top_p: SomeShare = 1.0
    repetition_penalty: Positive = 1.0
    seed: Natural = 0
    min_pixels: Count | None = None
    max_pixels: Count | None = None
    system_prompt: str = ""
    batch_size: Count = field(default=16, metadata=RUNTIME)

    def __post_init__(self) -> None:
        """Refuse values that no engine can honour.

        Raises:
            EngineError: a count below one, a negative temperature or top_k, top_p outside (0, 1].
        """
        fits = self.max_pixels is None or self.max_pixels >= (self.min_pixels or 1)
        refuse(self, ("max_pixels", fits, "at least min_pixels"))

    @property
    def do_sample(self) -> bool:
        """Sampling is exactly a temperature above zero."""
        return self.temperature > 0

    @property
    def pixel_limits(self) -> dict[str, int]:
        """The limits that are set, by name."""
        limits = {"min_pixels": self.min_pixels, "max_pixels": self.max_pixels}
        return {name: value for name, value in limits.items() if value is not None}

    def sha256(self) -> str:
        """The identity of the settings: equal for equal meaning, blind to batch size and, when greedy, seed."""
        fields = identity_of(self)
        if not self.do_sample:
            for name in ("seed", "top_k", "top_p"):
                del fields[name]
        # 1 and 1.0 are the same setting but not the same JSON.
        canonical = {key: float(value) if isinstance(value, int) else value for key, value in fields.items()}
        return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Response:
    """One answer, with what is needed to know where it came from.

    Attributes:
        text: as generated, `<think>` and other special markup kept, the end token removed.
        finish_reason: `stop` (the model ended), `length` (cut at max_new_tokens) or `unknown` (precomputed).
        tokens: generated tokens without the end token; None when the source does not say.
    """

    index: str
    text: str
    finish_reason: str
    tokens: int | None
    prompt_sha256: str
    settings_sha256: str


def answered(
    request: Request, settings: GenerationSettings, text: str, finish_reason: str, tokens: int | None
) -> Response:
    """The response to a request; a finish reason that is none of ours is `unknown`."""
    finish_reason = finish_reason if finish_reason in FINISH_REASONS else "unknown"
    return Response(request.index, text, finish_reason, tokens, request.prompt_sha256, settings.sha256())


Batch = tuple[Request, ...]


class Engine(ABC):
    """Answers requests; `model` is the identity of what answers, and goes with every response.

    Subclasses give `plan` and `run`; `generate` is both in one for callers that do not resume.
    """

    model: str

    @abstractmethod
    def plan(self, requests: Sequence[Request], settings: GenerationSettings) -> list[Batch]:
        """Every request exactly once, grouped into the batches that are computed (and stored) together."""

    @abstractmethod
    def run(self, batches: Sequence[Batch], settings: GenerationSettings) -> Iterator[list[Response]]:
        """The responses of each batch, one list a batch, in any order of batches.

        Raises:
            EngineError: some requests got no answer; raised after the others were handed over where that is possible.
        """

    @contextmanager
    def opened(self, logs: Path) -> Iterator[Self]:
        """The engine while what it runs beside this process is there: for one that runs nothing, the engine.

        Args:
            logs: the folder for what such processes say.
        """
        yield self

    def generate(self, requests: Sequence[Request], settings: GenerationSettings) -> Iterator[Response]:
        """The response to every request, in the order in which the engine finishes them."""
        for responses in self.run(self.plan(requests, settings), settings):
            yield from responses
