"""Responses that somebody else made, from a JSONL file: the engine for published outputs. No model is loaded."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from drift.errors import DataError
from drift.files import read_jsonl, sha256_of
from evaluation.data.predictions import read_predictions
from evaluation.engines.base import Batch, Engine, GenerationSettings, Request, Response


class PrecomputedEngine(Engine):
    """Answers from a JSONL of {index, response}, optionally with finish_reason and tokens; settings are not applied."""

    def __init__(self, path: Path) -> None:
        """Read all lines; a repeated index or a line without text is refused (DataError)."""
        self.path = path
        self._texts = read_predictions(path)
        self._lines = {str(line["index"]): line for line in read_jsonl(path, "responses")}
        self.model = f"precomputed/sha256:{sha256_of(path)}"

    def plan(self, requests: Sequence[Request], settings: GenerationSettings) -> list[Batch]:
        """One batch with everything: there is nothing to compute.

        Raises:
            DataError: a request has no line in the file.
        """
        missing = [request.index for request in requests if request.index not in self._texts]
        if missing:
            raise DataError(
                f"{self.path} answers {len(requests) - len(missing)} of {len(requests)} requests; "
                f"first missing index: {missing[0]!r}. Leave it out of the data or add a line for it"
            )
        return [tuple(requests)] if requests else []

    def run(self, batches: Sequence[Batch], settings: GenerationSettings) -> Iterator[list[Response]]:
        """The stored responses, unchanged."""
        for batch in batches:
            yield [self._response(request, settings) for request in batch]

    def _response(self, request: Request, settings: GenerationSettings) -> Response:
        line = self._lines[request.index]
        tokens = line.get("tokens")
        return Response(
            index=request.index,
            text=self._texts[request.index],
            finish_reason=str(line.get("finish_reason", "unknown")),
            tokens=tokens if isinstance(tokens, int) else None,
            prompt_sha256=request.prompt_sha256,
            settings_sha256=settings.sha256(),
        )
