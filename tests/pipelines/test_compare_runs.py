"""Two selections of runs are compared run by run and question by question, as the tables compare theirs."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import load_items, write_rows
from evaluation.judging.scoring import summarise
from evaluation.judging.verdicts import Verdict
from evaluation.statistics import crossed, paired_over_seeds
from pipelines.catalogue.compare import _plainest, main
from pipelines.catalogue.runs import Run
from pipelines.scored import Scored, write_scores
from pipelines.store import Store

BENCHMARK = "LabMathVista"
RIGHT = {  # method -> seed -> the items that it answers
    "ties": {0: "110100", 1: "110000", 2: "111100"},
    "slerp": {0: "111101", 1: "111000", 2: "111111"},
}


def commit(store: Store, stage: str, mark: str, inputs: Mapping[str, str], **more: object) -> Path:
    with store.writing(stage, mark) as partial:
        if stage == "benchmarks":
            rows = [{"index": str(n), "question": "How many?", "answer": "1"} for n in range(6)]
            write_rows(partial / get_benchmark(BENCHMARK).tsv, rows)
        if stage == "score":
            _score(partial, store.path("benchmarks", inputs["benchmarks"]), str(more.pop("right")))
        manifest = {
            "stage": stage, "version": 1, "fingerprint": mark, "label": mark[:4], "params": {}, "inputs": dict(inputs),
            "values": {}, "started": "2026-01-01", "seconds": 1.0, "git": {"sha": "0", "dirty": False}, **more,
        }  # fmt: skip
        return store.commit(partial, manifest).path


def _score(folder: Path, tables: Path, right: str) -> None:
    benchmark = get_benchmark(BENCHMARK)
    items = load_items(tables / benchmark.tsv, benchmark, with_images=False)
    verdicts = [Verdict(item.index, bit == "1", "1", "boxed") for item, bit in zip(items, right, strict=True)]
    lines = (json.dumps({**vars(v), "rule": v.rule}) for v in verdicts)
    (folder / f"{BENCHMARK}.verdicts.jsonl").write_text("".join(f"{line}\n" for line in lines))
    write_scores(folder, {"MathVista": Scored(summarise(benchmark, items, verdicts), {}, 0)})


def fill(root: Path, is_world: bool) -> Path:
    """Both merges in three seeds: in worlds of their own, or on the same items."""
    store, place = Store(root), 0
    for seed in range(3):
        tables = f"{seed if is_world else 0:020d}".ljust(64, "0")
        if store.find("benchmarks", tables) is None:
            commit(store, "benchmarks", tables, {}, params={"world": {"seed": seed} if is_world else None})
        for method, rights in RIGHT.items():
            place += 1
            config = {"method": method, "seed": seed, "suite.split": "test"}
            commit(
                store, "score", f"{place:020x}".ljust(64, "0"), {"benchmarks": tables}, right=rights[seed],
                params={"benchmarks": {"MathVista": BENCHMARK}, "judge": {"name": "rules"}},
                values={"scores": {"MathVista": 100 * rights[seed].count("1") / 6}},
                run={"name": method + (f" seed={seed}" if seed else ""), "command": "drift run", "config": config},
            )  # fmt: skip
    return root


@pytest.fixture
def compared(capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str]]:
    def call(*words: str) -> tuple[int, str]:
        status = main(list(words))
        printed = capsys.readouterr()
        return status, printed.out or printed.err

    return call


def shares(method: str) -> list[float]:
    return [right.count("1") / 6 for right in RIGHT[method].values()]


def row(folder: Path) -> dict[str, str]:
    with (folder / "compare.csv").open() as stream:
        (found,) = csv.DictReader(stream)
    return found


def test_worlds_are_compared_world_by_world(
    tmp_path: Path, compared: Callable[..., tuple[int, str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store = fill(tmp_path / "store", is_world=True)
    status, said = compared("method=ties", "vs", "method=slerp", f"out={tmp_path / 'out'}", f"store={store}")
    assert status == 0, said
    assert said.startswith("first:  ties, seeds 0, 1, 2\nsecond: slerp, seeds 0, 1, 2\n")
    expected, found = paired_over_seeds(shares("ties"), shares("slerp")), row(tmp_path / "out")
    assert (found["over"], found["pairs"]) == ("worlds", "3")
    for key, value in {"difference": expected.mean, "low": expected.low, "high": expected.high}.items():
        assert float(found[key]) == pytest.approx(100 * value)
    assert float(found["p"]) == pytest.approx(expected.p_value)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "compare.csv", "compare.md", "forest.csv", "forest.pdf", "forest.png", "forest.svg"
    }  # fmt: skip
    assert "glyph" not in caplog.text, "fontTools tells of each that it leaves out"


def test_of_several_runs_of_a_seed_the_one_of_the_plainest_name_is_compared() -> None:
    def run(name: str, seed: int) -> Run:
        return cast(Run, SimpleNamespace(name=name, settings={"seed": seed}))

    plain = [run("sft", 0), run("sft seed=1", 1)]
    assert _plainest([run("sft epochs=8", 0), *plain, run("sft epochs=8 seed=1", 1)]) == plain
    two = [run("sft epochs=8", 0), run("sft suite=lab_perception", 0)]
    assert _plainest(two) == two


def test_runs_on_the_same_items_are_compared_over_runs_and_questions(
    tmp_path: Path, compared: Callable[..., tuple[int, str]]
) -> None:
    store = fill(tmp_path / "store", is_world=False)
    assert compared("method=ties", "vs", "method=slerp", f"out={tmp_path / 'out'}", f"store={store}")[0] == 0
    bits = {
        method: np.array([[int(bit) for bit in right] for right in seeds.values()]) for method, seeds in RIGHT.items()
    }
    expected, found = crossed([(bits["slerp"] - bits["ties"]) / 6]), row(tmp_path / "out")
    assert (found["over"], found["n"]) == ("runs", "6")
    assert float(found["low"]) == pytest.approx(100 * expected.low)


def test_one_pair_is_compared_over_its_questions_alone(
    tmp_path: Path, compared: Callable[..., tuple[int, str]]
) -> None:
    store = fill(tmp_path / "store", is_world=True)
    status, said = compared("method=ties", "vs", "method=slerp", "both", "seed=1", f"store={store}")
    assert status == 0, said
    assert "questions" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method=ties", "vs", "method=dare"], "no run fits method=dare"),
        (["seed=0", "vs", "method=ties"], "2 runs fit seed=0; they differ in method: say which"),
        (["method=ties", "seed=0", "vs", "method=slerp", "seed=1"], "the sides share no seed"),
        (["method=ties", "vs", "method=ties"], "both sides are the same runs"),
    ],
)  # fmt: skip
def test_what_can_not_be_compared_is_refused(
    tmp_path: Path, compared: Callable[..., tuple[int, str]], words: list[str], said: str
) -> None:
    store = fill(tmp_path / "store", is_world=True)
    assert compared(*words, f"store={store}")[0] == 2
    assert said in compared(*words, f"store={store}")[1]


def test_verdict_files_are_compared_as_before(compared: Callable[..., tuple[int, str]]) -> None:
    assert compared("/nowhere/a.jsonl", "/nowhere/b.jsonl") == (
        2,
        "error: /nowhere/a.jsonl: no such file; expected verdicts, one JSON object a line\n",
    )
