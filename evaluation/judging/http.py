"""A judge behind any OpenAI-compatible endpoint: concurrent, cached on disk, counted, and honest when it fails.

The judge reads the answer out of a response; a rule compares it with the gold answer (MathVerse: the judge again, where
the two differ as text). A call that fails, or a reply that makes no sense after several tries, gives `None`, unjudged:
neither right nor wrong. Only replies that made sense are cached, so running again asks only what is still open.
"""

import fcntl
import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from tqdm import tqdm

from drift.files import read_jsonl
from evaluation.benchmarks import get_benchmark
from evaluation.engines.chat import ChatClient, ChatError, ChatReply, Endpoint
from evaluation.judging.judge import JudgeReply, JudgeRequest
from evaluation.judging.prompts import NO_ANSWER, Protocol, is_from_the_case, read_equality

log = logging.getLogger(__name__)

Meaning = TypeVar("Meaning")


@dataclass(frozen=True)
class Usage:
    """What judging cost so far; tokens and cost are those of new calls, cached replies are free.

    Attributes:
        calls: calls that were answered.
        cached: replies taken from the cache.
        failed: calls that failed for good.
        cost: in the currency of the prices, None without prices.
    """

    calls: int = 0
    cached: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None


class _NoVerdict(Exception):
    """There is no usable reply; the text says why."""


@dataclass(frozen=True)
class _Heard:
    """A reply that made sense."""

    text: str
    tokens: int


class HttpJudge:
    """Judges responses with a chat model; fits evaluation.judging.judge.BatchJudge."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        cache: Path | None = None,
        mode: str = "official",
        max_tokens: int = 512,
        readings: int = 3,
        prompt_price: float | None = None,
        completion_price: float | None = None,
    ) -> None:
        """No connection is made before the first request.

        Args:
            endpoint: where the judge answers, its model name, concurrency and patience.
            cache: a JSONL of replies, kept between runs; None keeps none.
            mode: `official` or `semantic`, the rule that compares the answer read with the gold one.
            max_tokens: of one reply.
            readings: tries to get a reply that makes sense; the first at temperature 0, later ones warmer.
            prompt_price, completion_price: per million tokens; without them no cost is counted.
        """
        self._client = ChatClient(endpoint)
        self._cache = ReplyCache(cache)
        self._mode = mode
        self._max_tokens = max_tokens
        self._readings = readings
        self._prices = (prompt_price, completion_price)
        self._lock = threading.Lock()
        self._counts = {"calls": 0, "cached": 0, "failed": 0, "prompt_tokens": 0, "completion_tokens": 0}
        self.model = endpoint.model

    def usage(self) -> Usage:
        """Calls, tokens and cost since this judge was made."""
        with self._lock:
            counts = dict(self._counts)
        prompt_price, completion_price = self._prices
        if prompt_price is None or completion_price is None:
            return Usage(**counts)
        spent = counts["prompt_tokens"] * prompt_price + counts["completion_tokens"] * completion_price
        return Usage(**counts, cost=spent / 1e6)

    @property
    def is_lost(self) -> bool:
        """Whether the endpoint failed so often in a row that it is no longer asked."""
        return self._client.is_lost

    def judge_all(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """One reply a request, in the same order, several calls at a time."""
        with ThreadPoolExecutor(self._client.endpoint.concurrency) as pool:
            bar = tqdm(pool.map(self.judge, requests), total=len(requests), unit="item", desc="judge", disable=None)
            replies = list(bar)
        unjudged = sum(reply.verdict is None for reply in replies)
        log.info("judged %d responses, %d unjudged; %s", len(replies), unjudged, self.usage())
        if unjudged:
            log.warning("%d responses are unjudged; run again to ask only for those", unjudged)
        return replies

    def judge(self, request: JudgeRequest) -> JudgeReply:
        """The verdict, or None with the reason in `raw` when there is no usable reply."""
        protocol = get_benchmark(request.benchmark).protocol
        prompts = [protocol.ask(request)]
        heard: list[_Heard] = []
        extraction: str | None = None
        try:
            answer, reply = self._ask(prompts[0], lambda text: _read_case(protocol, text, request))
            heard.append(reply)
            if answer == NO_ANSWER:
                return self._reply(False, prompts, heard, None)
            extraction = answer
            verdict = protocol.is_gold(request, answer, self._mode)
            if not verdict and protocol.compare is not None:
                prompts.append(protocol.compare(request, answer))
                verdict, reply = self._ask(prompts[1], read_equality)
                heard.append(reply)
            return self._reply(verdict, prompts, heard, extraction)
        except _NoVerdict as error:
            return self._reply(None, prompts, [*heard, _Heard(str(error), 0)], extraction)

    def _reply(
        self, verdict: bool | None, prompts: list[str], heard: list[_Heard], extraction: str | None
    ) -> JudgeReply:
        return JudgeReply(
            verdict=verdict,
            raw="\n---\n".join(reply.text for reply in heard),
            model=self.model,
            prompt_sha256=hashlib.sha256("\0".join(prompts).encode("utf-8", "replace")).hexdigest(),
            tokens=sum(reply.tokens for reply in heard),
            extraction=extraction,
        )

    def _ask(self, prompt: str, read: Callable[[str], Meaning | None]) -> tuple[Meaning, _Heard]:
        """The meaning of a reply that has one, from the cache or from up to `readings` calls."""
        key = hashlib.sha256(json.dumps([self.model, prompt, self._max_tokens]).encode("utf-8", "replace")).hexdigest()
        stored = self._cache.get(key)
        if stored is not None and (meaning := read(stored.text)) is not None:
            self._count(cached=1)
            return meaning, stored
        tokens = 0
        last = ""
        for reading in range(self._readings):
            reply = self._call(prompt, temperature=min(0.5 * reading, 1.0))
            tokens += reply.prompt_tokens + reply.completion_tokens
            last = reply.text
            if (meaning := read(reply.text)) is not None:
                heard = _Heard(reply.text, tokens)
                self._cache.put(key, heard)
                return meaning, heard
        self._count(failed=1)
        raise _NoVerdict(f"no usable reply in {self._readings} readings, last: {last[:300]!r}")

    def _call(self, prompt: str, temperature: float) -> ChatReply:
        options = {"max_tokens": self._max_tokens, "temperature": temperature}
        try:
            reply = self._client.complete([{"role": "user", "content": prompt}], options)
        except ChatError as error:
            self._count(failed=1)
            raise _NoVerdict(str(error)) from error
        self._count(calls=1, prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens)
        return reply

    def _count(
        self, calls: int = 0, cached: int = 0, failed: int = 0, prompt_tokens: int = 0, completion_tokens: int = 0
    ) -> None:
        added = {"calls": calls, "cached": cached, "failed": failed}
        added |= {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
        with self._lock:
            for name, value in added.items():
                self._counts[name] += value


class ReplyCache:
    """Replies that made sense, by the hash of model and prompt, appended to a JSONL as they come.

    Several runs may share one file: every look at it and every line holds a lock on it.
    """

    def __init__(self, path: Path | None) -> None:
        """Reads what is there; a last line that a kill left torn is dropped from the file."""
        self._path = path
        self._lock = threading.Lock()
        self._replies: dict[str, _Heard] = {}
        if path is None or not path.exists():
            return
        with _locked(path):
            for line in read_jsonl(path):
                self._replies[line["key"]] = _Heard(line["text"], line["tokens"])

    def get(self, key: str) -> _Heard | None:
        """The reply stored under `key`."""
        return self._replies.get(key)

    def put(self, key: str, reply: _Heard) -> None:
        """Store a reply, on disk before this returns."""
        with self._lock:
            self._replies[key] = reply
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                line: dict[str, Any] = {"key": key, "text": reply.text, "tokens": reply.tokens}
                with _locked(self._path) as stream:
                    stream.write(json.dumps(line).encode("ascii") + b"\n")


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """The file, open for appending by this process alone, and cut back to whole lines."""
    with path.open("a+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # released when the file is closed
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 1))
        if stream.read() not in (b"", b"\n"):
            stream.seek(0)
            log.warning("%s: dropping an unfinished last line", path)
            stream.truncate(stream.read().rfind(b"\n") + 1)
        yield stream


def _read_case(protocol: Protocol, text: str, request: JudgeRequest) -> str | None:
    value = protocol.read(text)
    return value if value is not None and is_from_the_case(value, request) else None
