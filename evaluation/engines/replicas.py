"""Server processes on this machine: started on free ports below a guardian, watched, started again, and always ended.

A replica is one command that serves HTTP on a port; `vllm serve` is one. Whoever starts it ends it, even by dying.
"""

import logging
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from drift.processes import guarded
from evaluation.engines.base import EngineError

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
_HEALTH_SECONDS = 5.0


class Replica:
    """One server process; safe to share between threads.

    Args:
        name: what messages and its log file call it.
        command: port -> the command line.
        environment: what it gets beside this process's own variables.
        log: where its output goes.
        patience: seconds from its start to its first sign of health.
        restarts: how often it is started again when it has died.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[int], Sequence[str]],
        environment: Mapping[str, str],
        log: Path,
        patience: float,
        restarts: int = 1,
    ) -> None:
        self.name, self.log = name, log
        self._command, self._environment, self._patience = command, environment, patience
        self._restarts, self._lock = restarts, threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where its API is now; another one after a restart."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it on a free port, without waiting for it."""
        self._port = _free_port()
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                guarded(self._command(self._port)),
                env=os.environ | dict(self._environment),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> None:
        """Returns when it answers.

        Raises:
            EngineError: it ended, or its patience did; with the last line of its log.
        """
        deadline = time.monotonic() + self._patience
        while not self._is_healthy():
            if not self.is_alive or time.monotonic() > deadline:
                how = "does not answer" if self.is_alive else "ended"
                self.stop()
                raise EngineError(f"{self.name} {how} before it was ready: {self._last_line()}; see {self.log}")
            time.sleep(_LOOK_SECONDS)

    def revive(self, seen: str) -> bool:
        """Whether it runs, after it was started again if it had died and may be; one thread starts it for all.

        Args:
            seen: the url that the caller had no answer from; one that has changed since means that it was revived.
        """
        with self._lock:
            if self.is_alive or self.url != seen:
                return self.is_alive
            if not self._restarts:
                return False
            self._restarts -= 1
            log.warning("%s has died (%s); starting it again", self.name, self._last_line())
            self.start()
            try:
                self.wait()
            except EngineError as error:
                log.warning("%s", error)
            return self.is_alive

    def stop(self) -> None:
        """Ends it and all that it has started."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=_HEALTH_SECONDS) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _last_line(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][-300:] if lines else "it said nothing"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
