"""Engines that compute elsewhere: failures are missing answers, never empty ones, and settings are sent or refused."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from local_http import Server, serve
from pico_vl import requests as pico_requests

from evaluation.engines.base import EngineError, GenerationSettings, Request
from evaluation.engines.chat import ChatClient, ChatError, Endpoint, EndpointLostError
from evaluation.engines.config import EngineConfig, load_engine
from evaluation.engines.generate import run_generation
from evaluation.engines.openai import OpenAIEngine
from evaluation.engines.precomputed import PrecomputedEngine
from evaluation.engines.vllm import VLLMEngine

PATIENCE = {"pause": 0.0, "timeout": 5.0, "attempts": 3, "concurrency": 4}


SETTINGS = GenerationSettings(max_new_tokens=7)


def engine_at(url: str, **patience) -> OpenAIEngine:
    return OpenAIEngine(Endpoint(url, "m", **(PATIENCE | patience)), server="vllm")


def test_generation_sends_images_first_with_the_settings(tmp_path):
    server = Server("<think>x</think> 7")
    settings = replace(SETTINGS, max_pixels=999, repetition_penalty=1.1, system_prompt="Be brief.")
    with serve(server) as url:
        [response] = run_generation(engine_at(url), [pico_requests(2)[1]], settings, tmp_path / "o.jsonl")
    assert (response.text, response.finish_reason, response.tokens) == ("<think>x</think> 7", "stop", 2)
    [body] = server.bodies
    system, user = body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert [part["type"] for part in user["content"]] == ["image_url", "text"]
    assert user["content"][0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert (body["max_tokens"], body["temperature"], body["skip_special_tokens"]) == (7, 0.0, False)
    assert (body["mm_processor_kwargs"], body["repetition_penalty"]) == ({"max_pixels": 999}, 1.1)


def test_failed_requests_are_missing_not_empty_and_are_asked_again(tmp_path):
    requests = [Request(str(i), f"question {i}") for i in range(9)]
    failing = Server(lambda body: 500 if "question 4" in str(body) else str(body["messages"][0]["content"][0]["text"]))
    path = tmp_path / "o.jsonl"
    with serve(failing) as url, pytest.raises(EngineError, match="1 of 9 requests failed, first '4'"):
        run_generation(engine_at(url), requests, SETTINGS, path)
    healthy = Server(lambda body: str(body["messages"][0]["content"][0]["text"]))
    with serve(healthy) as url:
        responses = run_generation(engine_at(url), requests, SETTINGS, path)
    assert [r.text for r in responses] == [f"question {i}" for i in range(9)]
    assert len(healthy.bodies) == 1


def test_a_lost_endpoint_ends_generation_early_and_keeps_what_came(tmp_path):
    requests = [Request(str(i), f"question {i}") for i in range(200)]
    server = Server(*["fine"] * 30, 503)
    with serve(server) as url, pytest.raises(EngineError, match="170 of 200 requests failed"):
        run_generation(engine_at(url, failures_in_a_row=4), requests, SETTINGS, tmp_path / "o.jsonl")
    assert len((tmp_path / "o.jsonl").read_bytes().splitlines()) == 30
    assert len(server.bodies) < 30 + 3 * (4 + 4)


def test_a_lost_endpoint_makes_no_further_call():
    server = Server(400)
    with serve(server) as url:
        client = ChatClient(Endpoint(url, "m", failures_in_a_row=2))
        for expected in (ChatError, ChatError, EndpointLostError):
            with pytest.raises(expected):
                client.complete([], {})
    assert len(server.bodies) == 2


def test_settings_that_a_plain_endpoint_cannot_honour_are_refused():
    engine = OpenAIEngine(Endpoint("http://127.0.0.1:9", "m"))
    with pytest.raises(EngineError, match=r"'repetition_penalty'\] can't be sent"):
        list(engine.generate([Request("0", "q")], replace(SETTINGS, repetition_penalty=1.2)))
    with pytest.raises(EngineError, match="unknown server 'vlm'; did you mean 'vllm'"):
        OpenAIEngine(Endpoint("http://127.0.0.1:9", "m"), server="vlm")


class FakeLLM:
    """Records what vLLM's LLM would be given, and answers every chat with three tokens."""

    calls: list[dict] = []  # noqa: RUF012 (one record for the whole test)

    def __init__(self, **options):
        self.calls.append(options)

    def chat(self, chats, sampling, **options):
        self.calls.append({"chats": chats, "sampling": sampling, **options})
        completion = SimpleNamespace(text="<think> 7", finish_reason="stop", token_ids=[1, 2, 3])
        return [SimpleNamespace(outputs=[completion]) for _ in chats]


def test_vllm_gets_our_settings_and_not_the_checkpoints(tmp_path, monkeypatch):
    fake = SimpleNamespace(LLM=FakeLLM, SamplingParams=lambda **options: options, __spec__=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "vllm", fake)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    engine = VLLMEngine(tmp_path)
    responses = list(engine.generate(pico_requests(3), replace(SETTINGS, max_pixels=99, top_k=5, seed=3)))
    assert [(r.text, r.finish_reason, r.tokens) for r in responses] == [("<think> 7", "stop", 2)] * 3
    loaded, asked = FakeLLM.calls
    assert loaded["generation_config"] == "vllm"
    assert asked["mm_processor_kwargs"] == {"max_pixels": 99}
    sampling = asked["sampling"]
    assert (sampling["temperature"], sampling["top_k"], sampling["seed"], sampling["max_tokens"]) == (0.0, -1, None, 7)
    assert sampling["skip_special_tokens"] is False
    with pytest.raises(EngineError, match="2 images, loaded for 1; raise images_per_prompt"):
        engine.plan([Request("0", "q", (b"", b""))], SETTINGS)


def test_an_engine_that_is_not_installed_or_not_known_says_so(tmp_path):
    with pytest.raises(EngineError, match="vllm is not installed"):
        load_engine(EngineConfig(name="vllm", model=str(tmp_path)))
    with pytest.raises(EngineError, match="unknown engine 'vlm'; did you mean 'vllm'"):
        load_engine(EngineConfig(name="vlm", model="x"))
    with pytest.raises(EngineError, match="needs `model`"):
        load_engine(EngineConfig())
    with pytest.raises(EngineError, match="no checkpoint"):
        load_engine(EngineConfig(model=str(tmp_path)))


def test_the_factory_makes_the_engine_that_is_described(tmp_path: Path):
    answers = tmp_path / "a.jsonl"
    answers.write_text('{"index": "0", "response": "7"}\n')
    assert isinstance(load_engine(EngineConfig(name="precomputed", model=str(answers))), PrecomputedEngine)
    remote = load_engine(EngineConfig(name="openai", model="m", server="vllm"))
    assert isinstance(remote, OpenAIEngine)
    assert remote.model == "vllm/m"
