"""The spread table says what a change of protocol alone does to a score, and nothing is made twice for it."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evaluation.judging.summary import Metric, Score
from pipelines import compose, plan, scheduler, sensitivity, worker
from pipelines.errors import ConfigError
from pipelines.schema import Config
from pipelines.scored import Scored, write_scores
from pipelines.sensitivity import points, read, spread, targets
from pipelines.stage import Call, Runtime, Stage, ordered
from pipelines.store import Store

ITEMS = 10


@dataclass(frozen=True)
class Protocol:
    variant: str
    tokens: int
    mode: str
    benchmarks: Mapping[str, str]


def score(params: Protocol, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """All right at 52 tokens, four right at 16; `direct` is right for one; semantic mode judges the first three not."""
    right = {"default": ITEMS if params.tokens == 52 else 4, "direct": 1}[params.variant]
    for name in params.benchmarks.values():
        verdicts = [{"index": str(k), "correct": k < right} for k in range(ITEMS)]
        if params.mode == "semantic":
            verdicts[:3] = [verdict | {"correct": None} for verdict in verdicts[:3]]
        (out / f"{name}.verdicts.jsonl").write_text("".join(json.dumps(v) + "\n" for v in verdicts))
        unjudged = 3 if params.mode == "semantic" else 0
        value = 100 * sum(v["correct"] is True for v in verdicts) / (ITEMS - unjudged)
        accuracy = {"accuracy": Metric(value, value - 1, value + 1)}
        found = Score(name, "1", params.mode, "accuracy", ITEMS, 0, ITEMS - right, unjudged, 0, 0, accuracy)
    write_scores(out, dict.fromkeys(params.benchmarks, Scored(found, {}, 0)))
    return {}


def toy_score(config: Config) -> Call:
    params = Protocol(
        config.suite.variant, config.engine.settings.max_new_tokens, config.judge.mode, {"MathVista": "LabMathVista"}
    )
    stage = Stage("score", 1, f"{__name__}:score", 1)
    return Call(stage, params, {"benchmarks": plan.benchmarks(config)}, label=f"seed={config.seed}")


@dataclass
class InProcess:
    """A scheduler that runs the score stage alone, in this process, on the real store."""

    store: Path

    def execute(self, calls: list[Call]) -> scheduler.Outcome:
        store, done, executed = Store(self.store), {}, 0
        for call in ordered(calls):
            if call.stage.name != "score":
                if store.find(call.stage.name, call.key) is None:
                    with store.writing(call.stage.name, call.key) as partial:
                        store.commit(partial, {"stage": call.stage.name, "fingerprint": call.key, "values": {}})
                done[call.key] = store.find(call.stage.name, call.key)
                continue
            job = scheduler.resolve(call, done)
            if (found := store.find("score", job.fingerprint)) is None:
                executed += 1
                with store.writing("score", job.fingerprint) as partial:
                    found = worker.run(job, Runtime(self.store), partial)
            done[call.key] = found
        return scheduler.Outcome(done, executed)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, caplog):
    """The command with toy scores: its exit status, and spread by benchmark and axis."""
    monkeypatch.setattr(plan, "score", toy_score)
    monkeypatch.setattr(sensitivity, "scheduler", lambda config: InProcess(tmp_path / "store"))

    def run(*words: str) -> dict[str, dict[str, Any]]:
        assert sensitivity.main(["method=baseline", f"out={tmp_path / 'out'}", *words]) == 0
        return {row["axis"]: row for row in json.loads(capsys.readouterr().out)["spread"]}

    return run


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "out" / "sensitivity.csv").open() as stream:
        return list(csv.DictReader(stream))


TOKENS = "engine.settings.max_new_tokens=52,16"
VARIANTS = "suite.variant=default,direct"


def test_one_axis_at_a_time_and_all_combinations_start_at_the_baseline() -> None:
    axes = {"a": ("x", "y"), "b": ("1", "2", "3"), "c": ("only",)}
    one, full = points(axes), points(axes, "full")
    assert one[0] == full[0] == {"a": "x", "b": "1", "c": "only"}
    assert (len(one), len(full), len({tuple(point.items()) for point in full})) == (4, 6, 6)
    assert len(points({"a": ("x", "x")})) == 1


def test_words_with_several_values_are_the_axes_and_the_rest_is_shared() -> None:
    asked = read(["method=baseline", "seeds=[0,1]", "judge.mode=official,semantic", "grid=full", "out=o"])
    assert asked.axes == {"judge.mode": ("official", "semantic")}
    assert (asked.fixed, asked.grid, asked.out) == (("method=baseline", "seeds=[0,1]"), "full", "o")
    with pytest.raises(ConfigError, match="did you mean 'full'"):
        read([VARIANTS, "grid=ful"])
    with pytest.raises(ConfigError, match="no axis among"):
        read(["method=baseline"])
    with pytest.raises(ConfigError, match=r"did you mean 'judge\.mode'"):
        read(["judge.mod=official,semantic"])


def test_rows_carry_the_paired_difference_from_the_baseline(tmp_path: Path, command) -> None:
    command(TOKENS, VARIANTS)
    rows = table(tmp_path)
    assert [row["score"] for row in rows] == ["100.0", "40.0", "10.0"]
    assert [(row["difference"], row["gained"], row["lost"]) for row in rows] == [
        ("0.0", "0", "0"),
        ("-60.0", "0", "6"),
        ("-90.0", "0", "9"),
    ]
    assert [row["p_value"] for row in rows] == ["1.0", "0.0312", "0.00391"]  # 2 / 2**6 and 2 / 2**9
    assert [row["unmatched"] for row in rows] == ["0", "6", "9"]


def test_the_spread_of_an_axis_holds_all_other_axes_at_the_baseline(command) -> None:
    found = command(TOKENS, VARIANTS, "judge.mode=official,semantic", "grid=full")
    assert {axis: row["spread"] for axis, row in found.items()} == {
        "engine.settings.max_new_tokens": 60.0,
        "suite.variant": 90.0,
        "judge.mode": 0.0,
        "all points": 100.0,
    }
    assert found["engine.settings.max_new_tokens"]["lowest"] == "16: 40.0"
    assert (found["suite.variant"]["lowest"], found["suite.variant"]["highest"]) == ("direct: 10.0", "default: 100.0")


def test_items_that_either_side_left_unjudged_are_in_no_pair(tmp_path: Path, command) -> None:
    command("judge.mode=official,semantic", "engine.settings.max_new_tokens=16,52")
    by_point = {(row["judge.mode"], row["engine.settings.max_new_tokens"]): row for row in table(tmp_path)}
    semantic = by_point["semantic", "16"]
    assert (semantic["unjudged"], semantic["gained"], semantic["lost"], semantic["p_value"]) == ("3", "0", "0", "1.0")


def test_all_three_files_are_written_and_a_second_time_is_a_hit(tmp_path: Path, command, caplog) -> None:
    with caplog.at_level("INFO"):
        command(VARIANTS)
        command(VARIANTS, TOKENS)
    assert [r.message.split(",")[0] for r in caplog.records if "stages were run" in r.message] == [
        "2 stages were run",
        "1 stages were run",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "sensitivity.csv",
        "sensitivity.md",
        "spread.csv",
    ]
    text = " ".join((tmp_path / "out" / "sensitivity.md").read_text().split())
    assert "| MathVista | suite.variant | 2 | direct: 10.0 | default: 100.0 | 90.0 |" in text


def test_a_scoring_axis_generates_once_and_an_axis_of_answers_once_a_value() -> None:
    settings = points({"judge.mode": ("official", "semantic"), "engine.settings.max_new_tokens": ("4", "8")}, "full")
    calls = targets([compose.load([f"{key}={value}" for key, value in point.items()]) for point in settings])
    stages = [call.stage.name for call in ordered(calls)]
    assert (stages.count("score"), stages.count("generate"), stages.count("train")) == (4, 2, 1)


def test_an_axis_that_changes_the_items_is_refused() -> None:
    for axis in ("seed", "world.suite_items"):
        configs = [compose.load([f"{axis}={value}"]) for value in (1, 2)]
        with pytest.raises(ConfigError, match="scored on other items than the baseline"):
            targets(configs)


def test_the_range_over_one_benchmark_is_not_mixed_with_anothers() -> None:
    rows = [{"a": a, "benchmark": b, "score": s} for a, b, s in [("x", "M", 1.0), ("x", "N", 9.0), ("y", "M", 3.0)]]
    assert [(row["benchmark"], row["axis"], row["spread"]) for row in spread(rows, ["a"])] == [
        ("M", "a", 2.0),
        ("M", "all points", 2.0),
        ("N", "a", 0.0),
        ("N", "all points", 0.0),
    ]
