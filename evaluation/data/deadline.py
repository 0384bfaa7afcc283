"""A call with a deadline of its own, for a library whose timeout is of one silence and not of the whole.

A server that sends one byte of its headers a minute never lets such a timeout pass.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def within(seconds: float, call: Callable[[], Result], *errors: type[Exception]) -> Result:
    """What the call returns, or its error where it is one of `errors`.

    Raises:
        TimeoutError: it took longer; it goes on in a thread that nobody waits for.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except errors as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result(seconds)
