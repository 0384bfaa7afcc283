"""An untouched MLLM is set beside its published scores before anything is built on it; the order of a paper's plan."""

from pathlib import Path

import pytest

from evaluation.judging.summary import Metric, Score
from pipelines import compose, plan, tables
from pipelines.errors import ConfigError, StageError
from pipelines.order import ranks
from pipelines.resources import origin
from pipelines.scored import Scored, write_scores
from pipelines.stage import Call, Runtime, ordered
from pipelines.stages import GateParams
from pipelines.stages.gate import check_baseline

PUBLISHED = {"MathVista": (67.9,), "WeMath_strict": (34.3, 9.0)}


def scores(folder: Path, vista: float, strict: float, n: int = 1000) -> dict[str, Path]:
    def score(headline: str, value: float) -> Scored:
        metrics = {"accuracy": Metric(value), headline: Metric(value)}
        return Scored(Score("B", "1", "official", headline, n, 0, 0, 0, 0, 0, metrics), {}, 0)

    folder.mkdir(exist_ok=True)
    write_scores(folder, {"MathVista": score("accuracy", vista), "WeMath": score("strict", strict)})
    return {"scores": folder}


def check(folder: Path, vista: float, strict: float, n: int = 1000, mode: str = "stop") -> dict:
    params = GateParams(PUBLISHED, 3.0, mode)
    return check_baseline(params, Runtime(folder), scores(folder / "in", vista, strict, n), folder)


def test_a_baseline_inside_the_band_passes_beside_the_closest_published_value(tmp_path: Path) -> None:
    values = check(tmp_path, 65.1, 9.9)
    assert values["inside"]
    assert values["columns"]["WeMath_strict"]["published"] == 9.0
    assert values["columns"]["MathVista"]["allowed"] == 3.0


def test_few_items_widen_the_band_to_their_own_interval(tmp_path: Path) -> None:
    """1.96 * sqrt(.679 * .321 / 100) is 9.15 points."""
    assert check(tmp_path, 59.0, 34.3, n=100)["inside"]
    with pytest.raises(StageError, match=r"MathVista 58\.0 on 100 items, published 67\.9, allowed \+-9\.2"):
        check(tmp_path, 58.0, 34.3, n=100)


def test_outside_it_stops_or_writes_it_down(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"MathVista 60\.0 .* Nothing is trained or merged on it .*gate\.mode=warn"):
        check(tmp_path, 60.0, 34.3)
    assert not check(tmp_path, 60.0, 34.3, mode="warn")["inside"]


def gates_of(call: Call) -> list[Call]:
    return [each for each in ordered([call]) if each.stage.name == "gate"]


def test_every_training_and_merge_of_a_papers_table_waits_for_its_own_mllm() -> None:
    target = tables.report([tables.load("table5")], ["profile=paper"], online=False)
    calls = ordered([target])
    built = [call for call in calls if call.stage.name in ("train", "merge")]
    assert built
    for call in built:
        (gate,) = call.after
        assert gate.params.published["MathVision"] in ((25.0,), (13.8, 14.27))
        baseline = gate.inputs["scores"].inputs["responses"].inputs["model"]
        assert baseline.params.repo == origin(call).params.repo
    assert {name for name in target.inputs if name.startswith("gate-")} == {
        f"gate-{g.key[:12]}" for g in gates_of(target)
    }


def test_a_gate_is_no_part_of_what_is_built_behind_it_and_a_lab_has_none() -> None:
    words = ["profile=paper", "method=sft", "gate.published.MathVista=[67.9]"]
    behind, free = plan.train(compose.load(words)), plan.train(compose.load([*words, "gate.mode=none"]))
    assert behind.after
    assert not free.after
    assert behind.key == free.key
    assert not gates_of(tables.report([tables.load("table5")], [], online=False))
    with pytest.raises(ConfigError, match="gate"):
        compose.load(["gate.mode=off"])


def test_the_papers_order_is_downloads_then_baselines_then_one_sft_and_one_drift() -> None:
    calls = ordered([tables.report([tables.load(n) for n in ("table1", "table2")], ["profile=paper"], online=False)])
    order = sorted(calls, key=lambda call: ranks(calls, lambda each: each.needs.seconds)[call.key])
    names = [call.stage.name for call in order]
    downloads = max(place for place, name in enumerate(names) if name in ("model", "data", "benchmarks"))
    assert set(names[: downloads + 1]) == {"model", "data", "benchmarks"}
    gates = [place for place, name in enumerate(names) if name == "gate"]
    assert len(gates) == 5  # four MLLMs, Qwen2.5-VL on both suites
    first_built = min(place for place, name in enumerate(names) if name in ("train", "merge", "prior"))
    assert max(gates) < first_built
    first = [call for call in order if call.stage.name in ("train", "merge")][:2]
    assert {call.params.injection.scale for call in first} == {"none", "adaptive"}


def test_a_labs_order_is_the_longest_way_first() -> None:
    calls = ordered([plan.score(compose.load(["method=drift", "injection.alpha=-0.3"]))])
    found = ranks(calls, lambda each: each.needs.seconds)
    assert {turn for turn, _ in found.values()} == {3}
    assert min(calls, key=lambda call: found[call.key]).label.endswith("base seed=0")
