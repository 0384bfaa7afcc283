"""A client for any OpenAI-compatible chat endpoint: a local vLLM server, a hosted model, a test server on 127.0.0.1.

What may pass is tried again with growing pauses (no connection, a timeout, 408, 409, 425, 429, 5xx, a reply that is no
chat completion); what can't is an error at once (400, 401, 403, 404: the body says why). The whole of an attempt has a
deadline, so a server that drips one byte a minute can't hold a run. After several failed calls in a row the client
gives up for good: a dead endpoint then costs seconds, not retries times items.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests

from evaluation.engines.base import EngineError

log = logging.getLogger(__name__)

_PASSING_STATUS = frozenset({408, 409, 425, 429})
_LONGEST_PAUSE = 60.0
_LONGEST_REPLY = 64 * 2**20


class ChatError(EngineError):
    """One call to a chat endpoint failed for good, retries included."""


class EndpointLostError(ChatError):
    """The endpoint failed several calls in a row; no further call is made."""


@dataclass(frozen=True)
class Endpoint:
    """Where a chat model answers, and how patient to be with it.

    Attributes:
        base_url: up to and including the version, `http://127.0.0.1:8000/v1`.
        model: the name under which the server knows it.
        api_key_env: environment variable with the key; empty, or not set, sends none.
        concurrency: calls under way at the same time.
        timeout: seconds for one attempt, from the request to the last byte.
        attempts: tries for one call, the first included.
        pause: seconds before the second try; doubles each time, at most 60.
        failures_in_a_row: failed calls (each with all its attempts) after which the endpoint counts as lost.
    """

    base_url: str
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = 8
    timeout: float = 300.0
    attempts: int = 5
    pause: float = 1.0
    failures_in_a_row: int = 8

    def __post_init__(self) -> None:
        """Refuse an address without a scheme or a model name, and counts below one (EngineError)."""
        if not self.base_url.startswith(("http://", "https://")) or not self.model:
            raise EngineError(
                f"endpoint base_url={self.base_url!r}, model={self.model!r}: expected http(s)://host/v1 and a name"
            )
        if min(self.concurrency, self.attempts, self.failures_in_a_row) < 1 or self.timeout <= 0 or self.pause < 0:
            raise EngineError(f"{self}: counts must be at least 1, timeout above 0, pause at least 0")


@dataclass(frozen=True)
class ChatReply:
    """One completion; token counts are 0 where the server gives none."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


class _PassingError(Exception):
    """A failed attempt that another attempt may mend; `wait` is the server's own Retry-After in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class ChatClient:
    """Makes calls to one endpoint; safe to share between threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        """No connection is made before the first call."""
        self.endpoint = endpoint
        self._local = threading.local()
        self._lock = threading.Lock()
        self._failures_in_a_row = 0

    def complete(self, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> ChatReply:
        """The first choice of a chat completion.

        Args:
            messages: as the chat completions API takes them.
            options: further fields of the request body, `max_tokens` and `temperature` for two.
        Raises:
            EndpointLostError: this endpoint was given up earlier, or is now.
            ChatError: the call failed in every attempt, or can't succeed.
        """
        if self.is_lost:
            raise EndpointLostError(
                f"{self.endpoint.base_url} was given up: {self._failures_in_a_row} calls in a row failed"
            )
        body = {"model": self.endpoint.model, "messages": list(messages), **options}
        try:
            reply = self._attempts(body)
        except ChatError:
            with self._lock:
                self._failures_in_a_row += 1
            raise
        with self._lock:
            self._failures_in_a_row = 0
        return reply

    @property
    def is_lost(self) -> bool:
        """Whether so many calls failed in a row that no further one is made."""
        return self._failures_in_a_row >= self.endpoint.failures_in_a_row

    def _attempts(self, body: dict[str, Any]) -> ChatReply:
        for attempt in range(1, self.endpoint.attempts + 1):
            try:
                return _parse(self._post(body))
            except _PassingError as error:
                if attempt == self.endpoint.attempts:
                    raise ChatError(
                        f"{self.endpoint.base_url} ({self.endpoint.model}) failed {attempt} times, last: {error}; "
                        "is the server up, and its model name right?"
                    ) from error
                log.warning("attempt %d of %d failed: %s", attempt, self.endpoint.attempts, error)
                pause = self.endpoint.pause * 2 ** (attempt - 1) if error.wait is None else error.wait
                time.sleep(min(pause, _LONGEST_PAUSE))
        raise AssertionError("attempts is at least 1, and the last attempt returns or raises")

    def _post(self, body: dict[str, Any]) -> bytes:
        deadline = time.monotonic() + self.endpoint.timeout
        url = self.endpoint.base_url.rstrip("/") + "/chat/completions"
        try:
            with self._session().post(
                url, json=body, headers=self._headers(), stream=True, timeout=self.endpoint.timeout
            ) as response:
                content = _read_until(response, deadline)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise _PassingError(f"{type(error).__name__}: {error}") from error
        except requests.RequestException as error:
            raise ChatError(f"{url}: {error}; check base_url") from error
        excerpt = content[:300].decode(errors="replace")
        if response.status_code in _PASSING_STATUS or response.status_code >= 500:
            raise _PassingError(f"HTTP {response.status_code}: {excerpt}", _retry_after(response))
        if response.status_code != 200:
            raise ChatError(f"{url} answered HTTP {response.status_code}, which no retry mends: {excerpt}")
        return content

    def _session(self) -> requests.Session:
        # requests does not promise that one session may serve several threads.
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        return self._local.session

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self.endpoint.api_key_env, "") if self.endpoint.api_key_env else ""
        return {"Authorization": f"Bearer {key}"} if key else {}


def _read_until(response: requests.Response, deadline: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in response.iter_content(chunk_size=65536):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise _PassingError(f"the reply was not complete in time ({size} bytes so far)")
        if size > _LONGEST_REPLY:
            raise ChatError(f"the reply is longer than {_LONGEST_REPLY} bytes; that is no chat completion")
    return b"".join(parts)


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.replace(".", "", 1).isdigit() else None


def _parse(content: bytes) -> ChatReply:
    try:
        reply = json.loads(content)
        choice = reply["choices"][0]
        text = choice["message"]["content"]
        usage = reply.get("usage") or {}
        counts = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise _PassingError(f"no chat completion ({type(error).__name__}): {content[:200]!r}") from error
    if not isinstance(text, str):
        raise _PassingError(f"a completion without text: {content[:200]!r}")
    return ChatReply(text, str(choice.get("finish_reason") or "unknown"), *counts)
