"""Recorded runs sent to wandb's server beside the work, by wandb's own `sync` in a process that may take only so long.

A server that is away, stalls or refuses costs the work nothing: the runs stay on this disk, and what to type is said.
"""

import netrc
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from drift.processes import guarded

SECONDS = 60.0  # for one upload, and for all that is left at the end
_CONNECT_SECONDS = 5.0
# wandb 0.31 says this of a run that the server did not take, marks it as sent, and ends with status 0.
_REFUSED = re.compile(r"ERROR \[\S*?([\w-]+)\]")
_LOOK_SECONDS = 0.05
_CLOUD = "https://api.wandb.ai"


def why_not(environment: Mapping[str, str]) -> str:
    """Why nothing can be sent, in one line; empty where a key is there and the server lets itself be reached."""
    server = urlsplit(environment.get("WANDB_BASE_URL") or _CLOUD)
    host, port = server.hostname or "", server.port or (443 if server.scheme == "https" else 80)
    if not environment.get("WANDB_API_KEY") and not _has_login(host):
        return f"there is no key for {host}: set WANDB_API_KEY, or `wandb login`"
    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(socket.create_connection, (host, port), _CONNECT_SECONDS).result(2 * _CONNECT_SECONDS).close()
    except (OSError, LateError) as error:
        return f"{host}:{port} can't be reached ({error or 'no answer'})"
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return ""


def _has_login(host: str) -> bool:
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False


def unmark_refused(said: str, segments: Iterable[Path]) -> list[Path]:
    """The segments of runs that `wandb sync` said it could not send, no longer marked as sent."""
    refused = {match[1] for match in _REFUSED.finditer(said)}
    found = [segment for segment in segments if any(segment.name.endswith(f"-{run}") for run in refused)]
    for segment in found:
        for marker in segment.glob("*.synced"):
            marker.unlink()
    return found


@dataclass
class Upload:
    """Sends folders one after another; after the first that fails it tries no more.

    Args:
        log: where `wandb sync` writes what it says.
        seconds: for one folder, and for all that is left when the work is done.
    """

    log: Path
    seconds: float = SECONDS
    trouble: str = ""
    _waiting: list[Path] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None
    _began: float = 0.0
    _sending: Path = field(default_factory=Path)
    _before: int = 0  # bytes of the log

    def add(self, folder: Path) -> None:
        """Sends a recorded run when those before it are sent."""
        self._waiting.append(folder)
        self._step()

    def finish(self) -> None:
        """Waits for what is on its way, no longer than `seconds`."""
        end = time.monotonic() + self.seconds
        while (self._process or self._waiting) and not self.trouble:
            self._step()
            if time.monotonic() > end:
                self._give_up(f"not all was sent within {self.seconds:.0f} s")
            time.sleep(_LOOK_SECONDS)

    def _step(self) -> None:
        if self._process is not None:
            status = self._process.poll()
            if status is None:
                if time.monotonic() - self._began > self.seconds:
                    self._give_up(f"the server did not take a run within {self.seconds:.0f} s")
                return
            self._process = None
            if unmark_refused(self._said(), [self._sending]):
                self._give_up(f"the server did not take {self._sending.name}; {self.log} says why")
            elif status:
                self._give_up(f"wandb sync ended with status {status}; it says why in {self.log}")
        if self._waiting and not self.trouble:
            self._sending = self._waiting.pop(0)
            command = [sys.executable, "-m", "wandb", "sync", str(self._sending)]
            with self.log.open("ab") as out:
                self._before = out.tell()
                self._process = subprocess.Popen(
                    guarded(command), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
                )
            self._began = time.monotonic()

    def _said(self) -> str:
        """What the last upload said."""
        return self.log.read_bytes()[self._before :].decode(errors="replace")

    def _give_up(self, why: str) -> None:
        self.trouble = why
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None
