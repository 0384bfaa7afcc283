"""A generation file is the same byte for byte however often and wherever the run was cut."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pico_vl
import pytest

from drift.errors import DataError
from evaluation.data.predictions import read_predictions
from evaluation.engines.base import Batch, Engine, EngineError, GenerationSettings, Request, Response
from evaluation.engines.generate import run_generation
from evaluation.engines.transformers import TransformersEngine

SETTINGS = GenerationSettings(max_new_tokens=12, batch_size=4)
REQUESTS = [Request(str(i), f"question {i}") for i in range(22)]


class Cut(RuntimeError):
    """Stands for a kill: nothing in the library catches it."""


class EchoEngine(Engine):
    """Answers with the whole batch it was computed in, so that a change of batch shows; may stop early."""

    model = "echo/1"

    def __init__(self, batches_left: int | None = None, silent: frozenset[str] = frozenset()) -> None:
        self.batches_left = batches_left
        self.silent = silent
        self.answered: list[str] = []

    def plan(self, requests: Sequence[Request], settings: GenerationSettings) -> list[Batch]:
        size = settings.batch_size
        return [tuple(requests[i : i + size]) for i in range(0, len(requests), size)][::-1]

    def run(self, batches: Sequence[Batch], settings: GenerationSettings) -> Iterator[list[Response]]:
        for batch in batches:
            if self.batches_left is not None:
                if self.batches_left == 0:
                    raise Cut
                self.batches_left -= 1
            together = "+".join(r.index for r in batch)
            self.answered += [r.index for r in batch]
            yield [
                Response(r.index, f"\ud800{together}", "stop", 1, r.prompt_sha256, settings.sha256())
                for r in batch
                if r.index not in self.silent
            ]


@pytest.fixture
def finished(tmp_path):
    path = tmp_path / "whole.jsonl"
    run_generation(EchoEngine(), REQUESTS, SETTINGS, path)
    return path.read_bytes()


@pytest.mark.parametrize("batches", [0, 1, 3, 5])
def test_a_run_cut_between_batches_resumes_to_the_same_bytes(tmp_path, finished, batches):
    path = tmp_path / "out.jsonl"
    with pytest.raises(Cut):
        run_generation(EchoEngine(batches), REQUESTS, SETTINGS, path)
    engine = EchoEngine()
    run_generation(engine, REQUESTS, SETTINGS, path)
    assert path.read_bytes() == finished
    answered_before = sum(len(batch) for batch in engine.plan(REQUESTS, SETTINGS)[:batches])
    assert len(engine.answered) == len(REQUESTS) - answered_before


def test_a_file_cut_at_any_byte_resumes_to_the_same_bytes(tmp_path, finished):
    path = tmp_path / "out.jsonl"
    with pytest.raises(Cut):
        run_generation(EchoEngine(4), REQUESTS, SETTINGS, path)
    whole = path.read_bytes()
    for length in random.Random(0).sample(range(len(whole)), 40):
        path.write_bytes(whole[:length])
        run_generation(EchoEngine(), REQUESTS, SETTINGS, path)
        assert path.read_bytes() == finished


def test_a_finished_file_is_not_computed_again(tmp_path, finished):
    path = tmp_path / "whole.jsonl"
    engine = EchoEngine()
    responses = run_generation(engine, REQUESTS, SETTINGS, path)
    assert engine.answered == []
    assert path.read_bytes() == finished
    assert [r.index for r in responses] == [r.index for r in REQUESTS]


def test_lines_are_in_request_order_and_readable_by_the_scorer(tmp_path, finished):
    lines = [json.loads(line) for line in finished.splitlines()]
    assert [line["index"] for line in lines] == [r.index for r in REQUESTS]
    assert read_predictions(tmp_path / "whole.jsonl")["21"] == lines[21]["response"]


@pytest.mark.parametrize("other", ["settings", "prompt", "model", "index"])
def test_lines_of_another_run_are_refused_not_mixed(tmp_path, finished, other):
    path, engine, requests, settings = tmp_path / "whole.jsonl", EchoEngine(), REQUESTS, SETTINGS
    if other == "settings":
        settings = replace(SETTINGS, max_new_tokens=13)
    elif other == "prompt":
        requests = [replace(r, prompt="other") for r in REQUESTS]
    elif other == "model":
        engine.model = "echo/2"
    else:
        requests = REQUESTS[:-1]
    with pytest.raises(DataError, match="response of another run"):
        run_generation(engine, requests, settings, path)
    assert path.read_bytes() == finished


def test_unanswered_requests_are_an_error_and_the_others_are_kept(tmp_path):
    path = tmp_path / "out.jsonl"
    single = replace(SETTINGS, batch_size=1)
    with pytest.raises(EngineError, match="2 of 22 requests have no answer, first '3'"):
        run_generation(EchoEngine(silent=frozenset({"3", "9"})), REQUESTS, single, path)
    engine = EchoEngine()
    run_generation(engine, REQUESTS, single, path)
    assert sorted(engine.answered) == ["3", "9"]


def test_repeated_indices_and_damage_in_the_middle_are_refused(tmp_path):
    with pytest.raises(DataError, match="'0' stands at least twice"):
        run_generation(EchoEngine(), [*REQUESTS, REQUESTS[0]], SETTINGS, tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_text('{"index": "0"\n{"index": "1"}\n')
    with pytest.raises(DataError, match=r"b\.jsonl:1: not JSON"):
        run_generation(EchoEngine(), REQUESTS, SETTINGS, tmp_path / "b.jsonl")


def test_a_model_that_was_cut_resumes_to_the_same_bytes(tmp_path):
    folder = pico_vl.save_model(tmp_path / "model")
    requests = pico_vl.requests(20)
    engine = TransformersEngine(folder, dtype="float32", device="cpu", image_backend="pil")
    run_generation(engine, requests, SETTINGS, tmp_path / "whole.jsonl")
    whole = (tmp_path / "whole.jsonl").read_bytes()
    (tmp_path / "out.jsonl").write_bytes(whole[: len(whole) // 2])
    run_generation(engine, requests, SETTINGS, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == whole
