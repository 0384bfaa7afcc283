"""One writer per artifact on any filesystem, shared ones too: a small file that says who writes, and is kept fresh.

It is taken by link(2), which is atomic over NFS where locks may not be. Nobody's clock is compared with another's: who
waits watches whether the file's time changes. A holder on this host is looked up by its pid instead, so a killed run
can be started again at once.
"""

import contextlib
import hashlib
import json
import logging
import os
import platform
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from drift.files import write_whole

log = logging.getLogger(__name__)
BEAT_SECONDS = 15.0
# Twice what NFS may keep a file's attributes (acregmax, 60 s): a living holder is never taken for dead.
EXPIRY_SECONDS = 120.0
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Holder:
    """Who holds a lease; `born` tells the process from a later one with the same pid."""

    host: str
    pid: int
    born: str
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host.split()[0]}"


class Lease:
    """A lease as one process sees it.

    Args:
        path: the file whose existence is the lease.
        beat: seconds between two signs of life of a holder.
        expiry: a holder on another host that gave no sign of life for so many seconds is dead.
    """

    def __init__(self, path: Path, beat: float = BEAT_SECONDS, expiry: float = EXPIRY_SECONDS) -> None:
        self.path, self.beat, self.expiry = path, beat, expiry
        self._seen: tuple[str, int, float] | None = None
        self._right: Lease | None = None
        self._left, self._token = threading.Event(), ""

    def holder(self) -> Holder | None:
        """Who holds it and lives; None where it is free or its holder is dead."""
        found = self._read()
        if found is None:
            return None
        holder, beat = found
        if holder.host == _host():
            return holder if _born(holder.pid) == holder.born else None
        now = time.monotonic()
        if self._seen is None or self._seen[:2] != (holder.token, beat):
            self._seen = (holder.token, beat, now)
        return holder if now - self._seen[2] < self.expiry else None

    def take(self) -> bool:
        """Takes the lease, also from a dead holder; False where somebody else has it."""
        mine = Holder(_host(), os.getpid(), _born(os.getpid()), uuid.uuid4().hex)
        own = self.path.with_name(f".{self.path.name}.{mine.token}")
        write_whole(own, json.dumps(asdict(mine)))
        try:
            taken = _link(own, self.path) or self._replace_dead(own)
        finally:
            own.unlink(missing_ok=True)
        if taken:
            self._left, self._token = threading.Event(), mine.token
            threading.Thread(target=self._keep, args=(mine.token, self._left), daemon=True).start()
        return taken

    def release(self) -> None:
        """Ends the lease; nothing of it stays behind. One that was taken over stays with its new holder."""
        self._left.set()
        found = self._read()
        if found is not None and found[0].token == self._token:
            self.path.unlink(missing_ok=True)

    @contextmanager
    def held(self, what: str) -> Iterator[None]:
        """Holds the lease, after waiting for whoever has it."""
        waited = False
        while not self.take():
            if not waited:
                log.info("%s is being made by %s; waiting for it", what, self.holder() or "another process")
            waited = True
            time.sleep(_LOOK_SECONDS)
        try:
            yield
        finally:
            self.release()

    def _read(self) -> tuple[Holder, int] | None:
        try:
            with open(self.path) as file:  # opening makes NFS look at the server's copy
                text, beat = file.read(), os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return None
        try:
            return Holder(**json.loads(text)), beat
        except (ValueError, TypeError):  # a disk that lost power: it expires like any that nobody keeps fresh
            return Holder("unknown", 0, "", hashlib.sha256(text.encode()).hexdigest()), beat

    def _replace_dead(self, own: Path) -> bool:
        """Puts our file in the place of a dead holder's.

        Only one process ever gets the right to replace a given token: a file named after it, which only one can make.
        """
        found = self._read()
        if found is None or self.holder() is not None:
            return False
        name = self.path.with_name(f".{self.path.name}.after.{found[0].token}")
        if self._right is None or self._right.path != name:
            self._right = Lease(name, self.beat, self.expiry)
        taken = _link(own, name)
        if taken:
            os.rename(own, self.path)
        if taken or self._right.holder() is None:  # or its holder died between two lines of this function
            name.unlink(missing_ok=True)
        return taken

    def _keep(self, token: str, left: threading.Event) -> None:
        """Gives signs of life; ends this process if it was taken for dead meanwhile, since two must never write."""
        while not left.wait(self.beat):
            with contextlib.suppress(OSError):  # a server that is away for a moment; the next beat tries again
                found = self._read()
                if found is not None and found[0].token == token:
                    os.utime(self.path)
                elif not left.is_set():
                    log.error("lost %s to %s; this process was stalled too long", self.path, found and found[0])
                    os.kill(os.getpid(), signal.SIGTERM)


def _link(source: Path, target: Path) -> bool:
    """Makes `target` a second name of `source`; False where it exists."""
    try:
        os.link(source, target)
    except FileExistsError:
        # A repeated request after a lost answer finds its own work.
        return os.path.exists(target) and os.path.samefile(source, target)
    return True


@cache
def _host() -> str:
    """This host and what its pids mean: another boot or another container has others."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{platform.node()} {boot} {os.readlink('/proc/self/ns/pid')}"


def _born(pid: int) -> str:
    """The start time of a living process in the kernel's ticks; empty where there is none or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]
