"""Replicas of `vllm serve` share the items, survive one that dies, and are gone when whoever asked is."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from evaluation.engines.base import EngineError, GenerationSettings, Request, Response
from evaluation.engines.config import VLLMConfig, load_engine
from evaluation.engines.generate import run_generation
from evaluation.engines.vllm import gpu_groups, serve_command

STANDIN = Path(__file__).with_name("vllm_standin.py")
SETTINGS = GenerationSettings(max_new_tokens=7)
CONFIG = VLLMConfig("vllm", SETTINGS, replicas=2, concurrency=2, patience=60.0, agreement=0.0)


@pytest.fixture
def program(tmp_path: Path) -> str:
    """The stand-in, run by this Python."""
    path = tmp_path / "vllm"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {STANDIN} "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def cues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cues"
    folder.mkdir()
    monkeypatch.setenv("CUES", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")


def asked(*words: str, count: int = 12) -> list[Request]:
    return [Request(str(n), f"{words[n] if n < len(words) else 'question'} {n}") for n in range(count)]


def ask(config: VLLMConfig, model: Path, requests: Sequence[Request], out: Path) -> list[Response]:
    engine = load_engine(config, model)
    with engine.opened(out):
        return run_generation(engine, requests, SETTINGS, out / "answers.jsonl")


def servers(responses: Sequence[Response]) -> dict[int, str]:
    """The GPUs of each process that answered."""
    found = [re.search(r" on (\S*) by (\d+) ", response.text) for response in responses]
    return {int(match[2]): match[1] for match in found if match}


def test_items_are_shared_by_servers_with_gpus_of_their_own_which_are_gone_afterwards(
    program: str, model: Path, tmp_path: Path
) -> None:
    config = replace(CONFIG, command=program, tensor_parallel=2, max_model_len=4096)
    responses = ask(config, model, asked(count=40), tmp_path)
    assert [response.text.partition(" on ")[0] for response in responses] == [f"question {n}" for n in range(40)]
    assert [(response.tokens, response.finish_reason) for response in responses] == [(5, "stop")] * 40
    assert sorted(servers(responses).values()) == ["4,5", "6,7"]
    assert not any(psutil.pid_exists(pid) for pid in servers(responses))
    assert {path.name for path in tmp_path.glob("vllm-*.log")} == {"vllm-0.log", "vllm-1.log"}
    told = json.loads(responses[0].text[responses[0].text.index("[") :])
    assert told[:2] == ["serve", str(model)]
    said = dict(zip(told[2::2], told[3::2], strict=True))
    assert said["--generation-config"] == "vllm"
    assert (said["--tensor-parallel-size"], said["--max-model-len"], said["--limit-mm-per-prompt"]) == (
        "2",
        "4096",
        '{"image": 1}',
    )


def test_a_replica_that_dies_is_started_once_more_and_its_items_are_asked_again(
    program: str, model: Path, cues: Path, tmp_path: Path
) -> None:
    (cues / "1").touch()
    responses = ask(replace(CONFIG, command=program), model, asked("die"), tmp_path)
    assert [response.index for response in responses] == [str(n) for n in range(12)]
    assert not any(cues.iterdir())
    assert "dying on cue" in "".join(path.read_text() for path in tmp_path.glob("vllm-*.log"))


def test_the_others_go_on_without_one_that_dies_for_good(program: str, model: Path, cues: Path, tmp_path: Path) -> None:
    for number in range(2):  # the item kills whichever has it, twice
        (cues / str(number)).touch()
    responses = ask(replace(CONFIG, command=program), model, asked("die", count=20), tmp_path)
    assert len(responses) == 20


def test_where_none_is_left_what_came_is_kept_and_the_rest_is_named(
    program: str, model: Path, cues: Path, tmp_path: Path
) -> None:
    for number in range(9):
        (cues / str(number)).touch()
    config = replace(CONFIG, command=program, replicas=1, concurrency=1)
    with pytest.raises(
        EngineError, match=r"1 of 3 requests failed, first '1': no replica is left; run again to resume"
    ):
        ask(config, model, asked("question", "die", count=3), tmp_path)
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 2
    for cue in cues.iterdir():
        cue.unlink()
    assert len(ask(config, model, asked("question", "die", count=3), tmp_path)) == 3


def test_a_refused_item_is_missing_and_the_others_are_answered(program: str, model: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"1 of 12 requests failed, first '0': .*answered HTTP 400"):
        ask(replace(CONFIG, command=program), model, asked("refuse"), tmp_path)
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 11


def test_one_that_does_not_start_says_why(
    program: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARTS", "never")
    message = r"vLLM replica 0 ended before it was ready: no GPU of compute capability 7\.0; see .*vllm-0\.log"
    with pytest.raises(EngineError, match=message):
        ask(replace(CONFIG, command=program), model, asked(), tmp_path)


def test_what_can_not_be_is_refused_before_anything_starts(
    program: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load_engine(replace(CONFIG, command=program), model)
    with pytest.raises(EngineError, match="the engine is not opened"):
        list(engine.generate(asked(), SETTINGS))
    with pytest.raises(EngineError, match="a request has 2 images, served for 1; raise images_per_prompt"):
        engine.plan([Request("0", "q", (b"", b""))], SETTINGS)
    with pytest.raises(EngineError, match=r"3 replicas of 2 GPUs want 6 and .* shows 4; lower engine.replicas"):
        gpu_groups(replace(CONFIG, replicas=3, tensor_parallel=2))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert gpu_groups(CONFIG) == ["0", "1"]
    assert "--max-model-len" not in serve_command(Path("vllm"), CONFIG, model, 1)


def test_servers_end_with_a_process_that_is_killed(program: str, model: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom evaluation.engines.base import *\n"
        "from evaluation.engines.config import *\n"
        f"config = VLLMConfig('vllm', GenerationSettings(), command={program!r}, patience=60.0)\n"
        f"with load_engine(config, {str(model)!r}).opened(Path({str(tmp_path)!r})) as engine:\n"
        "    print(next(engine.generate([Request('0', 'q')], GenerationSettings())).text, flush=True)\n"
        "    time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    [pid] = servers([Response("0", process.stdout.readline(), "stop", 1, "", "")])
    assert psutil.pid_exists(pid)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not psutil.pid_exists(pid)
