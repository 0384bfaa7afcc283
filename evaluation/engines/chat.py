"""A client for any OpenAI-compatible chat endpoint: a local vLLM server, a hosted model, a test server on 127.0.0.1.

The official client makes the calls and tries again, with growing pauses, what may pass: no connection, a timeout, 408,
409, 425, 429, 5xx, a reply that is no chat completion. What can't is an error at once (400, 401, 403, 404: the body
says why; a Retry-After above two minutes). Added here: a deadline for the whole of a reply, since the client's
timeout is of one silence, so that a server that drips one byte a minute can't hold a run; and a breaker: after several
failed calls in a row no further one is made, so a dead endpoint costs seconds, not retries times items.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2
import openai

from evaluation.data.deadline import within
from evaluation.engines.base import EngineError
from evaluation.engines.config import Endpoint

log = logging.getLogger(__name__)

_LONGEST_PAUSE = 60.0
_LONGEST_REPLY = 64 * 2**20


class ChatError(EngineError):
    """One call to a chat endpoint failed for good, retries included."""


class EndpointLostError(ChatError):
    """The endpoint failed several calls in a row; no further call is made."""


@dataclass(frozen=True)
class ChatReply:
    """One completion; token counts are 0 where the server gives none."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


class ChatClient:
    """Makes calls to one endpoint; safe to share between threads."""

    def __init__(self, endpoint: Endpoint, model: str = "") -> None:
        """No connection is made before the first call.

        Args:
            model: the name under which the server knows the model; empty takes the endpoint's.
        Raises:
            ChatError: nobody names a model, or the address is none.
        """
        self.endpoint = endpoint
        self.model = model or endpoint.model
        if not self.model:
            raise ChatError(f"{endpoint.url} needs `model`, the name under which the server knows it")
        try:
            self._client = _Client(endpoint)
        except httpx2.InvalidURL as error:
            raise ChatError(f"url {endpoint.url!r} is no address: {error}") from error
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
                f"{self.endpoint.url} was given up: {self._failures_in_a_row} calls in a row failed"
            )
        body = {"model": self.model, "messages": list(messages), **options}
        try:
            response = self._client.ask(body)
        except openai.OpenAIError as error:
            with self._lock:
                self._failures_in_a_row += 1
            raise ChatError(f"{self.endpoint.url} ({self.model}) {self._reason(error)}") from error
        with self._lock:
            self._failures_in_a_row = 0
        return _parse(response)

    @property
    def is_lost(self) -> bool:
        """Whether so many calls failed in a row that no further one is made."""
        return self._failures_in_a_row >= self.endpoint.failures_in_a_row

    def _reason(self, error: openai.OpenAIError) -> str:
        if not isinstance(error, openai.APIError):
            return str(error)
        last = f"{type(error.__cause__).__name__}: {error.__cause__}"
        if isinstance(error, openai.APIStatusError):
            said = error.response.text[:300]
            if not _may_pass(error.status_code):
                return f"answered HTTP {error.status_code}, which no retry mends: {said}"
            last = f"HTTP {error.status_code}: {said}"
        tries = 1 + int(error.request.headers["x-stainless-retry-count"])
        return f"failed {tries} times, last: {last}; is the server up, and its model name right?"


class _TooLongError(openai.OpenAIError):
    """A reply so long that it is no chat completion; the official client lets its own errors pass."""


class _Client(openai.OpenAI):
    """The official client with the endpoint's patience."""

    def __init__(self, endpoint: Endpoint) -> None:
        key = os.environ.get(endpoint.key_env, "") if endpoint.key_env else ""
        super().__init__(
            api_key=key or "none",
            base_url=endpoint.url,
            max_retries=endpoint.attempts - 1,
            timeout=endpoint.timeout,
            http_client=_Http(endpoint.timeout, key),
        )
        self._pause = endpoint.pause
        self._without_key: Any = {} if key else {"headers": {"Authorization": openai.omit}}

    def ask(self, body: Mapping[str, Any]) -> httpx2.Response:
        """The answer to one call, retries included; raises the official client's errors."""
        return self.post("/chat/completions", cast_to=httpx2.Response, body=body, options=self._without_key)

    def _calculate_retry_timeout(
        self, remaining_retries: int, options: Any, response_headers: httpx2.Headers | None = None
    ) -> float:
        # The client's own pauses (half a second to eight) can't be set, and a server that restarts takes longer.
        asked = self._parse_retry_after_header(response_headers)
        own = self._pause * 2 ** (self.max_retries - remaining_retries)
        pause = min(asked if asked is not None and asked > 0 else own, _LONGEST_PAUSE)
        log.warning("an attempt at %s failed, %d left; next in %.1f s", self.base_url, remaining_retries, pause)
        return pause


class _Http(openai.DefaultHttpxClient):
    """One attempt: the reply is whole within `timeout`, and with a good status it is a chat completion.

    A server may say in its reply what it was sent; the key is taken out, since replies go into logs and files.
    """

    def __init__(self, timeout: float, key: str) -> None:
        super().__init__(timeout=timeout)
        self._seconds, self._key = timeout, key.encode()

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        deadline = time.monotonic() + self._seconds
        parts: list[bytes] = []
        size = 0
        ask = partial(super().send, request, **{**options, "stream": True})
        try:
            streamed = within(self._seconds, ask, httpx2.HTTPError, OSError)
        except TimeoutError:
            raise httpx2.ReadTimeout("the reply's headers were not complete in time") from None
        try:
            for part in streamed.iter_bytes():
                parts.append(part)
                size += len(part)
                if time.monotonic() > deadline:
                    raise httpx2.ReadTimeout(f"the reply was not complete in time ({size} bytes so far)")
                if size > _LONGEST_REPLY:
                    raise _TooLongError(f"sent a reply of more than {_LONGEST_REPLY} bytes; that is no chat completion")
        finally:
            streamed.close()
        headers = {name: value for name, value in streamed.headers.items() if name != "content-encoding"}
        body = b"".join(parts)
        if self._key:
            body = body.replace(self._key, b"(key)")
            headers["content-length"] = str(len(body))
        response = httpx2.Response(streamed.status_code, headers=headers, content=body, request=request)
        if response.is_success:
            _parse(response)
        elif _may_pass(response.status_code):
            response.headers["x-should-retry"] = "true"  # for 425, which the client would not try again
        return response


def _may_pass(status: int) -> bool:
    return status in (408, 409, 425, 429) or status >= 500


def _parse(response: httpx2.Response) -> ChatReply:
    """The reply; a DecodingError where there is none, which the official client takes for a failed attempt."""
    try:
        reply = json.loads(response.content)
        choice = reply["choices"][0]
        text = choice["message"]["content"]
        usage = reply.get("usage") or {}
        counts = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise httpx2.DecodingError(
            f"no chat completion ({type(error).__name__}): {response.content[:200]!r}"
        ) from error
    if not isinstance(text, str):
        raise httpx2.DecodingError(f"a completion without text: {response.content[:200]!r}")
    return ChatReply(text, str(choice.get("finish_reason") or "unknown"), *counts)
