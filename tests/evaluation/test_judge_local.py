"""judge=local serves a model by vLLM's program, asks it, names it by its revision, and leaves no server behind."""

import json
import sys
from pathlib import Path

import psutil
import pytest

from evaluation.data.tsv import write_rows
from evaluation.engines.base import EngineError, GenerationSettings
from evaluation.engines.config import VLLMConfig
from evaluation.judging.config import LocalJudge
from pipelines import compose, plan
from pipelines.stage import Runtime, ordered
from pipelines.stages import JudgeParams
from pipelines.stages.judge import judge_responses

# Stands for `vllm serve FOLDER --port N`: a judge that reads 7 in every response.
PROGRAM = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self): self.reply({})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert body["model"] == sys.argv[sys.argv.index("--served-model-name") + 1], body
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "7"}}
        self.reply({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})
    def reply(self, content):
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalJudge:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    (tmp_path / "standin.py").write_text(PROGRAM)
    program = tmp_path / "vllm"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path / "standin.py"} "$@"\n')
    program.chmod(0o755)
    (tmp_path / "model").mkdir()
    served = VLLMConfig("vllm", GenerationSettings(), command=str(program), patience=60.0, images_per_prompt=0)
    return LocalJudge(name="local", repo=str(tmp_path / "model"), revision="abc", vllm=served)


def test_it_answers_for_the_stage_and_is_gone_behind_it(tmp_path: Path, judge: LocalJudge) -> None:
    write_rows(tmp_path / "LabMathVista.tsv", [{"index": str(k), "question": "q", "answer": "7"} for k in range(3)])
    lines = [{"index": str(k), "response": f"seven, {k}", "finish_reason": "stop"} for k in range(3)]
    (tmp_path / "LabMathVista.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    inputs = {"responses": tmp_path, "benchmarks": tmp_path}
    values = judge_responses(JudgeParams(("LabMathVista",), judge), Runtime(tmp_path, cache=tmp_path), inputs, tmp_path)
    replies = [json.loads(line) for line in (tmp_path / "LabMathVista.replies.jsonl").read_text().splitlines()]
    assert [(reply["index"], reply["verdict"], reply["raw"]) for reply in replies] == [
        (str(k), True, "7") for k in range(3)
    ]
    assert values["judge"] == f"{judge.repo}@abc" == replies[0]["model"]
    left = [each for each in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(each.info["cmdline"] or [])]
    assert left == []


def test_without_vllm_it_says_how_to_get_it(tmp_path: Path) -> None:
    judge = compose.load(["judge=local", "judge.vllm.command=no_such_vllm", f"judge.repo={tmp_path}"]).judge
    with pytest.raises(EngineError, match="no_such_vllm"):
        judge_responses(JudgeParams((), judge), Runtime(tmp_path, cache=tmp_path), {}, tmp_path)


def test_the_plan_asks_the_judge_once_on_a_gpu_and_scores_without_one() -> None:
    target = plan.score(compose.load(["judge=local", "method=baseline"]))
    judged = target.inputs["judged"]
    assert (judged.stage.name, judged.needs.gpus, target.needs.gpus) == ("judge", 1, 0)
    assert judged.params.judge.revision == "a09a35458c702b33eeacc393d103063234e8bc28"
    assert "judged" not in plan.score(compose.load(["method=baseline"])).inputs
    other = plan.score(compose.load(["judge=local", "method=baseline", "judge.repo=other/model"]))
    assert other.key != target.key
    assert [call.stage.name for call in ordered([target])].count("judge") == 1
