"""Symbolic equality of short formulas by math-verify, in a process of its own with a time limit.

math-verify bounds itself by signals, which only work on a main thread. So one helper process answers over a pipe: on
its own main thread it gives each question 0.4 seconds of processor time (not of the clock, so that a busy machine gives
the same verdicts), and it is killed when it does not answer at all. Late is False.
Run as a module it is that helper: a JSON pair of formulas a line in, true or false a line out.
"""

import json
import logging
import re
import select
import signal
import subprocess
import sys
import threading
from functools import lru_cache

log = logging.getLogger(__name__)

MAX_FORMULA = 80
_PROCESSOR_SECONDS = 0.4
_SECONDS = 5.0
_START_SECONDS = 20.0
_STARTS = 3
# Towers, big exponents and factorials of expressions can take any time and prove nothing about an answer.
_EXPLOSIVE = re.compile(r"\^\{?[^{}]{0,20}\^|\^\{?\(?-?\d{3,}|\d{4,}!|!{2,}|\)!|\d{16,}")
_FORMULA = re.compile(r"[\\^=+*/<>-]")
_VARIABLE = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])")
_WORDY = re.compile(r"(?<!\\)\b[A-Za-z]{4,}\b")


@lru_cache(maxsize=20_000)
def is_equivalent(left: str, right: str) -> bool:
    """Whether two formulas with variables are the same expression; False when that can't be told in time."""
    if max(len(left), len(right)) > MAX_FORMULA or _EXPLOSIVE.search(left) or _EXPLOSIVE.search(right):
        return False
    if not _FORMULA.search(left) or not _FORMULA.search(right):
        return False
    if _WORDY.search(left) or _WORDY.search(right):
        return False
    if not _VARIABLE.search(left) or not _VARIABLE.search(right):
        return False
    return _HELPER.ask(left, right)


class _Helper:
    """The helper process; one question at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._starts = 0

    def ask(self, left: str, right: str) -> bool:
        with self._lock:
            process = self._running()
            if process is None or process.stdin is None or process.stdout is None:
                return False
            try:
                process.stdin.write(json.dumps([left, right]) + "\n")
                process.stdin.flush()
            except BrokenPipeError:
                self._stop()
                return False
            if not select.select([process.stdout], [], [], _SECONDS)[0]:
                log.info("symbolic comparison of %r and %r took more than %.1f s: not equal", left, right, _SECONDS)
                self._stop()
                return False
            return process.stdout.readline().strip() == "true"

    def _running(self) -> subprocess.Popen[str] | None:
        if self._process is not None and self._process.poll() is None:
            return self._process
        if self._starts < _STARTS:
            self._starts += 1
            command = [sys.executable, "-m", "evaluation.symbolic"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            stdout = self._process.stdout
            if stdout is None or not select.select([stdout], [], [], _START_SECONDS)[0] or not stdout.readline():
                log.warning("the helper for symbolic equality did not start; formulas are compared as text alone")
                self._stop()
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


_HELPER = _Helper()


class _Late(BaseException):
    """The processor time of one question is spent; not an Exception, so that no handler inside sympy swallows it."""


def _raise_late(_signal: int, _frame: object) -> None:
    raise _Late


def serve() -> None:
    """Answers questions on standard input until it ends."""
    from math_verify import parse, verify

    # The first question loads the grammar and most of sympy; it must not count as late.
    verify(parse("$x=3y$", parsing_timeout=None), parse("$3y=x$", parsing_timeout=None), timeout_seconds=None)
    signal.signal(signal.SIGVTALRM, _raise_late)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        left, right = json.loads(line)
        is_same = False
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, _PROCESSOR_SECONDS)
            gold, answer = (parse(f"${text}$", parsing_timeout=None) for text in (left, right))
            is_same = bool(gold and answer) and verify(gold, answer, timeout_seconds=None)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        except _Late:
            is_same = False
        sys.stdout.write("true\n" if is_same else "false\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
