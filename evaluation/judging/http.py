"""A judge behind any OpenAI-compatible endpoint: concurrent, cached on disk, counted, and honest when it fails.

The judge reads the answer out of a response; a rule compares it with the gold answer (MathVerse: the judge again, where
the two differ as text). A call that fails, or a reply that makes no sense after several tries, gives `None`, unjudged:
neither right nor wrong. Only replies that made sense are cached, so running again asks only what is still open.
"""

import hashlib
import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from drift.errors import DataError
from evaluation.engines.base import EngineError
from evaluation.judging.config import OpenAIJudge
from evaluation.judging.judge import JudgeReply, JudgeRequest
from evaluation.judging.prompts import NO_ANSWER, Protocol, is_from_the_case, read_equality

log = logging.getLogger(__name__)

Meaning = TypeVar("Meaning")
_MAX_TOKENS = 512  # of one reply
_READINGS = 3  # tries to get a reply that makes sense; the first at temperature 0, later ones warmer


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
    """Judges responses with a chat model; fits evaluation.judging.judge.Judge."""

    def __init__(
        self,
        config: OpenAIJudge,
        protocol_of: Callable[[str], Protocol],
        *,
        cache: Path | None = None,
        known_as: str = "",
    ) -> None:
        """No connection is made before the first request.

        Args:
            protocol_of: a benchmark's protocol by its name.
            cache: keeps replies between runs; None keeps none.
            known_as: what verdicts and cache call the model, where its server calls it something else.
        """
        self._config, self._protocol_of = config, protocol_of
        from evaluation.engines.chat import ChatClient  # loads the official client: not for rules alone

        self._client = ChatClient(config)
        self._cache = ReplyCache(cache)
        self._lock = threading.Lock()
        self._usage = Usage()
        self.model, self.url = known_as or config.model, config.url

    def usage(self) -> Usage:
        """Calls, tokens and cost since this judge was made."""
        prices, spent = (self._config.prompt_price, self._config.completion_price), self._usage
        if not any(prices):
            return spent
        return replace(spent, cost=(spent.prompt_tokens * prices[0] + spent.completion_tokens * prices[1]) / 1e6)

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
        protocol = self._protocol_of(request.benchmark)
        prompts = [protocol.ask(request)]
        heard: list[_Heard] = []
        extraction: str | None = None

        def read_case(text: str) -> str | None:
            value = protocol.read(text)
            return value if value is not None and is_from_the_case(value, request) else None

        try:
            answer, reply = self._ask(prompts[0], read_case)
            heard.append(reply)
            if answer == NO_ANSWER:
                return self._reply(False, prompts, heard, None)
            extraction = answer
            verdict = protocol.is_gold(request, answer, self._config.mode)
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
        """The meaning of a reply that has one, from the cache or from up to _READINGS calls."""
        key = hashlib.sha256(json.dumps([self.model, prompt, _MAX_TOKENS]).encode("utf-8", "replace")).hexdigest()
        stored = self._cache.get(key)
        if stored is not None and (meaning := read(stored.text)) is not None:
            self._count(cached=1)
            return meaning, stored
        tokens = 0
        for reading in range(_READINGS):
            options = {"max_tokens": _MAX_TOKENS, "temperature": min(0.5 * reading, 1.0)}
            try:
                reply = self._client.complete([{"role": "user", "content": prompt}], options)
            except EngineError as error:
                self._count(failed=1)
                raise _NoVerdict(str(error)) from error
            self._count(calls=1, prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens)
            tokens += reply.prompt_tokens + reply.completion_tokens
            if (meaning := read(reply.text)) is not None:
                heard = _Heard(reply.text, tokens)
                self._cache.put(key, heard)
                return meaning, heard
        self._count(failed=1)
        raise _NoVerdict(f"no usable reply in {_READINGS} readings, last: {reply.text[:300]!r}")

    def _count(self, **added: int) -> None:
        with self._lock:
            self._usage = replace(self._usage, **{name: vars(self._usage)[name] + n for name, n in added.items()})


class ReplyCache:
    """Replies that made sense, by the hash of model and prompt, in an SQLite file that several runs may share.

    A reply is on disk before `put` returns, so a kill loses nothing that was answered.
    """

    def __init__(self, path: Path | None) -> None:
        """Makes the file if there is none; a file that is no SQLite is refused (DataError)."""
        self._path = path
        self._lock = threading.Lock()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        # One connection, used under the lock; another process that writes is waited for up to a minute.
        self._rows = sqlite3.connect(path or ":memory:", timeout=60, isolation_level=None, check_same_thread=False)
        self._run("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL) WITHOUT ROWID")

    def get(self, key: str) -> _Heard | None:
        """The reply stored under `key`."""
        found = self._run("SELECT reply FROM replies WHERE key = ?", key)
        return _Heard(**json.loads(found[0][0])) if found else None

    def put(self, key: str, reply: _Heard) -> None:
        """Store a reply."""
        # As ASCII JSON: a lone surrogate, which a reply may hold, has no UTF-8 form.
        self._run("INSERT OR REPLACE INTO replies VALUES (?, ?)", key, json.dumps(asdict(reply)))

    def _run(self, statement: str, *values: str) -> list[Any]:
        try:
            with self._lock:
                return self._rows.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise DataError(f"{self._path} can't serve as the cache of replies ({error}); name another file") from error
