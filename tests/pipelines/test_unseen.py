"""No chosen value has seen a reported item: from the items themselves, for every table of every profile."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.benchmarks import Benchmark, get_benchmark
from evaluation.data.splits import SplitError, contents
from evaluation.data.tsv import encode_image, load_items, write_rows
from pipelines import compose, tables
from pipelines.errors import ConfigError
from pipelines.report.numbers import Evidence
from pipelines.report.sources import Source
from pipelines.report.spec import Cell, Row, Table
from pipelines.report.unseen import refuse_seen_rows
from pipelines.stage import Call, Runtime
from pipelines.stages import BenchmarksParams, ChooseParams, benchmarks
from pipelines.stages.evaluate import choose

PROFILES = sorted(path.stem for path in (compose.CONF / "profile").glob("*.yaml"))
ROWS = 60


def published(name: str, folder: Path) -> Path:
    """A table of the benchmark's form: two items a picture, as We-Math's and LogicVista's have."""
    benchmark, rows = get_benchmark(name), []
    for k in range(ROWS):
        noise, stream = (
            np.random.default_rng([len(name), k // 2]).integers(0, 255, (16, 16), dtype=np.uint8),
            io.BytesIO(),
        )
        Image.fromarray(noise).save(stream, "PNG")
        index = f"VD_figure_{k}_0_1_0" if name == "HallusionBench" else str(k)
        own = {"index": index, "image": encode_image(stream.getvalue()), "question": f"{name} {k}", "answer": "A"}
        kind = {"question_type": "multi_choice", "answer_type": "text"}
        group = {"ID": f"g{k // 4}", "key": f"3steps_{'multi' if k % 4 == 3 else k % 4 + 1}"}
        rows.append(own | {"A": "x", "B": "y", "l2-category": "figure"} | kind | group)
    write_rows(folder / benchmark.tsv, rows)
    return folder / benchmark.tsv


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where tables are made, with stand-ins for the downloads and for the folder of kept splits."""
    root = tmp_path_factory.mktemp("tables")

    def find(benchmark: Benchmark, cache: Path) -> Path:
        path = root / "site" / benchmark.tsv
        return path if path.exists() else published(benchmark.name, root / "site")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evaluation.data.download.find_table", find)
        patch.setattr(benchmarks, "LOCKS", root / "splits")
        yield root


def held(call: Call, root: Path) -> set[str]:
    """The contents of the tables that a call makes; a world's eight are drawn once."""
    params: BenchmarksParams = call.params
    folder = root / (call.key if params.world is None else f"{params.world.name}-{params.world.seed}-{params.split}")
    if not folder.exists():
        folder.mkdir()
        benchmarks.make_benchmarks(params, Runtime(root), {}, folder)
    rows = [get_benchmark(name) for name in params.names]
    return {mark for row in rows for mark in contents(load_items(folder / row.tsv, row))}


class Planned:
    """What stands above a call, each call looked at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._choices: dict[str, dict[str, Call]] = {}
        self._held: dict[str, set[str]] = {}

    def choices(self, call: Call) -> dict[str, Call]:
        """The choices that it depends on, through inputs and bound values alike."""
        if call.key not in self._choices:
            above = {key: choice for source in call.sources for key, choice in self.choices(source).items()}
            self._choices[call.key] = above | ({call.key: call} if call.stage.name == "choose" else {})
        return self._choices[call.key]

    def held(self, tables: Call) -> set[str]:
        """The contents of its tables."""
        if tables.key not in self._held:
            self._held[tables.key] = held(tables, self.root)
        return self._held[tables.key]

    def seen(self, choice: Call) -> set[str]:
        """The contents of what the tried values were scored on."""
        tried = (call for call in choice.inputs.values() if call.stage.name == "score")
        return {mark for score in tried for mark in self.held(score.inputs["benchmarks"])}


@pytest.mark.parametrize("profile", [pytest.param(p, marks=[pytest.mark.slow] * (p == "smoke")) for p in PROFILES])
def test_no_chosen_value_has_seen_a_reported_item(made: Path, profile: str) -> None:
    named = compose.load([f"profile={profile}"]).tables
    specs = [tables.load(name) for name in named] or [
        t for t in tables.standard() if profile in (t.profiles or [profile])
    ]
    report, planned = tables.report(specs, [f"profile={profile}"], online=False), Planned(made)
    scores = {name: call for name, call in report.inputs.items() if name.startswith("score-")}
    assert scores
    for score in scores.values():
        for choice in planned.choices(score).values():
            assert planned.seen(choice)
            assert not planned.seen(choice) & planned.held(score.inputs["benchmarks"]), (score.label, choice.label)
    for cell in report.params.cells:  # the report asks the same of the tables that it was handed
        if "score" in cell.artifacts:
            asked = report.inputs[cell.artifacts["score"]].inputs["benchmarks"]
            assert asked.key == report.inputs[cell.artifacts["items"]].key


def test_published_tables_are_parted_once_and_for_all(made: Path) -> None:
    def table(split: str) -> set[str]:
        params = BenchmarksParams("hub", ("LogicVista",), split, None, "", "")
        (out := made / f"parted-{split}").mkdir()
        benchmarks.make_benchmarks(params, Runtime(made), {}, out)
        return {item.index for item in load_items(out / "LogicVista.tsv", get_benchmark("LogicVista"))}

    validation, test = table("validation"), table("test")
    assert validation | test == table("all")
    assert not validation & test
    assert all(
        {str(2 * k), str(2 * k + 1)} <= side or not {str(2 * k), str(2 * k + 1)} & side
        for k in range(30)
        for side in (test,)
    )
    lock = json.loads((made / "splits" / "LogicVista.json").read_text())
    assert set(lock["test"].replace(",", " ").split()) == test
    questions = json.loads((made / "parted-test" / "questions.json").read_text())
    assert ["0", "1"] in questions["LogicVista"]


def test_a_choice_whose_test_tables_hold_its_validation_tables_is_refused(made: Path, tmp_path: Path) -> None:
    published("LogicVista", tmp_path)
    inputs = {"seen:0": tmp_path, "reported:0": tmp_path}
    with pytest.raises(SplitError, match="60 of 60 items that the test split reports on were seen by the choice"):
        choose(ChooseParams((1.0,), ("LogicVista",)), Runtime(tmp_path), inputs, tmp_path)


def test_a_report_refuses_a_row_whose_choice_has_seen_its_items(tmp_path: Path) -> None:
    published("LogicVista", tmp_path)
    seen = contents(load_items(tmp_path / "LogicVista.tsv", get_benchmark("LogicVista")))
    (tmp_path / "seen.json").write_text(json.dumps(sorted(seen)[:3]))
    items = Source(tmp_path, {"fingerprint": "i", "params": {"names": ["LogicVista"], "world": None}}, {})
    choice = Source(tmp_path, {"fingerprint": "c", "label": "alpha"}, {})
    table = Table("t", "T", ("LogicVista",), (Row("DRIFT", ("method=drift",)),))
    cells = [Cell("t", "DRIFT", 0, {"score": "s", "items": "i", "choice": "c"})]
    with pytest.raises(
        SplitError, match="3 of 60 items that t, row 'DRIFT', seed 0, reports on were seen by the choice of alpha"
    ):
        refuse_seen_rows([Evidence(table, cells, {"i": items, "c": choice})])


def test_all_items_and_a_value_chosen_on_some_of_them_are_refused_before_anything_runs() -> None:
    from pipelines import plan

    config = compose.load(["profile=paper", "method=ties", "merge.coefficient=auto", "suite.split=all"])
    with pytest.raises(ConfigError, match=r"suite\.split=all holds what `auto` chooses on .*say suite\.split=test"):
        plan.score(config)
    with pytest.raises(ConfigError, match="a lab world draws the items to choose on and to report on apart"):
        plan.score(compose.load(["method=baseline", "suite.split=all"]))


def test_a_published_suite_is_answered_once_and_reported_on_twice() -> None:
    from pipelines import plan

    config = compose.load(["profile=paper", "method=baseline"])
    test, whole = plan.score(config), plan.score_of_all(config)
    assert whole is not None
    assert test.inputs["responses"].key == whole.inputs["responses"].key
    assert [call.inputs["benchmarks"].params.split for call in (test, whole)] == ["test", "all"]


def test_what_a_judge_decides_is_also_scored_by_rules_and_nothing_else_is_made_for_it() -> None:
    from pipelines import plan

    config = compose.load(["profile=paper", "method=ties", "merge.coefficient=auto", "judge=openai"])
    judged, by_rules = plan.score(config), plan.score_by_rules(config)
    assert by_rules is not None
    assert by_rules.inputs["responses"].key == judged.inputs["responses"].key
    assert (judged.params.judge.name, by_rules.params.judge.name) == ("openai", "rules")
    assert set(judged.inputs) - set(by_rules.inputs) == {"judged"}
    assert by_rules.params.judge.mode == judged.params.judge.mode
    assert plan.score_by_rules(compose.load(["profile=paper", "method=ties", "judge=rules"])) is None
