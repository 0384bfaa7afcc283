"""Engines that compute elsewhere: failures are missing answers, never empty ones, and settings are sent or refused."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated

import pydantic
import pytest
from local_http import Server, serve
from pico_vl import requests as pico_requests
from pico_vl import save_model

from drift.config import RUNTIME
from evaluation.engines.base import Engine, EngineError, GenerationSettings, Request
from evaluation.engines.chat import ChatClient, ChatError, EndpointLostError
from evaluation.engines.config import (
    Endpoint,
    EngineConfig,
    OpenAIConfig,
    PrecomputedConfig,
    TransformersConfig,
    VLLMConfig,
    load_engine,
)
from evaluation.engines.generate import run_generation
from evaluation.engines.identity import folder_sha256
from evaluation.engines.openai import OpenAIEngine
from evaluation.engines.precomputed import PrecomputedEngine
from evaluation.judging.config import JudgeConfig, OpenAIJudge, RulesJudge

PATIENCE = {"pause": 0.0, "timeout": 5.0, "attempts": 3, "concurrency": 4}


SETTINGS = GenerationSettings(max_new_tokens=7)


def engine_at(url: str, **patience) -> Engine:
    told = PATIENCE | patience
    return load_engine(OpenAIConfig(url, "m", name="openai", settings=SETTINGS, server="vllm", **told))


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


def test_settings_that_a_plain_endpoint_cannot_honour_are_refused_where_they_are_typed_and_where_they_are_sent():
    plain = OpenAIConfig("http://127.0.0.1:9", "m", name="openai", settings=SETTINGS)
    limits = replace(SETTINGS, min_pixels=4, max_pixels=9, repetition_penalty=1.2)
    names = r"\['min_pixels', 'max_pixels', 'repetition_penalty'\] can't be sent.*say engine\.server=vllm"
    with pytest.raises(EngineError, match=names):
        replace(plain, settings=limits)
    with pytest.raises(EngineError, match=names):
        list(load_engine(plain).generate([Request("0", "q")], limits))
    assert replace(plain, settings=limits, server="vllm").settings == limits
    with pytest.raises(EngineError, match=r"\['top_k'\] can't be sent"):
        replace(plain, settings=replace(SETTINGS, temperature=1.0, top_k=3))
    with pytest.raises(EngineError, match="unknown server 'vlm'; did you mean 'vllm'"):
        replace(plain, server="vlm")


def test_an_endpoint_without_a_name_serves_the_checkpoint_under_its_folders_path(tmp_path):
    save_model(tmp_path / "model")
    server = Server("7")
    with serve(server) as url:
        config = OpenAIConfig(url, name="openai", settings=SETTINGS, server="vllm")
        engine = load_engine(config, tmp_path / "model")
        [response] = engine.generate([Request("0", "q")], SETTINGS)
        with pytest.raises(EngineError, match="no checkpoint"):
            load_engine(config, tmp_path)
    assert (response.text, server.bodies[0]["model"]) == ("7", str(tmp_path / "model"))
    assert engine.model == f"vllm/sha256:{folder_sha256(tmp_path / 'model')}"


def test_an_engine_that_is_not_installed_or_has_no_checkpoint_says_so(tmp_path):
    with pytest.raises(EngineError, match="needs `model`"):
        load_engine(TransformersConfig("transformers", SETTINGS))
    with pytest.raises(EngineError, match="no checkpoint"):
        load_engine(TransformersConfig("transformers", SETTINGS), tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EngineError, match=r"vLLM is not installed: there is no program no-such; run `make setup-vllm`"):
        load_engine(VLLMConfig("vllm", SETTINGS, command="no-such"), tmp_path)


def test_all_faults_of_a_config_come_in_one_error():
    with pytest.raises(EngineError, match=r"VLLMConfig: unknown name 'vlm'; did you mean 'vllm'.*memory_share is 2"):
        VLLMConfig("vlm", SETTINGS, tensor_parallel=0, memory_share=2)
    with pytest.raises(EngineError, match="tensor_parallel is 0, expected at least 1; memory_share is 2"):
        VLLMConfig("vllm", SETTINGS, tensor_parallel=0, memory_share=2)
    with pytest.raises(EngineError, match="responses is '', expected the path"):
        PrecomputedConfig("precomputed", SETTINGS, "")


def test_the_factory_makes_the_engine_that_is_described(tmp_path: Path):
    answers = tmp_path / "a.jsonl"
    answers.write_text('{"index": "0", "response": "7"}\n')
    assert isinstance(load_engine(PrecomputedConfig("precomputed", SETTINGS, str(answers))), PrecomputedEngine)
    remote = load_engine(OpenAIConfig("http://127.0.0.1:9", "m", name="openai", settings=SETTINGS, server="vllm"))
    assert isinstance(remote, OpenAIEngine)
    assert remote.model == "vllm/m"


@pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class Run:
    """A strict config that holds ours whole, as a pipeline's does."""

    engine: Annotated[EngineConfig, pydantic.Field(discriminator="name")]
    judge: Annotated[JudgeConfig, pydantic.Field(discriminator="name")]


def test_a_pipeline_types_the_configs_by_name_and_an_unknown_key_is_refused():
    engine = {"name": "openai", "settings": {"max_pixels": 9}, "url": "http://x/v1", "server": "vllm"}
    judge = {"name": "openai", "mode": "official", "url": "http://y/v1", "model": "j", "timeout": 5}
    run = pydantic.TypeAdapter(Run).validate_python({"engine": engine, "judge": judge})
    assert run.engine == OpenAIConfig(
        "http://x/v1", name="openai", settings=GenerationSettings(max_pixels=9), server="vllm"
    )
    assert run.judge == OpenAIJudge("http://y/v1", "j", timeout=5.0, name="openai")
    rules = pydantic.TypeAdapter(Annotated[JudgeConfig, pydantic.Field(discriminator="name")])
    assert rules.validate_python({"name": "rules"}) == RulesJudge("rules", "official")
    for changed in (
        {"engine": engine | {"server_name": 1}, "judge": judge},
        {"engine": engine | {"base_url": "http://x"}, "judge": judge},
        {"engine": engine, "judge": judge | {"key": "x"}},
        {"engine": engine | {"settings": {"max_pixel": 1}}, "judge": judge},
    ):
        with pytest.raises(pydantic.ValidationError, match="Unexpected keyword argument"):
            pydantic.TypeAdapter(Run).validate_python(changed)


def test_what_changes_no_response_is_marked_as_runtime():
    changed = {
        Endpoint: {"url", "model"},
        TransformersConfig: {"name", "settings", "dtype", "image_backend"},
        VLLMConfig: {"name", "settings", "dtype", "max_model_len"},
        OpenAIConfig: {"url", "model", "name", "settings", "server"},
        OpenAIJudge: {"url", "model", "name", "mode", "audit"},
    }
    for config, expected in changed.items():
        assert {f.name for f in fields(config) if f.metadata != RUNTIME} == expected


@pytest.mark.parametrize(
    ("settings", "sha256"),
    [
        (GenerationSettings(), "151d8d2ba25f48da9363bf9eac8e3224797e33cb9c73f84cdfe393e7f13b6e49"),
        (
            GenerationSettings(max_new_tokens=52, min_pixels=1003520),
            "a2f77886c4de0ae40160862792794dcce8ada495bb77d00b35e5cfc8f44d9c9b",
        ),
        (
            GenerationSettings(
                temperature=0.7, top_k=5, seed=3, min_pixels=4, max_pixels=9, system_prompt="x", batch_size=3
            ),
            "fa925acdc6f67085e1e5496397bb1d759c04530e21b9fefad54993628a36ffa4",
        ),
    ],
)
def test_the_hash_of_settings_is_the_one_that_stored_responses_hold(settings, sha256):
    assert settings.sha256() == sha256
