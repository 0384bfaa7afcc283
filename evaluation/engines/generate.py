"""Run an engine over requests into a JSONL file that survives a kill and does not depend on one.

A batch's lines are written in one go, and only whole batches count: what a kill left torn is thrown away and computed
again as the same batch, so the finished file is the same byte for byte as that of an uninterrupted run. One file
belongs to one run: lines made from other prompts, settings or another model are refused, never mixed in. One line is
{index, response, finish_reason, tokens, prompt, prompt_sha256, image_sha256, settings_sha256, model};
`evaluation.score` reads it as it is.
"""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from drift.errors import DataError
from drift.files import read_jsonl, write_jsonl
from evaluation.engines.base import Engine, EngineError, GenerationSettings, Request, Response

log = logging.getLogger(__name__)


def run_generation(
    engine: Engine, requests: Sequence[Request], settings: GenerationSettings, out_jsonl: Path
) -> list[Response]:
    """Answer what `out_jsonl` does not hold yet; afterwards it holds every request once, in request order.

    Returns:
        The responses in request order, old and new.
    Raises:
        DataError: two requests share an index, or the file holds lines of another run.
        EngineError: some requests got no answer; the others are in the file, and the same call resumes.
    """
    by_index = {request.index: request for request in requests}
    if len(by_index) < len(requests):
        twice = Counter(request.index for request in requests).most_common(1)[0][0]
        raise DataError(f"{len(requests)} requests share {len(by_index)} indices; {twice!r} stands at least twice")
    batches = engine.plan(requests, settings)
    done = _read_done(out_jsonl, by_index, settings.sha256(), engine.model)
    complete = [batch for batch in batches if all(request.index in done for request in batch)]
    done = {request.index: done[request.index] for batch in complete for request in batch}
    pending = [batch for batch in batches if batch[0].index not in done]
    write_jsonl(out_jsonl, done.values())
    if done:
        log.info(
            "%s holds %d of %d responses; %d to go", out_jsonl, len(done), len(requests), len(requests) - len(done)
        )
    bar = tqdm(total=len(by_index), initial=len(done), unit="item", desc=out_jsonl.stem, disable=None)
    with bar, out_jsonl.open("ab") as stream:
        for responses in engine.run(pending, settings):
            new = [_to_line(response, by_index[response.index], engine.model) for response in responses]
            stream.write(b"".join(json.dumps(line).encode("ascii") + b"\n" for line in new))
            stream.flush()
            done.update({line["index"]: line for line in new})
            bar.update(len(new))
    missing = [request.index for request in requests if request.index not in done]
    if missing:
        raise EngineError(
            f"{len(missing)} of {len(requests)} requests have no answer, first {missing[0]!r}; run again to resume"
        )
    lines = [done[request.index] for request in requests]
    write_jsonl(out_jsonl, lines)
    names = ("index", "finish_reason", "tokens", "prompt_sha256", "settings_sha256")
    return [Response(text=line["response"], **{name: line[name] for name in names}) for line in lines]


def _read_done(path: Path, by_index: dict[str, Request], settings_sha256: str, model: str) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    done = {}
    for line in read_jsonl(path, "responses", allow_torn_end=True):
        request = by_index.get(str(line.get("index")))
        found = (line.get("prompt_sha256"), line.get("settings_sha256"), line.get("model"))
        expected = (request.prompt_sha256, settings_sha256, model) if request else "no such request"
        if request is None or found != expected:
            raise DataError(
                f"{path} holds a response of another run: index {line.get('index')!r} with (prompt, settings, model) "
                f"{found}, expected {expected}; write to another file or delete this one"
            )
        done[request.index] = line
    return done


def _to_line(response: Response, request: Request, model: str) -> dict[str, Any]:
    return {
        "index": response.index,
        "response": response.text,
        "finish_reason": response.finish_reason,
        "tokens": response.tokens,
        "prompt": request.prompt,
        "prompt_sha256": response.prompt_sha256,
        "image_sha256": list(request.image_sha256),
        "settings_sha256": response.settings_sha256,
        "model": model,
    }
