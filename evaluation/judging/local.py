"""A judge of one's own: an open model served by vLLM on this machine, asked like any other endpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evaluation.engines.replicas import Replica
from evaluation.engines.vllm import SERVED, executable, gpu_groups, serve_command
from evaluation.judging.config import LocalJudge, OpenAIJudge


@contextmanager
def served(judge: LocalJudge, folder: Path, logs: Path) -> Iterator[OpenAIJudge]:
    """The judge as an endpoint that answers while the block runs; its server has ended when the block has.

    Args:
        folder: the model's files.
        logs: where the server's output goes.
    Raises:
        EngineError: vLLM is not installed, there is no GPU for it, or it does not start.
    """
    program, vllm = executable(judge.vllm.command), judge.vllm
    replica = Replica(
        "the judge's vLLM",
        lambda port: serve_command(program, vllm, folder, port),
        {"CUDA_VISIBLE_DEVICES": gpu_groups(vllm)[0], "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
        logs / "judge-vllm.log",
        vllm.patience,
    )
    try:
        replica.start()
        replica.wait()
        yield OpenAIJudge(
            replica.url,
            SERVED,
            key_env="",
            concurrency=vllm.concurrency,
            timeout=vllm.timeout,
            name="openai",
            mode=judge.mode,
            audit=judge.audit,
        )
    finally:
        replica.stop()
