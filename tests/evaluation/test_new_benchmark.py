"""One object says all of a benchmark; tests/docs/test_extending.py adds one as a module and a suite."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from drift.errors import DataError
from evaluation import benchmarks
from evaluation.benchmarks import Benchmark, build_prompt, get_benchmark, register
from evaluation.benchmarks.base import ask_question, grouped_by
from evaluation.data.tsv import QA, Item, load_items, write_rows
from evaluation.judging.judge import JudgeReply, JudgeRequest
from evaluation.judging.prompts import value_protocol
from evaluation.judging.scoring import score, summarise
from evaluation.judging.verdicts import UNMATCHED, Grouped, Outcome


def toy_rule(item: Item, response: str, mode: str) -> Outcome:
    """The last word; `semantic` does not mind its case."""
    if not response:
        return UNMATCHED
    word, gold = response.split()[-1], item.answer
    return Outcome(word == gold if mode == "official" else word.casefold() == gold.casefold(), word, "last_word")


def all_right(items: Sequence[Item], verdicts) -> Grouped:
    """The share of groups whose items are all right, 100 for drawn groups without a wrong item."""
    groups = sorted({item.group or "" for item in items})
    right = [all(verdicts[item.index].correct for item in items if item.group == group) for group in groups]
    return Grouped(
        groups, {"both": lambda drawn: 100 * sum(right[k] for k in drawn) / len(drawn)}, counts={"groups": 2}
    )


TOY = Benchmark(
    name="Toy",
    aliases=("Plaything",),
    tsv="Toy.tsv",
    columns=(*QA, "pair"),
    group=grouped_by("pair"),
    prompt=ask_question,
    rule=toy_rule,
    protocol=value_protocol(toy_rule),
    headline="both",
    metrics=all_right,
)


class FakeJudge:
    """Answers a batch with `yellow`, read and compared as the benchmark's protocol says."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def judge(self, request: JudgeRequest) -> JudgeReply:
        protocol = get_benchmark(request.benchmark).protocol
        assert protocol.ask(request).endswith("Answer:")
        value = protocol.read("yellow") or ""
        return JudgeReply(protocol.is_gold(request, value, "official"), "yellow", "fake", extraction=value)

    def judge_all(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        self.asked += [request.index for request in requests]
        return [self.judge(request) for request in requests]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    """The toy, known by its names until the test ends."""
    monkeypatch.setattr(benchmarks, "BENCHMARKS", dict(benchmarks.BENCHMARKS))
    monkeypatch.setattr(benchmarks, "ALIASES", dict(benchmarks.ALIASES))
    register(TOY)
    return get_benchmark("Plaything")


def test_one_registered_object_is_asked_read_judged_and_summed_up(toy: Benchmark, tmp_path: Path) -> None:
    colours = {"0": "red", "1": "green", "2": "blue", "3": "yellow"}
    rows = [{"index": k, "question": f"q{k}?", "answer": a, "pair": str(int(k) // 2)} for k, a in colours.items()]
    write_rows(tmp_path / toy.tsv, rows)
    items = load_items(tmp_path / toy.tsv, toy)
    assert [(build_prompt(toy, item), item.group) for item in items[:3]] == [("q0?", "0"), ("q1?", "0"), ("q2?", "1")]
    responses = {"0": "It is red", "1": "It is Green", "2": "It is blue", "3": ""}
    judge = FakeJudge()
    verdicts = score(toy, items, responses, "official", judge)
    assert judge.asked == ["3"]
    assert [(v.correct, v.rule) for v in verdicts][1:] == [(False, "last_word"), (True, "last_word"), (True, "judge")]
    summary = summarise(toy, items, verdicts)
    assert (summary.value, summary.metrics["accuracy"].value, summary.extra) == (50.0, 75.0, {"groups": 2})
    assert (summary.metrics["both"].low, summary.metrics["both"].high) == (0.0, 100.0)
    assert [v.correct for v in score(toy, items, responses, "semantic")] == [True, True, True, False]
    with pytest.raises(DataError, match="did you mean 'Plaything'"):
        get_benchmark("Playthin")
