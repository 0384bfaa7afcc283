"""Symbolic equality of short formulas by math-verify, in processes of their own with bounded processor time.

math-verify bounds itself by signals, which only work on a main thread and don't interrupt compiled code. So one helper
loads it once and forks a child a question; the kernel ends a child that has used a quarter of a second of processor
time (not of the clock, so that a busy machine gives the same verdicts), and a child that ends without a yes means "not
equal". No question can therefore hold the scorer longer, and none makes the helper start again.

Starting the helper (about a second) belongs to no item: `prepare` does it before the first one is scored. A helper that
can't start, or falls silent, is an error, never a verdict.
Run as a module it is that helper: a JSON pair of formulas a line in, true or false a line out.
"""

import gc
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache

from drift.errors import DriftError

MAX_FORMULA = 200
_PROCESSOR_SECONDS = 0.25  # five options that all run out of it still stay under 2 s
# Of the clock, and only for a machine that has stalled: far more than a question or a start can use.
_SILENCE_SECONDS = 120.0
# Towers, big exponents and factorials of expressions can take any time and prove nothing about an answer.
_EXPLOSIVE = re.compile(r"\^\{?[^{}]{0,20}\^|\^\{?\(?-?\d{3,}|\d{4,}!|!{2,}|\)!|\d{16,}")
_FORMULA = re.compile(r"[\\^=+*/<>-]")
_VARIABLE = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[a-z]{1,10}\*?\}")
_ASCII = {
    ord(sign): text
    for sign, text in (
        ("≤", "\\leq "),
        ("≥", "\\geq "),
        ("°", "^{\\circ}"),
        ("π", "\\pi "),
        ("∪", "\\cup "),
        ("∈", "\\in "),
        ("±", "\\pm "),
        ("√", "\\sqrt "),
        ("≠", "\\neq "),
    )
}
_WORDY = re.compile(r"(?<!\\)\b[A-Za-z]{4,}\b")


class HelperError(DriftError):
    """The process that compares formulas did not start, or stopped answering."""


def prepare(golds: Iterable[str]) -> None:
    """Start the helper, and wait for it, if one of the gold answers may have to be compared as a formula.

    Raises:
        HelperError: it did not start.
    """
    if any(_FORMULA.search(gold) and _VARIABLE.search(gold) for gold in golds):
        _HELPER.start()


@lru_cache(maxsize=20_000)
def is_equivalent(left: str, right: str) -> bool:
    """Whether two formulas with variables are the same expression; False when that can't be told in time.

    Raises:
        HelperError: the helper did not start or stopped answering.
    """
    for text in (left, right):
        if len(text) > MAX_FORMULA or _EXPLOSIVE.search(text) or _WORDY.search(_ENVIRONMENT.sub("", text)):
            return False
    left, right = sorted((left.translate(_ASCII), right.translate(_ASCII)))
    if not (left.isascii() and right.isascii() and (_FORMULA.search(left) or _FORMULA.search(right))):
        return False
    return _HELPER.ask(left, right)


class _Helper:
    """The helper process; one question at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns once the helper is ready for questions; at once when it is already."""
        with self._lock:
            self._ready()

    def ask(self, left: str, right: str) -> bool:
        with self._lock:
            process = self._ready()
            return self._reply(process, f"{json.dumps([left, right])}\n") == "true"

    def _ready(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-m", "evaluation.answers.symbolic"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            self._reply(self._process, "")
        return self._process

    def _reply(self, process: subprocess.Popen[str], question: str) -> str:
        """The next line of the helper, after the question (a line) where there is one."""
        line = ""
        if process.stdin is not None and process.stdout is not None:
            with suppress(BrokenPipeError):  # it has ended; there will be no line
                process.stdin.write(question)
                process.stdin.flush()
            if select.select([process.stdout], [], [], _SILENCE_SECONDS)[0]:
                line = process.stdout.readline().strip()
        if not line:
            self._stop()
            raise HelperError(
                f"the process for symbolic equality ended, or was silent for {_SILENCE_SECONDS:g} s, "
                f"{f'asked about {question.strip()}' if question else 'when it was started'}. "
                f"Try `{sys.executable} -m evaluation.answers.symbolic`, which should print `ready`; then score again"
            )
        return line

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


_HELPER = _Helper()


def serve() -> None:
    """Answers questions on standard input until it ends, each in a child that the kernel bounds."""
    from math_verify import parse, verify

    def is_same(left: str, right: str) -> bool:
        gold, answer = (parse(f"${text}$", parsing_timeout=None) for text in (left, right))
        if not (gold and answer):
            return False
        return any(verify(*pair, timeout_seconds=None) for pair in ((gold, answer), (answer, gold)))

    for pair in (("x=3y", "3y=x"), ("x^2+2x+1", "(x+1)^2"), (r"\frac{\sqrt{x}}{2}", r"\sin{x}"), ("[a,b)", "x>a")):
        is_same(*pair)  # loads the grammar and most of sympy, which no question has to pay for
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.setitimer(signal.ITIMER_PROF, _PROCESSOR_SECONDS)  # nobody handles SIGPROF: it ends the child
                status = 0 if is_same(*json.loads(line)) else 1
            finally:  # a formula that math-verify fails on is no equal of any
                os._exit(status)
        print("true" if os.waitpid(child, 0)[1] == 0 else "false", flush=True)


if __name__ == "__main__":
    serve()
