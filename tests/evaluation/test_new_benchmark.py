"""A new benchmark is one module in evaluation/benchmarks, and to be run one file in conf/suite: no more is touched."""

import json
import os
import shutil
import subprocess
import sys
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

ROOT = Path(__file__).parents[2]
MODULE = r'''
"""Colours: a word after `colour:`."""

from evaluation.benchmarks.base import Benchmark
from evaluation.data.tsv import Item
from evaluation.judging.prompts import value_protocol
from evaluation.judging.verdicts import UNMATCHED, Outcome


def score_colour(item: Item, response: str, mode: str) -> Outcome:
    _, found, word = response.rpartition("colour: ")
    return Outcome(word == item.answer, word, "colour") if found else UNMATCHED


BENCHMARKS = (
    Benchmark(
        name="Colours",
        tsv="Colours.tsv",
        url="https://example.org/Colours.tsv",
        prompt=lambda item: f"{item.question} Answer with `colour: WORD`.",
        rule=score_colour,
        protocol=value_protocol(score_colour, lambda value: f"colour: {value}"),
    ),
)
'''
SUITE = "name: colours\nsource: hub\nsplit: test\nvariant: default\nbenchmarks:\n  Colours: Colours\n"


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


def test_a_new_module_and_a_suite_are_scored_and_planned(tmp_path: Path) -> None:
    for name in ("evaluation", "pipelines", "conf"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "drift").symlink_to(ROOT / "drift")
    (tmp_path / "evaluation" / "benchmarks" / "colours.py").write_text(MODULE)
    (tmp_path / "conf" / "suite" / "colours.yaml").write_text(SUITE)
    write_rows(tmp_path / "Colours.tsv", [{"index": str(k), "question": "q", "answer": "red"} for k in range(4)])
    responses = ["colour: red", "colour: blue", "red", "so, colour: red"]
    lines = [json.dumps({"index": str(k), "response": text}) + "\n" for k, text in enumerate(responses)]
    (tmp_path / "p.jsonl").write_text("".join(lines))

    def python(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    files = ["data=Colours.tsv", "predictions=p.jsonl", "verdicts=v.jsonl"]
    scored = json.loads(python("-m", "evaluation.score", "benchmark=Colours", *files))
    assert (scored["benchmark"], scored["score"], scored["unmatched"]) == ("Colours", 50.0, 1)
    program = (
        "from pipelines import compose, plan;"
        "call = plan.score(compose.load(['method=baseline', 'suite=colours']));"
        "print(dict(call.params.benchmarks))"
    )
    assert python("-c", program) == "{'Colours': 'Colours'}\n"
