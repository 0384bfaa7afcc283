"""From a table's YAML to the report's files: what is planned, what is written, and where each number leads."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drift.files import write_jsonl
from evaluation.data.tsv import write_rows
from evaluation.judging.summary import Metric, Score
from pipelines import compose, tables
from pipelines.errors import ConfigError
from pipelines.fingerprint import canonical
from pipelines.report.committed import check_results
from pipelines.report.kinds import KINDS
from pipelines.scored import Scored, write_scores
from pipelines.stage import Call, Runtime
from pipelines.stages.report import report
from pipelines.store import Store

SCORES = """
title: "A toy table"
published: toy.csv
columns: [MathVista, Avg]
against: SFT
curves: [DRIFT]
answers: true
rows:
  - {label: "SFT", overrides: [method=sft], paper: {method: SFT}}
  - {label: "DRIFT", overrides: [method=drift, injection.alpha=auto], role: control}
  - {label: "Theirs", role: quoted, paper: {method: Theirs}}
"""
COST = 'title: "C"\nkind: cost\ncolumns: [steps, seconds]\nrows: [{label: "SFT", overrides: [method=sft]}]\n'
SETTINGS = (
    'title: "H"\nkind: hyperparameters\npublished: toy.csv\ncolumns: [hyperparameters]\n'
    'rows: [{label: "TIES", overrides: [method=ties], paper: {method: TIES}}]\n'
)
GEOMETRY = (
    'title: "G"\nkind: geometry\ncolumns: [relative_l2]\nrows: [{label: "pair", overrides: [pair=qwen2_5_vl_r1]}]\n'
)
DISTANCE = """
title: "D"
kind: distance
columns: [MathVista]
rows:
  - {label: "MLLM", overrides: [method=baseline]}
  - {label: "near", overrides: [method=task_arithmetic, pair.distance=near], against: MLLM, series: s}
  - {label: "far", overrides: [method=task_arithmetic, pair.distance=far], against: MLLM, series: s}
"""
TOYS = {"toy": SCORES, "toy_cost": COST, "toy_settings": SETTINGS, "toy_geometry": GEOMETRY, "toy_distance": DISTANCE}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
SCORED = Scored(
    Score("b", "1", "official", "accuracy", 10, 4, 0, 0, 0, 0, {"accuracy": Metric(40.0, 20.0, 60.0)}),
    {"transcription": 90.0, "closed": 70.0},
    0,
)
VALUES: dict[str, dict[str, Any]] = {
    "train": {"steps": 30, "examples": 60, "w_eff": 0.5, "covered": 4, "expected": 4},
    "geometry": {"n": 4},
    "merge": {"hyperparameters": {"density": 0.2}},
    "choose": {"chosen": -0.3, "validation": [{"value": v, "validation": s} for v, s in ((-0.1, 39.0), (-0.3, 41.0))]},
    "model": {},
    "score": {},
    "generate": {},
    "benchmarks": {},
}
ITEMS = 10
RIGHT = 4  # by the official rule; one of them by that alone, which reads what stands in the chain of thought


def said(k: int) -> str:
    """What a toy's model answers to its k-th item, whose gold answer is 1."""
    return "<think> \\boxed{1} </think>" if k == 0 else f"\\boxed{{{1 if k < RIGHT else 2}}}"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of conf/ with a YAML for each toy table, and the numbers that one of them stands beside."""
    root = tmp_path_factory.mktemp("house")
    shutil.copytree(compose.CONF, root / "conf")
    for name, text in TOYS.items():
        (root / "conf" / "table" / f"{name}.yaml").write_text(text)
    published = "method,MathVista,Avg,hyperparameters\nSFT,60.0,60.0,\nTheirs,61.5,61.5,\nTIES,,,k = 0.2\n"
    (root / "toy.csv").write_text(published)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compose, "CONF", root / "conf")
        patch.setattr(tables, "PUBLISHED", root)
        yield root


def artifact(call: Call, root: Path, place: int) -> Path:
    """A folder that holds what the report reads of the call's artifact; those of merges were made elsewhere."""
    path, stage = root / call.stage.name / call.key[:20], call.stage.name
    (path / "model").mkdir(parents=True, exist_ok=True)
    values = VALUES[stage] | ({"relative_l2": 0.1 + place / 10} if stage == "geometry" else {})
    manifest = {
        "stage": stage,
        "fingerprint": call.key,
        "label": call.label,
        "params": canonical(call.params, whole=True),
        "values": values,
        "files": {},
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 9.0,
        "cpu_seconds": 8.0,
        "git": {"sha": "b" if stage == "merge" else "a", "dirty": False},
        "packages": {"torch": "2"},
        "hardware": {"cpu": "x"},
        "code_behind": {"model": ["c0de"], stage: [f"c0de of {stage}"]},
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    if stage == "benchmarks":
        for name in call.params.names:
            question = f"{name} of {call.params.split} in world {call.params.world.seed}"
            rows = [
                {"index": str(k), "image": PIXEL, "question": f"{question}, {k}", "answer": "1"} for k in range(ITEMS)
            ]
            steps = ("1", "2", "multi")
            keys = [{"ID": f"g{k // 3}", "key": f"2steps_{steps[k % 3]}"} for k in range(ITEMS)]
            write_rows(path / f"{name}.tsv", [row | key for row, key in zip(rows, keys, strict=True)])
    if stage == "generate":
        for name in call.params.benchmarks:
            lines = ({"index": str(k), "response": said(k), "finish_reason": "stop", "tokens": 3} for k in range(ITEMS))
            write_jsonl(path / f"{name}.jsonl", lines)
    if stage == "choose":
        (path / "seen.json").write_text("[]")
    if stage == "score":
        write_scores(path, dict.fromkeys(call.params.benchmarks, SCORED))
        for name in call.params.benchmarks.values():
            read = {"rule": "boxed", "group": None}
            lines = ({"index": str(k), "correct": k < RIGHT, "extraction": "1", **read} for k in range(ITEMS))
            write_jsonl(path / f"{name}.verdicts.jsonl", lines)
    if stage == "geometry":
        row = {"l2": 1.0, "relative_l2": 0.1, "cosine": 0.9}
        panels = {"layers": [{"layer": 0, **row}], "ffn_norm": [{"bar": "ffn", **row}]}
        (path / "geometry.json").write_text(json.dumps(panels | {"attention": [{"bar": "q", **row}]}))
    if stage == "train":
        (path / "model" / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
        layers = [{"name": "q.weight", "layer": 0, "module": "q", "w_eff": 0.5}]
        (path / "model" / "injection.json").write_text(json.dumps({"layers": layers}))
    return path


@pytest.fixture(scope="module")
def made(house: Path) -> Path:
    """The report over every toy table, two seeds each."""
    specs = [tables.load(name) for name in TOYS]
    call = tables.report(specs, ["profile=smoke", "seeds=[0,1]"], online=False)
    inputs = {name: artifact(each, house, place) for place, (name, each) in enumerate(call.inputs.items())}
    (house / "out").mkdir()
    report(call.params, Runtime(house), inputs, house / "out")
    return house / "out"


def test_a_table_is_its_yaml_and_a_csv_of_published_numbers(made: Path) -> None:
    with (made / "tables" / "toy.csv").open() as stream:
        rows = list(csv.reader(stream))
    assert rows == [
        ["row", "MathVista", "Avg"],
        ["SFT", "40.0 ± 0.0 [60.0]", "40.0 ± 0.0 [60.0]"],
        ["DRIFT (control)", "40.0 ± 0.0", "40.0 ± 0.0"],
        ["Theirs", "[61.5]", "[61.5]"],
    ]


def test_each_kind_of_table_plans_prints_and_draws_what_it_is_made_of(made: Path) -> None:
    cells = json.loads((made / "provenance.json").read_text())["cells"]
    roles = {
        name: {role for row in rows.values() for cell in row.values() for role in cell} for name, rows in cells.items()
    }
    assert roles == {
        "toy": {"score", "items", "responses", "checkpoint", "choice"},
        "toy_cost": {"score", "items", "checkpoint"},
        "toy_settings": {"score", "items", "responses", "checkpoint"},
        "toy_geometry": {"geometry"},
        "toy_distance": {"geometry", "score", "items", "responses", "checkpoint"},
    }
    assert {path.stem for path in (made / "figures").glob("*.png")} == {
        "toy_loss", "toy_layers", "toy_geometry", "toy_distance", "toy_cost_accuracy", "differences",
    }  # fmt: skip
    page = (made / "report.md").read_text() + (made / "appendix.md").read_text()
    for shown in ("How the rows answered", "What distance costs", "density = 0.2", "-0.3 (mean score at -0.1: 39.0; "):
        assert shown in page
    assert "41.0); an end of what was tried: alpha" in page
    assert "chosen at an end of what was tried, so a better value may lie beyond: " in page


def test_a_report_writes_each_table_once_for_people_and_once_for_each_program(made: Path) -> None:
    found = {path.name for path in (made / "tables").iterdir()}
    ends = (".csv", "_long.csv", "_values.csv", "_differences.csv", ".tex")
    audited = {f"{name}_granularity.csv" for name in ("toy", "toy_settings")}  # beside numbers of the paper
    assert found == audited | {f"{name}{end}" for name in TOYS for end in ends}


def test_provenance_leads_from_a_cell_to_what_made_it_and_says_each_thing_once(made: Path) -> None:
    found = json.loads((made / "provenance.json").read_text())
    assert [environment["git"]["sha"] for environment in found["environments"]] == ["a", "b"]
    ties = found["artifacts"][found["cells"]["toy_settings"]["TIES"]["1"]["checkpoint"]]
    assert ties["label"].endswith("seed=1")
    assert found["environments"][ties["environment"]]["git"]["sha"] == "b"
    trained = found["cells"]["toy"]["SFT"]["0"]["checkpoint"]
    assert trained == found["cells"]["toy_cost"]["SFT"]["0"]["checkpoint"]
    assert trained == f"train/{found['artifacts'][trained]['fingerprint'][:20]}"


def test_the_results_say_which_code_made_them(made: Path) -> None:
    code = json.loads((made / "provenance.json").read_text())["code"]
    assert (code["model"], code["merge"]) == (["c0de", "c0de of model"], ["c0de of merge"])
    last = (made / "appendix.md").read_text().splitlines()[-1]
    assert last.startswith("Made by commits a, b; the digests of the code that each stage reached (")


def test_every_number_follows_from_its_provenance_also_in_the_committed_results(made: Path, tmp_path: Path) -> None:
    for folder in (made, compose.ROOT / "results" / "lab"):
        said, faults = check_results(folder, Store(tmp_path))
        assert not said.startswith("0 numbers")
        assert not faults


def test_an_unknown_kind_answers_with_the_closest(house: Path) -> None:
    (house / "conf" / "table" / "wrong.yaml").write_text(COST.replace("kind: cost", "kind: costs"))
    with pytest.raises(ConfigError, match=r"wrong\.yaml: unknown kind of table 'costs': did you mean 'cost'"):
        tables.load("wrong")


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("pipelines.reproduce, pipelines.run, pipelines.report.kinds", "torch transformers pandas matplotlib"),
        ("pipelines.stages.report, pipelines.report.publish, pipelines.layout", "torch transformers"),
    ],
)
def test_planning_and_reporting_load_nothing_that_they_do_not_use(modules: str, absent: str) -> None:
    code = f"import sys, {modules}; sys.exit(' '.join(set(sys.modules) & set({absent.split()!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_every_kind_names_roles_that_can_be_planned() -> None:
    assert {role for kind in KINDS.values() for role in kind.roles} <= set(tables._PLANNED)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": [{"label": "SFT"}, {"label": "SFT"}]}, "two rows are called 'SFT'"),
        ({"against": "SFTT"}, "no row is called 'SFTT': did you mean 'SFT'"),
        ({"curves": ["DRIFT"]}, "no row is called 'DRIFT'"),
    ],
)
def test_a_table_s_labels_name_one_row_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    spec = {"title": "T", "columns": ["MathVista"], "rows": [{"label": "SFT", "overrides": ["method=sft"]}]} | change
    monkeypatch.setattr(compose, "CONF", tmp_path)
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "toy.yaml").write_text(json.dumps(spec))
    with pytest.raises(ConfigError, match=message):
        tables.load("toy")
