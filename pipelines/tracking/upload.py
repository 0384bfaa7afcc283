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


def apart() -> dict[str, str]:
    """This process's environment for a child with a core of wandb's of its own.

    Ours would be the child's too: it is gone when our last run is recorded, and holds on to the runs of a killed child.
    """
    return {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}


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
class _Sending:
    """A `wandb sync` on its way; `before` are the bytes of the log that others wrote."""

    folder: Path
    process: subprocess.Popen[bytes]
    began: float
    before: int


@dataclass
class Upload:
    """Sends folders one after another, and those that still grow beside them; after the first that fails it stops.

    Args:
        log: where `wandb sync` writes what it says.
        seconds: for one folder, and for all that is left when the work is done.
    """

    log: Path
    seconds: float = SECONDS
    trouble: str = ""
    _waiting: list[Path] = field(default_factory=list)
    _now: _Sending | None = None
    _growing: list[_Sending] = field(default_factory=list)

    def follow(self, folder: Path) -> None:
        """Sends a run while it is being recorded."""
        if not self.trouble:
            self._growing.append(self._send(folder, "beta", "sync", "--live"))

    def add(self, folder: Path) -> None:
        """Sends a recorded run when those before it are sent, unless it was sent as it grew."""
        if all(sending.folder != folder for sending in self._growing):
            self._waiting.append(folder)
        self._step()

    def finish(self) -> None:
        """Waits for what is on its way, no longer than `seconds`."""
        end = time.monotonic() + self.seconds
        while (self._now or self._waiting or self._growing) and not self.trouble:
            self._step()
            if time.monotonic() > end:
                self._give_up(f"not all was sent within {self.seconds:.0f} s")
            time.sleep(_LOOK_SECONDS)

    def _step(self) -> None:
        ended = [each for each in (*self._growing, self._now) if each is not None and each.process.poll() is not None]
        self._growing = [each for each in self._growing if each not in ended]
        if self._now in ended:
            self._now = None
        elif self._now is not None and time.monotonic() - self._now.began > self.seconds:
            self._give_up(f"the server did not take a run within {self.seconds:.0f} s")
        for sending in ended:
            self._judge(sending)
        if self._now is None and self._waiting and not self.trouble:
            self._now = self._send(self._waiting.pop(0), "sync")

    def _send(self, folder: Path, *command: str) -> _Sending:
        words = [sys.executable, "-m", "wandb", *command, str(folder)]
        with self.log.open("ab") as out:
            before = out.tell()  # the child moves the same place on
            process = subprocess.Popen(
                guarded(words), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=apart()
            )
        return _Sending(folder, process, time.monotonic(), before)

    def _judge(self, sending: _Sending) -> None:
        """Gives up where an upload that has ended was none."""
        said = self.log.read_bytes()[sending.before :].decode(errors="replace")
        if unmark_refused(said, [sending.folder]):
            self._give_up(f"the server did not take {sending.folder.name}; {self.log} says why")
        elif sending.process.returncode:
            self._give_up(f"wandb sync ended with status {sending.process.returncode}; it says why in {self.log}")

    def _give_up(self, why: str) -> None:
        self.trouble = why
        for sending in (*self._growing, *filter(None, [self._now])):
            sending.process.terminate()
            sending.process.wait()
        self._growing, self._now = [], None
