"""A judge's failure is never a verdict, its answers are paid for once, and each benchmark's protocol reads its kind."""

import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from local_http import Server, completion, send, serve

from drift.errors import DataError
from evaluation.benchmarks import BENCHMARKS, get_benchmark, protocol_of
from evaluation.data.tsv import Item
from evaluation.engines import chat
from evaluation.engines.base import EngineError
from evaluation.engines.chat import ChatClient, ChatError
from evaluation.engines.config import Endpoint
from evaluation.judging.config import OpenAIJudge
from evaluation.judging.http import HttpJudge, ReplyCache, _Heard
from evaluation.judging.judge import Judge, JudgeRequest
from evaluation.judging.prompts import NO_ANSWER, read_equality
from evaluation.judging.scoring import score, summarise

CASE = JudgeRequest("1", "Which?", "B", {"A": "one", "B": "two"}, benchmark="WeMath", response="I take two.")
PATIENCE = {"pause": 0.0, "timeout": 5.0, "attempts": 3, "concurrency": 4}


def judge_with(server, requests, *, cache=None, patience=None, **prices):
    with serve(server) as url:
        settings = PATIENCE | (patience or {}) | prices
        judge = HttpJudge(OpenAIJudge(f"{url}/v1", "judge-1", name="openai", **settings), protocol_of, cache=cache)
        return judge.judge_all(requests), judge


def case(benchmark: str, answer: str, **changes) -> JudgeRequest:
    return replace(CASE, benchmark=benchmark, answer=answer, **changes)


@pytest.mark.parametrize(
    ("request_", "reply", "verdict", "extraction"),
    [
        (CASE, "B", True, "B"),
        (CASE, "Answer: (A)", False, "A"),
        (CASE, "Z", False, None),
        (case("MMStar", "B"), "B.", True, "B"),
        (case("LogicVista", "A, C"), "CA", True, "AC"),
        (case("LogicVista", "A, C"), "A and C", True, "AC"),
        (case("LogicVista", "A, C"), "A", False, "A"),
        (case("HallusionBench", "1"), "Yes", True, "Yes"),
        (case("HallusionBench", "0"), "Yes.", False, "Yes"),
        (case("HallusionBench", "0"), "Unknown", False, None),
        (case("LabMathVista", "6"), "6", True, "6"),
        (case("LabMathVista", "6"), "<think>5 or 6</think>\n\n5", False, "5"),
        (case("LabMathVista", "6"), "NONE", False, None),
        (case("MathVerse", "B", fields={}), "B", True, "B"),
    ],
)
def test_a_reply_is_read_as_the_benchmark_asks(request_, reply, verdict, extraction):
    [answer], judge = judge_with(Server(reply), [request_])
    assert (answer.verdict, answer.extraction, answer.raw) == (verdict, extraction, reply)
    assert (answer.model, answer.tokens, judge.usage().calls) == ("judge-1", 12, 1)


def test_mathverse_asks_about_equality_only_where_the_text_differs():
    server = Server(lambda body: "1" if "Standard answer: 2" in body["messages"][0]["content"] else "x = 2.0")
    [reply], judge = judge_with(server, [case("MathVerse", "2", fields={"question_for_eval": "Find x in full."})])
    assert (reply.verdict, reply.extraction, reply.raw, judge.usage().calls) == (True, "x = 2.0", "x = 2.0\n---\n1", 2)
    assert "Question: Find x in full." in server.bodies[1]["messages"][0]["content"]
    server = Server(lambda body: "0" if "Standard answer" in body["messages"][0]["content"] else "3")
    assert judge_with(server, [case("MathVerse", "2")])[0][0].verdict is False


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_every_protocol_shows_the_question_the_response_and_its_options(name):
    prompt = get_benchmark(name).protocol.ask(replace(CASE, question="What is it, exactly?", response="It is\nthis."))
    assert "What is it, exactly?\n(A) one\n(B) two\nResponse: <<<\nIt is\nthis.\n>>>\nAnswer:" in prompt
    assert prompt.endswith("Answer:")


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_every_protocol_reads_that_there_is_no_answer(name):
    assert get_benchmark(name).protocol.read(NO_ANSWER) == NO_ANSWER


def test_equality_is_read_from_a_bare_digit_only():
    assert [read_equality(text) for text in ("1", " 0.", "Answer: 1", "<think>0</think>1")] == [True, False, True, True]
    assert [read_equality(text) for text in ("10", "yes", "", "0 or 1")] == [None] * 4


def test_nonsense_is_asked_again_and_then_unjudged_not_wrong():
    server = Server("I would rather talk about lunch, at length.", "B")
    [reply], judge = judge_with(server, [CASE])
    assert reply.verdict is True
    assert [body["temperature"] for body in server.bodies] == [0.0, 0.5]
    [reply], judge = judge_with(Server("Who knows?"), [CASE])
    assert reply.verdict is None
    assert reply.raw == "no usable reply in 3 readings, last: 'Who knows?'"
    assert (judge.usage().calls, judge.usage().failed) == (3, 1)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("I would rather talk about lunch, at length.", None),
        ("Sorry, but there is nothing here that I could help with.", None),
        ("the slowly growing northern field", False),  # the response's own words
        ("7", True),
        ("x = 7", True),
        ("a few words", False),
    ],
)
def test_chat_of_the_judges_own_is_no_free_form_answer(reply, verdict):
    request = case("MathVision", "7", options={}, question="Which?", response="The northern field, slowly growing.")
    assert judge_with(Server(reply), [request])[0][0].verdict is verdict


@pytest.mark.parametrize(
    "broken", [500, 429, 425, 408, 409, b"<html>", b"{}", b'{"choices": []}', b"[1]", completion(None)]
)
def test_what_may_pass_is_tried_again(broken):
    server = Server(broken, broken, "B")
    assert judge_with(server, [CASE])[0][0].verdict is True
    assert len(server.bodies) == 3
    [reply], _ = judge_with(Server(broken), [CASE])
    assert reply.verdict is None
    assert "failed 3 times" in reply.raw


def test_what_cannot_pass_is_not_tried_again():
    server = Server(401)
    [reply], _ = judge_with(server, [CASE])
    assert reply.verdict is None
    assert 'HTTP 401, which no retry mends: {"error": "told to"}' in reply.raw
    assert len(server.bodies) == 1


def test_the_pause_doubles_and_retry_after_is_obeyed(monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)

    def busy(request, _body):
        send(request, 503, b"", **({"Retry_After": "7"} if len(pauses) == 2 else {}))

    with serve(busy) as url, pytest.raises(ChatError, match="failed 5 times"):
        ChatClient(Endpoint(url, "m", pause=1.0, attempts=5)).complete([], {})
    assert [p for p in pauses if p >= 1] == [1.0, 2.0, 7.0, 8.0]


def test_a_wait_of_minutes_is_an_error_at_once():
    seen = []

    def busy(request, _body):
        seen.append(1)
        send(request, 429, b"tomorrow", Retry_After="9000")

    with serve(busy) as url, pytest.raises(ChatError, match="failed 1 times, last: HTTP 429: tomorrow"):
        ChatClient(Endpoint(url, "m", pause=0.0)).complete([], {})
    assert len(seen) == 1


def test_a_reply_that_is_cut_is_tried_again_and_one_without_end_is_not(monkeypatch):
    seen = []

    def cut(request, _body):
        seen.append(1)
        send(request, 200, completion("hi")[: 20 if len(seen) < 3 else None], Content_Length=str(len(completion("hi"))))
        request.close_connection = True

    with serve(cut) as url:
        assert ChatClient(Endpoint(url, "m", pause=0.0, attempts=3)).complete([], {}).text == "hi"
    monkeypatch.setattr(chat, "_LONGEST_REPLY", 1000)
    server = Server("long " * 300)
    with serve(server) as url, pytest.raises(ChatError, match="reply of more than 1000 bytes; that is no chat"):
        ChatClient(Endpoint(url, "m", pause=0.0)).complete([], {})
    assert len(server.bodies) == 1


def test_a_slow_server_is_left_at_the_deadline_even_if_it_drips():
    def drip(request, _body):
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        for _ in range(40):
            request.wfile.write(b" ")
            time.sleep(0.05)

    def silent(request, _body):
        time.sleep(1.5)

    for handler in (drip, silent):
        start = time.monotonic()
        patience = {"timeout": 0.3, "attempts": 1}
        [reply], _ = judge_with(handler, [CASE], patience=patience)
        assert reply.verdict is None
        assert time.monotonic() - start < 1.2


def test_calls_run_side_by_side_and_replies_keep_their_order():
    together = threading.Barrier(8, timeout=20)  # broken, and each call an error, unless eight are under way at once

    def slow(body):
        together.wait()
        return "A" if "odd" in body["messages"][0]["content"] else "B"

    requests = [replace(CASE, index=str(i), response=f"{'odd' if i % 2 else 'even'} {i}") for i in range(16)]
    replies, _ = judge_with(Server(slow), requests, patience={"concurrency": 8, "timeout": 30.0})
    assert [reply.extraction for reply in replies] == ["B", "A"] * 8


def test_a_judge_that_dies_half_way_leaves_the_rest_unjudged_and_the_next_run_asks_only_those(tmp_path):
    requests = [replace(CASE, index=str(i), response=f"I take two. {i}") for i in range(40)]
    cache = tmp_path / "cache.sqlite"
    dying = Server(*["B"] * 15, 500)
    patience = {"concurrency": 2, "failures_in_a_row": 3, "attempts": 2}
    replies, judge = judge_with(dying, requests, cache=cache, patience=patience)
    assert [r.verdict for r in replies].count(True) == judge.usage().calls == 15
    assert [r.verdict for r in replies].count(None) == 25
    assert len(dying.bodies) < 15 + 2 * (3 + 2)  # given up, not tried for every item
    healthy = Server("B")
    replies, judge = judge_with(healthy, requests, cache=cache)
    assert all(r.verdict for r in replies)
    assert (len(healthy.bodies), judge.usage().cached) == (25, 15)


def test_unjudged_items_are_no_part_of_what_is_right_and_bound_the_score_from_above():
    benchmark = get_benchmark("LabMathVista")
    items = [Item(str(i), "list 1 2 . sum ?", "3") for i in range(6)]
    responses = {"0": r"\boxed{ 3 }", "1": r"\boxed{ 4 }"} | {str(i): f"no box {i}" for i in range(2, 6)}
    server = Server(lambda body: 400 if "no box 5" in str(body) else "3")
    with serve(server) as url:
        judge = HttpJudge(OpenAIJudge(url, "j", **PATIENCE, name="openai"), protocol_of)
        assert isinstance(judge, Judge)
        summary = summarise(benchmark, items, score(benchmark, items, responses, judge=judge))
    assert (summary.n, summary.unjudged, summary.metrics["accuracy"].value) == (6, 1, pytest.approx(400 / 6))
    assert summary.highest == pytest.approx(500 / 6)


def test_the_cache_knows_model_and_prompt(tmp_path):
    cache = tmp_path / "cache.sqlite"
    judge_with(Server("B"), [CASE, replace(CASE, response="other")], cache=cache)
    server = Server("B")
    judge_with(server, [CASE, replace(CASE, response="other")], cache=cache)
    assert server.bodies == []
    judge_with(server, [replace(CASE, question="Another?")], cache=cache)
    assert len(server.bodies) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from evaluation.judging.http import ReplyCache, _Heard
cache = ReplyCache(Path(sys.argv[1]))
for k in range(20):
    cache.put(f"{sys.argv[2]} {k}", _Heard("\\ud800 B", k))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_share_a_cache_and_a_kill_loses_nothing_that_was_answered(tmp_path):
    path = tmp_path / "new" / "cache.sqlite"
    ours = ReplyCache(path)
    runs = [subprocess.Popen([sys.executable, "-c", KILLED, str(path), name]) for name in "ab"]
    ours.put("ours", _Heard("A", 3))
    assert [run.wait(60) for run in runs] == [-signal.SIGKILL] * 2
    for cache in (ours, ReplyCache(path)):
        assert cache.get("ours") == _Heard("A", 3)
        assert [cache.get(f"{name} {k}") for name in "ab" for k in range(20)] == [
            _Heard("\ud800 B", k) for k in range(20)
        ] * 2
    assert ours.get("other") is None


def test_a_file_that_is_no_cache_is_refused(tmp_path):
    (tmp_path / "cache.jsonl").write_text('{"key": "a", "text": "B", "tokens": 1}\n' * 99)
    with pytest.raises(DataError, match=r"cache\.jsonl can't serve as the cache of replies .*name another file"):
        ReplyCache(tmp_path / "cache.jsonl")


def test_cost_counts_new_calls_only(tmp_path):
    options = {"cache": tmp_path / "c.sqlite", "prompt_price": 1.5, "completion_price": 6.0}
    _, judge = judge_with(Server("B"), [CASE], **options)
    assert judge.usage().cost == pytest.approx((10 * 1.5 + 2 * 6) / 1e6)
    _, judge = judge_with(Server("B"), [CASE], **options)
    assert (judge.usage().cost, judge.usage().cached) == (0.0, 1)


def test_a_key_is_sent_from_the_environment_and_an_address_is_checked(monkeypatch):
    seen = []
    monkeypatch.setenv("TEST_KEY", "abc")

    def note(request, _body):
        seen.append(request.headers.get("Authorization"))
        send(request, 200, completion("hi"))

    with serve(note) as url:
        ChatClient(Endpoint(url, "m", key_env="TEST_KEY")).complete([], {})
        ChatClient(Endpoint(url, "m", key_env="")).complete([], {})
    assert seen == ["Bearer abc", None]
    with pytest.raises(
        EngineError, match=r"attempts is 0, expected at least 1; url is 'localhost:8000', expected http\(s\)://host/v1"
    ):
        Endpoint("localhost:8000", "m", attempts=0)
    with pytest.raises(EngineError, match=r"unknown mode 'oficial'; did you mean 'official'.*the judge's name"):
        OpenAIJudge("http://x/v1", name="openai", mode="oficial")
    with pytest.raises(ChatError, match="url 'http://x:port/v1' is no address"):
        ChatClient(Endpoint("http://x:port/v1", "m"))
    with pytest.raises(ChatError, match="needs `model`"):
        ChatClient(Endpoint("http://x/v1"))
