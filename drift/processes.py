"""Work that leaves nothing behind: a guardian process beside it ends all of it when it ends or who asked for it dies.

A death signal reaches one process; torchrun puts its ranks into sessions of their own, where neither that signal nor
one to the process group arrives. The guardian therefore adopts orphans (a Linux "child subreaper"): whatever the work
started, however deep, stays below the guardian and is found. Linux alone; see prctl(2).
"""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import IO, NoReturn, TypeVar

_Given = TypeVar("_Given")
_Done = TypeVar("_Done")
_SET_DEATH_SIGNAL, _SET_SUBREAPER = 1, 36
_ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_LOOK_SECONDS = 0.2  # between two looks at whether the parent lives
GRACE_SECONDS = 2.0  # between SIGTERM and SIGKILL


def die_with_parent() -> None:
    """The kernel kills this process when the thread that started it ends, even by SIGKILL."""
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def side_by_side(work: Callable[[_Given], _Done], batches: Iterable[_Given], processes: int) -> Iterator[_Done]:
    """What `work` makes of each batch, in their order; a few batches are under way at a time."""
    if processes == 1:
        yield from map(work, batches)
        return
    # Forked, so that what the caller has registered is known there.
    with ProcessPoolExecutor(processes, mp_context=get_context("fork"), initializer=die_with_parent) as pool:
        under_way: deque[Future[_Done]] = deque()
        for batch in batches:
            under_way.append(pool.submit(work, batch))
            if len(under_way) > 2 * processes:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def guard() -> None:
    """Returns in a new child; the calling process stays behind as the child's guardian and never returns.

    The guardian leads a process group of its own, so a Ctrl-C in the terminal reaches neither; it leaves with the
    child's exit status, and ends every descendant when the child has ended, when its own parent has died, or when it
    is told to by SIGTERM. Call it before any thread is started.
    """
    parent = os.getppid()
    if os.getpgrp() != os.getpid():
        os.setsid()
    _prctl(_SET_SUBREAPER, 1)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_ENDING, signal.SIGCHLD})
    child = os.fork()
    if child:
        _leave_as(_watch(child, parent))
    die_with_parent()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def guarded(command: Sequence[str]) -> list[str]:
    """The command below a guardian, for Popen. End it by SIGTERM: SIGKILL would spare what it guards."""
    return [sys.executable, "-P", __file__, *command]


def run_guarded(command: Sequence[str], environment: Mapping[str, str], output: IO[str]) -> int:
    """Runs a command below a guardian; its exit status, once nothing that it started is left."""
    process = subprocess.Popen(guarded(command), env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        return process.wait()
    finally:
        process.terminate()
        process.wait()


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")


def _watch(child: int, parent: int) -> int:
    """Waits for the child's end, for the parent's or for a signal to end; the status to leave with."""
    status = None
    while status is None and os.getppid() == parent:
        got = signal.sigtimedwait({*_ENDING, signal.SIGCHLD}, _LOOK_SECONDS)
        status = _reap().get(child)
        if got is not None and got.si_signo in _ENDING:
            break
    _end_descendants()
    return signal.SIGTERM if status is None else status


def _reap() -> dict[int, int]:
    """The wait status of every child that has ended, adopted ones too."""
    ended = {}
    while (found := _wait_any()) and found[0]:
        ended[found[0]] = found[1]
    return ended


def _wait_any() -> tuple[int, int] | None:
    """(pid, status) of a child that has ended, (0, 0) where all run on, None where there is none."""
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None


def _end_descendants() -> None:
    """SIGTERM to all, SIGKILL to what is there after the grace, until this process has no child."""
    started, told = time.monotonic(), set[int]()
    while _wait_any() is not None:
        _reap()
        late = time.monotonic() - started > GRACE_SECONDS
        found = _descendants()
        for pid in found if late else found - told:
            try:
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
            except ProcessLookupError:
                continue  # it ended by itself
        told |= found
        time.sleep(0.01)


def _descendants() -> set[int]:
    import psutil

    return {process.pid for process in psutil.Process().children(recursive=True)}


def _leave_as(status: int) -> NoReturn:
    """Ends this process as the child ended: by the same exit code or the same signal."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    guard()
    os.execvp(sys.argv[1], sys.argv[1:])
