"""judge=openai as typed and as a stage: verdicts, unjudged items, one payment for each reply, tokens and cost."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from local_http import Server, serve

from drift.files import read_jsonl
from evaluation import score
from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import load_items, write_rows
from evaluation.judging.config import OpenAIJudge
from evaluation.judging.cost import estimate
from pipelines import compose
from pipelines.errors import StageError
from pipelines.layout import SCORES
from pipelines.stage import Runtime
from pipelines.stages import JudgeParams, ScoreParams
from pipelines.stages.evaluate import score_responses
from pipelines.stages.judge import judge_responses

# The response's wording decides what the judge does; boxed answers are read by rule and never reach it.
KINDS = ["boxed right", "boxed wrong", *["says right"] * 3, *["says wrong"] * 2, "nonsense", "failing", "says none"]
ASKED = {"says right": 3, "says wrong": 2, "nonsense": 1, "failing": 1, "says none": 1}
NAME = "LabMathVista"


def reply(body: dict):
    prompt = body["messages"][0]["content"]
    if "failing" in prompt:
        return 400
    if "nonsense" in prompt:
        return "I would rather talk about lunch, at length."
    return "NONE" if "says none" in prompt else "7" if "says right" in prompt else "3"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten items whose answer is 7, and a response of each kind."""
    rows = [{"index": str(k), "question": "sum ?", "answer": "7"} for k in range(len(KINDS))]
    write_rows(tmp_path / f"{NAME}.tsv", rows)
    texts = {"boxed right": r"\boxed{ 7 }", "boxed wrong": r"\boxed{ 2 }"}
    lines = [
        {"index": str(k), "response": texts.get(kind, f"{kind} {k}"), "finish_reason": "stop"}
        for k, kind in enumerate(KINDS)
    ]
    (tmp_path / f"{NAME}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def by_kind(path: Path) -> dict[str, set]:
    found: dict[str, set] = {}
    for line in path.read_text().splitlines():
        verdict = json.loads(line)
        found.setdefault(KINDS[int(verdict["index"])], set()).add((verdict["correct"], verdict["rule"]))
    return found


VERDICTS = {
    "boxed right": {(True, "boxed")},
    "boxed wrong": {(False, "boxed")},
    "says right": {(True, "judge")},
    "says wrong": {(False, "judge")},
    "says none": {(False, "judge")},
    "nonsense": {(None, "unjudged")},
    "failing": {(None, "unjudged")},
}


def command_line(folder: Path, url: str, capsys: pytest.CaptureFixture, **changes: object) -> tuple[int, str, str]:
    values: dict[str, object] = {"benchmark": NAME, "data": folder / f"{NAME}.tsv", "verdicts": folder / "v.jsonl"}
    values |= {"predictions": folder / f"{NAME}.jsonl", "judge": "openai", "judge_url": f"{url}/v1"}
    values |= {"judge_model": "judge-1", "judge_cache": folder / "cache.sqlite", **changes}
    status = score.main([f"{key}={value}" for key, value in values.items()])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_command_counts_each_outcome_and_pays_once(folder: Path, capsys: pytest.CaptureFixture) -> None:
    server = Server(reply)
    prices = {"judge_prompt_price": 1.5, "judge_completion_price": "6"}
    with serve(server) as url:
        first = json.loads(command_line(folder, url, capsys, **prices)[1])
        assert by_kind(folder / "v.jsonl.partial") == VERDICTS
        assert len(server.bodies) == 3 + 2 + 3 + 1 + 1  # nonsense is asked three times, a 400 once
        second = json.loads(command_line(folder, url, capsys, **prices)[1])
        assert by_kind(folder / "v.jsonl.partial") == VERDICTS
    assert (first["n"], first["unjudged"], first["unmatched"], first["judge"]) == (10, 2, 1, "judge-1")
    assert (first["accuracy"], first["highest"], first["is_whole"]) == (40, 70, False)  # of ten; three are open
    assert first["judge_usage"] == {
        "calls": 9, "cached": 0, "failed": 2, "prompt_tokens": 90, "completion_tokens": 18,
        "cost": pytest.approx((90 * 1.5 + 18 * 6) / 1e6),
    }  # fmt: skip
    assert len(server.bodies) == 10 + 3 + 1  # only what had no usable reply is asked again
    assert (second["judge_usage"]["cached"], second["judge_usage"]["calls"]) == (6, 3)
    assert {k: v for k, v in second.items() if k != "judge_usage"} == {
        k: v for k, v in first.items() if k != "judge_usage"
    }


def test_a_judge_that_cannot_be_reached_ends_in_a_status_of_its_own_and_replaces_no_whole_score(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    (folder / "v.jsonl").write_text("the verdicts of a whole run\n")
    with serve(Server(401)) as url:
        status, out, _ = command_line(folder, url, capsys, judge_cache=folder / "other.sqlite")
    summary = json.loads(out)
    assert status == 3
    assert (summary["accuracy"], summary["unjudged"], summary["n"], summary["highest"]) == (10, 8, 10, 90)
    assert (folder / "v.jsonl").read_text() == "the verdicts of a whole run\n"
    assert summary["verdicts"].endswith("v.jsonl.partial")


def test_unjudged_items_are_taken_for_whole_only_where_that_is_said(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    with serve(Server(reply)) as url:
        assert command_line(folder, url, capsys)[0] == 3
        assert not (folder / "v.jsonl").exists()
        assert command_line(folder, url, capsys, allow_unjudged="true")[0] == 0
    assert by_kind(folder / "v.jsonl") == VERDICTS


def test_a_judge_that_was_never_asked_is_not_named(folder: Path, capsys: pytest.CaptureFixture) -> None:
    lines = [json.dumps({"index": str(k), "response": r"\boxed{7}"}) for k in range(len(KINDS))]
    (folder / f"{NAME}.jsonl").write_text("\n".join(lines))
    status, out, _ = command_line(folder, "http://127.0.0.1:9", capsys)
    assert (status, json.loads(out)["judge"], json.loads(out)["judge_usage"]["calls"]) == (0, "rules", 0)


def test_without_prices_no_cost_is_claimed_and_a_price_must_be_a_number(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    with serve(Server(reply)) as url:
        usage = json.loads(command_line(folder, url, capsys)[1])["judge_usage"]
        assert (usage["cost"], usage["prompt_tokens"]) == (None, 90)
        status, out, error = command_line(folder, url, capsys, judge_prompt_price="cheap")
    assert (status, out) == (2, "")
    assert "judge_prompt_price='cheap'; expected a number" in error


def test_each_judged_verdict_says_who_judged_in_which_words(folder: Path, capsys: pytest.CaptureFixture) -> None:
    with serve(Server(reply)) as url:
        command_line(folder, url, capsys)
    lines = [json.loads(line) for line in (folder / "v.jsonl.partial").read_text().splitlines()]
    judged = [line for line in lines if line["rule"] == "judge"]
    assert [(v["judge"], v["judge_raw"], v["judge_tokens"]) for v in judged[:1]] == [("judge-1", "7", 12)]
    assert len({v["judge_prompt_sha256"] for v in judged}) == len(judged) == 6
    failed = next(line for line in lines if KINDS[int(line["index"])] == "failing")
    assert "HTTP 400, which no retry mends" in failed["judge_raw"]
    assert all(line["judge"] == "" for line in lines[:2])


def stage(folder: Path, url: str, mode: str, out: str) -> tuple[dict, Path]:
    """The stages of judge and score; `folder` holds responses and tables, and the store's cache is shared."""
    runtime = Runtime(folder, cache=folder / ".cache")
    judge = OpenAIJudge(f"{url}/v1", "judge-1", name="openai", mode=mode, prompt_price=1.5, completion_price=6.0)
    (folder / out).mkdir(exist_ok=True)
    inputs = {"responses": folder, "benchmarks": folder}
    said = judge_responses(JudgeParams((NAME,), judge), runtime, inputs, folder / out)
    params, inputs = ScoreParams({"MathVista": NAME}, judge), inputs | {"judged": folder / out}
    return said | score_responses(params, runtime, inputs, folder / out), folder / out


def test_the_stage_counts_each_outcome_and_another_mode_asks_only_what_is_open(folder: Path) -> None:
    server = Server(reply)
    with serve(server) as url:
        values, out = stage(folder, url, "official", "a")
        again, _ = stage(folder, url, "semantic", "b")
    assert by_kind(out / f"{NAME}.verdicts.jsonl") == VERDICTS
    summary = json.loads((out / SCORES).read_text())["MathVista"]
    assert (summary["score"], summary["unjudged"], values["scores"]) == (40.0, 2, {"MathVista": 40.0})
    assert values["judge"] == "judge-1"
    assert values["judge_usage"]["calls"] == 9
    assert values["judge_usage"]["cost"] == pytest.approx((90 * 1.5 + 18 * 6) / 1e6)
    assert (again["judge_usage"]["cached"], again["judge_usage"]["calls"], again["judge_usage"]["failed"]) == (6, 3, 2)
    assert len(server.bodies) == 14


def test_a_judge_that_dies_stops_the_stage_and_the_next_run_asks_only_the_rest(folder: Path) -> None:
    rows = [{"index": str(k), "question": "sum ?", "answer": "7"} for k in range(40)]
    write_rows(folder / f"{NAME}.tsv", rows)
    lines = [{"index": str(k), "response": f"says right {k}", "finish_reason": "stop"} for k in range(40)]
    (folder / f"{NAME}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    server = Server(*["7"] * 15, 401)
    with serve(server) as url:
        with pytest.raises(StageError, match=r"(?s)judge-1 at .* stopped answering on LabMathVista.*the rest"):
            stage(folder, url, "official", "a")
        assert not (folder / "a" / SCORES).exists()
        server.replies = ["7"]
        before = len(server.bodies)
        values, _ = stage(folder, url, "official", "a")
    assert len(server.bodies) - before == 25
    assert (values["scores"]["MathVista"], values["judge_usage"]["cached"]) == (100.0, 15)


def test_decided_items_are_audited_and_what_is_said_of_them_changes_no_verdict(folder: Path) -> None:
    def strict(body: dict) -> str:
        return "9" if "boxed" in body["messages"][0]["content"] else "7"

    (folder / f"{NAME}.published.jsonl").write_text(
        "".join(json.dumps({"index": str(k), "correct": k != 2}) + "\n" for k in range(len(KINDS)))
    )
    judge = {"name": "openai", "audit": 5}
    with serve(Server(strict)) as url:
        params = JudgeParams((NAME,), OpenAIJudge(f"{url}/v1", "judge-1", **judge))
        inputs = {"responses": folder, "benchmarks": folder}
        values = judge_responses(params, Runtime(folder, cache=folder / ".cache"), inputs, folder)
    found = values["agreement"][NAME]
    assert (found["asked"], found["audited"]) == (8, 2)
    assert len(read_jsonl(folder / f"{NAME}.audited.jsonl", "replies")) == 2
    assert found["agrees_with_rules"] == 50  # of the right box it says 9, which is wrong, and so is the wrong box
    assert found["agrees_with_publisher"] == pytest.approx(100 * 7 / 8)
    scored = ScoreParams({"MathVista": NAME}, params.judge)
    score_responses(scored, Runtime(folder), inputs | {"judged": folder}, folder)
    assert by_kind(folder / f"{NAME}.verdicts.jsonl")["boxed right"] == {(True, "boxed")}


def test_a_verdict_can_be_asked_for_again_from_the_artifact(folder: Path) -> None:
    with serve(Server("7")) as url:
        _, out = stage(folder, url, "official", "a")
    [template] = json.loads((out / f"{NAME}.prompts.json").read_text())["prompts"]
    items = {item.index: item for item in load_items(folder / f"{NAME}.tsv", get_benchmark(NAME), with_images=False)}
    said = {line["index"]: line["response"] for line in read_jsonl(folder / f"{NAME}.jsonl", "responses")}
    for reply in read_jsonl(out / f"{NAME}.replies.jsonl", "replies"):
        prompt = template.replace("{question}", items[reply["index"]].question).replace(
            "{response}", said[reply["index"]]
        )
        assert hashlib.sha256(prompt.encode()).hexdigest() == reply["prompt_sha256"]


def test_a_protocol_that_asks_nobody_makes_no_call_and_names_no_judge(folder: Path) -> None:
    write_rows(folder / "MathVision.tsv", [{"index": "0", "question": "q", "answer": "7", "choices": "[]"}])
    (folder / "MathVision.jsonl").write_text('{"index": "0", "response": "well", "finish_reason": "stop"}\n')
    judge = OpenAIJudge("http://127.0.0.1:9/v1", "judge-1", name="openai", audit=5)
    inputs = {"responses": folder, "benchmarks": folder}
    values = judge_responses(JudgeParams(("MathVision",), judge), Runtime(folder, cache=folder), inputs, folder)
    assert values["judge_usage"]["calls"] == 0
    score_responses(
        ScoreParams({"MathVision": "MathVision"}, judge), Runtime(folder), inputs | {"judged": folder}, folder
    )
    assert json.loads((folder / SCORES).read_text())["MathVision"]["judge"] == ""


def test_what_a_judge_will_take_is_known_before_it_is_asked() -> None:
    judge = OpenAIJudge("http://j/v1", "j", name="openai", mode="vlmevalkit", prompt_price=1.0, completion_price=2.0)
    always, undecided = (estimate(get_benchmark(name), judge, 1000, 300) for name in ("LogicVista", "MathVista"))
    assert (always.calls, undecided.calls) == (1000, 100)
    assert always.prompt_tokens > 1000 * 420  # question and response, and the frame around them
    assert always.cost == pytest.approx((always.prompt_tokens + 2 * always.completion_tokens) / 1e6)
    assert estimate(get_benchmark("MathVerse"), judge, 1000, 300).calls == 2000  # it asks twice
    assert estimate(get_benchmark("MathVision"), replace(judge, mode="official"), 1000, 300).calls == 0


def test_prices_come_from_the_config_and_are_no_part_of_a_score() -> None:
    from pipelines import plan

    cheap, dear = (compose.load(["judge=openai", f"judge.prompt_price={price}"]) for price in (0.15, 9))
    assert plan.score(cheap).key == plan.score(dear).key
    judge = plan.score(dear).params.judge
    assert (judge.prompt_price, judge.completion_price) == (9.0, 0.6)
    assert plan.score(cheap).key != plan.score(compose.load(["judge=openai", "judge.model=other"])).key
