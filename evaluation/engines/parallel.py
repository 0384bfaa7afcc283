"""transformers in several processes, a GPU each: the batches of one plan, in whichever order they are done.

A batch is the same wherever it runs, so a response does not depend on how many processes there are.
"""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Self

from drift.processes import die_with_parent
from evaluation.engines.base import Batch, Engine, EngineError, GenerationSettings, Request, Response
from evaluation.engines.config import TransformersConfig
from evaluation.engines.transformers import TransformersEngine, load_planner

_OWN: list[TransformersEngine] = []  # a worker process's engine


class ParallelTransformers(Engine):
    """As many TransformersEngines as the config has replicas; they are loaded while it is `opened`."""

    def __init__(self, config: TransformersConfig, folder: Path) -> None:
        """Loads the processor alone, which plans; a folder without a checkpoint is refused (EngineError)."""
        self._config, self._folder = config, folder
        self._planner = load_planner(config, folder)
        self._pool: ProcessPoolExecutor | None = None

    @contextmanager
    def opened(self, logs: Path) -> Iterator[Self]:
        """The engine with its processes running; `model` is known from here on."""
        context = multiprocessing.get_context("spawn")
        devices = context.Queue()
        for number in range(self._config.replicas):
            devices.put(_device(self._config.device, number))
        threads = max(1, int(os.environ.get("OMP_NUM_THREADS", "1")))
        with ProcessPoolExecutor(
            self._config.replicas, context, _load, (replace(self._config, replicas=1), self._folder, devices, threads)
        ) as pool:
            self._pool = pool
            try:
                self.model = pool.submit(_model).result()
                yield self
            except BrokenProcessPool as error:
                raise EngineError(
                    f"a process of {self._config.replicas} died while it answered; run again to resume, or lower "
                    "engine.settings.batch_size if the GPU's memory was full"
                ) from error
            finally:
                self._pool = None
                pool.shutdown(cancel_futures=True)

    def plan(self, requests: Sequence[Request], settings: GenerationSettings) -> list[Batch]:
        """The plan that one process would have."""
        return self._planner(requests, settings)

    def run(self, batches: Sequence[Batch], settings: GenerationSettings) -> Iterator[list[Response]]:
        """The responses of each batch as it is done.

        Raises:
            EngineError: it is not opened, or what the engine itself refuses.
        """
        if self._pool is None:
            raise EngineError("the engine is not opened; ask it inside `with engine.opened(folder):`")
        calls = [self._pool.submit(_answer, batch, settings) for batch in batches]
        for call in as_completed(calls):
            yield call.result()


def _device(asked: str, number: int) -> str:
    import torch

    if asked == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{number % torch.cuda.device_count()}"


def _load(config: TransformersConfig, folder: Path, devices: "Queue[str]", threads: int) -> None:
    import torch

    die_with_parent()
    torch.set_num_threads(threads)
    _OWN.append(TransformersEngine(replace(config, device=devices.get()), folder))


def _model() -> str:
    return _OWN[0].model


def _answer(batch: Batch, settings: GenerationSettings) -> list[Response]:
    return next(_OWN[0].run([batch], settings))
