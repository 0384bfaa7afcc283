"""Generation by `vllm serve`: one server a group of GPUs, asked through the OpenAI client, started and ended here.

vLLM lives in an environment of its own (`make setup-vllm`), since its pins and ours exclude each other. Items go to
whichever replica has room; those of one that dies are asked of the others, and it is started again once. vLLM schedules
its own batches, so greedy answers may differ in the last bits from one composition to another: two runs agree in
distribution, not byte for byte. How far it agrees with transformers is measured before it answers for it
(`evaluation.engines.agreement`).
"""

import json
import logging
import os
import queue
import shutil
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from evaluation.engines.base import Batch, Engine, EngineError, GenerationSettings, Request, Response, answered
from evaluation.engines.chat import ChatClient, ChatError
from evaluation.engines.config import Endpoint, VLLMConfig
from evaluation.engines.identity import checkpoint_folder, folder_sha256
from evaluation.engines.openai import messages, request_options, start_token
from evaluation.engines.replicas import Replica

log = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parents[2]
SERVED = "checkpoint"  # the name that every replica serves under
_TRIES = 2  # of an item that a living replica refuses


class VLLMEngine(Engine):
    """A checkpoint folder behind replicas of vLLM's own server; they run while it is `opened`."""

    def __init__(self, config: VLLMConfig, folder: Path) -> None:
        """Starts nothing.

        Raises:
            EngineError: the folder is no checkpoint, or vLLM is not installed.
        """
        self._config, self._folder = config, checkpoint_folder(folder)
        self._program = executable(config.command)
        self._replicas: list[Replica] = []
        self.model = f"vllm/sha256:{folder_sha256(folder)}/{config.dtype}"

    @contextmanager
    def opened(self, logs: Path) -> Iterator[Self]:
        """The engine with its replicas answering; they have ended when this has.

        Raises:
            EngineError: there are fewer GPUs than it was told to use, or a replica does not start.
        """
        groups = gpu_groups(self._config)
        self._replicas = [self._replica(number, gpus, logs) for number, gpus in enumerate(groups)]
        try:
            for replica in self._replicas:
                replica.start()
            for replica in self._replicas:
                replica.wait()
            log.info("%d vLLM replicas of %s answer", len(self._replicas), self._folder)
            yield self
        finally:
            for replica in self._replicas:
                replica.stop()

    def plan(self, requests: Sequence[Request], settings: GenerationSettings) -> list[Batch]:
        """Each request alone: vLLM makes its own batches.

        Raises:
            EngineError: a request has more images than memory was reserved for.
        """
        most = max((len(request.images) for request in requests), default=0)
        if most > self._config.images_per_prompt:
            raise EngineError(
                f"a request has {most} images, served for {self._config.images_per_prompt}; raise images_per_prompt"
            )
        return [(request,) for request in requests]

    def run(self, batches: Sequence[Batch], settings: GenerationSettings) -> Iterator[list[Response]]:
        """The responses as they arrive.

        Raises:
            EngineError: it is not opened; or, after all others, some items were refused or no replica was left.
        """
        if not self._replicas:
            raise EngineError("the engine is not opened; ask it inside `with engine.opened(folder):`")
        work = _Work([request for batch in batches for request in batch])
        threads = [
            threading.Thread(target=self._ask, args=(replica, work, settings), daemon=True)
            for replica in self._replicas
            for _ in range(self._config.concurrency)
        ]
        for thread in threads:
            thread.start()
        try:
            yield from ([response] for response in work.responses(threads))
        finally:
            work.abandon()
        if work.failures:
            index, reason = next(iter(work.failures.items()))
            raise EngineError(
                f"{len(work.failures)} of {len(batches)} requests failed, first {index!r}: {reason}; run again to "
                "resume"
            )

    def _ask(self, replica: Replica, work: "_Work", settings: GenerationSettings) -> None:
        """One thread's life: items of the shared queue, until it is empty or its replica is gone for good."""
        options, url = request_options(settings, "vllm") | start_token(self._folder), replica.url
        client = self._client(url)
        while (request := work.take()) is not None:
            try:
                reply = client.complete(messages(request, settings.system_prompt), options)
            except ChatError as error:
                was_alive = replica.is_alive and replica.url == url
                work.give_back(request, f"{error}", counts=was_alive)
                if not replica.revive(url):
                    return
                url = replica.url
                client = self._client(url)
            except EngineError as error:  # an image that can't be opened
                work.fail(request, f"{error}")
            else:
                tokens = reply.completion_tokens or None
                work.done(answered(request, settings, reply.text, reply.finish_reason, tokens))

    def _client(self, url: str) -> ChatClient:
        endpoint = Endpoint(url, SERVED, key_env="", timeout=self._config.timeout, attempts=2, pause=0.5)
        return ChatClient(endpoint)

    def _replica(self, number: int, gpus: str, logs: Path) -> Replica:
        return Replica(
            f"vLLM replica {number}",
            lambda port: serve_command(self._program, self._config, self._folder, port),
            {"CUDA_VISIBLE_DEVICES": gpus, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
            logs / f"vllm-{number}.log",
            self._config.patience,
        )


class _Work:
    """The items of a run that several replicas share: each is answered once, or has failed."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._waiting, self._open = deque(requests), len(requests)
        self._answers: queue.Queue[Response | None] = queue.Queue()
        self._tries: dict[str, int] = {}
        self._changed = threading.Condition()
        self.failures: dict[str, str] = {}

    def take(self) -> Request | None:
        """The next item; None once all are answered or have failed. Waits while others may still give one back."""
        with self._changed:
            while not self._waiting and self._open:
                self._changed.wait()
            return self._waiting.popleft() if self._waiting and self._open else None

    def done(self, response: Response) -> None:
        """An item is answered."""
        self._answers.put(response)
        self._close()

    def fail(self, request: Request, reason: str) -> None:
        """An item will have no answer."""
        self.failures[request.index] = reason
        self._answers.put(None)
        self._close()

    def give_back(self, request: Request, reason: str, counts: bool) -> None:
        """An item is asked again, unless a living replica has refused it often enough."""
        tries = self._tries[request.index] = self._tries.get(request.index, 0) + counts
        if tries >= _TRIES:
            self.fail(request, reason)
            return
        with self._changed:
            self._waiting.append(request)
            self._changed.notify()

    def responses(self, threads: Sequence[threading.Thread]) -> Iterator[Response]:
        """Each answer as it comes, until every item has one or has failed, or nobody is left to ask."""
        while True:
            with self._changed:
                is_over = not self._open and self._answers.empty()
            if is_over:
                return
            try:
                answer = self._answers.get(timeout=0.2)
            except queue.Empty:
                if not any(thread.is_alive() for thread in threads) and self._answers.empty():
                    self.failures |= {request.index: "no replica is left" for request in self._waiting}
                    return
            else:
                if answer is not None:
                    yield answer

    def abandon(self) -> None:
        """Nobody wants the rest: threads end after the item that they have."""
        with self._changed:
            self._open = 0
            self._changed.notify_all()

    def _close(self) -> None:
        with self._changed:
            self._open -= 1
            if self._open <= 0:
                self._changed.notify_all()


def serve_command(program: Path, config: VLLMConfig, folder: Path, port: int) -> list[str]:
    """`vllm serve` on a port of this machine; the checkpoint's generation_config is left aside, as everywhere here."""
    asked = {
        "--served-model-name": SERVED,
        "--host": "127.0.0.1",
        "--port": str(port),
        "--dtype": config.dtype,
        "--tensor-parallel-size": str(config.tensor_parallel),
        "--gpu-memory-utilization": str(config.memory_share),
        "--limit-mm-per-prompt": json.dumps({"image": config.images_per_prompt}),
        "--generation-config": "vllm",
    }
    if config.max_model_len is not None:
        asked["--max-model-len"] = str(config.max_model_len)
    return [str(program), "serve", str(folder), *(word for pair in asked.items() for word in pair)]


def gpu_groups(config: VLLMConfig) -> list[str]:
    """CUDA_VISIBLE_DEVICES of each replica, from the GPUs that this process may see.

    Raises:
        EngineError: they are too few.
    """
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = said.split(",") if said else [str(number) for number in range(config.gpus)]
    if len(names) < config.gpus:
        raise EngineError(
            f"{config.replicas} replicas of {config.tensor_parallel} GPUs want {config.gpus} and "
            f"CUDA_VISIBLE_DEVICES={said} shows {len(names)}; lower engine.replicas"
        )
    size = config.tensor_parallel
    return [",".join(names[start : start + size]) for start in range(0, config.gpus, size)]


def executable(command: str) -> Path:
    """vLLM's program: where `command` says, from the checkout on, or of that name on the PATH.

    Raises:
        EngineError: it is not there.
    """
    found = shutil.which(command) if "/" not in command else str(_ROOT / command)
    if found is None or not os.access(found, os.X_OK):
        raise EngineError(
            f"vLLM is not installed: there is no program {command}; run `make setup-vllm` on a machine with GPUs, name "
            "it by engine.command, or use engine=transformers"
        )
    return Path(found)
