"""The timeline shows what ran where, from manifests alone."""

from pathlib import Path

import pandas
import pytest

from pipelines import timeline
from pipelines.errors import DamageError, StoreError
from pipelines.store import Artifact, Store
from pipelines.timeline import Span


def span(begin: float, end: float, *gpus: str, host: str = "a") -> Span:
    return Span("toy", "x", begin, end, host, gpus)


def test_a_gpu_is_a_row_and_the_cpu_has_as_many_as_ran_side_by_side() -> None:
    lanes = timeline.rows([span(0, 4), span(1, 2), span(1, 3, "0", "1"), span(3, 5), span(3, 4, "1"), span(5, 6)])
    assert {name: [(s.begin, s.end) for s in lane] for name, lane in lanes.items()} == {
        ("a", "GPU 0"): [(1, 3)],
        ("a", "GPU 1"): [(1, 3), (3, 4)],
        ("a", "CPU 00"): [(0, 4), (5, 6)],
        ("a", "CPU 01"): [(1, 2), (3, 5)],
    }
    assert timeline.busy(lanes)["a", "GPU 1"] == pytest.approx(0.5)


def test_the_same_gpu_of_two_hosts_is_two_rows() -> None:
    assert len(timeline.rows([span(0, 1, "0"), span(0, 1, "0", host="b")])) == 2


def test_only_the_last_run_is_drawn() -> None:
    found = [span(0, 10), span(5, 6), span(4000, 4001), span(4002, 4003)]
    assert [s.begin for s in timeline.last_run(found)] == [4000, 4002]
    assert timeline.last_run(found[:2]) == found[:2]


def made(store: Store, second: str) -> Artifact:
    mark = second * 32
    manifest = {"stage": "toy", "fingerprint": mark, "values": {}, "label": "x", "seconds": 1.5}
    manifest |= {"started": f"2026-01-01T00:00:{second}.500+00:00", "place": {"host": "a", "gpus": "0"}}
    with store.writing("toy", mark) as partial:
        return store.commit(partial, manifest)


def test_the_figure_comes_from_manifests_and_has_its_data_beside_it(tmp_path: Path) -> None:
    for second in ("00", "02"):
        made(Store(tmp_path / "store"), second)
    timeline.draw(timeline.rows(timeline.spans(Store(tmp_path / "store").manifests())), tmp_path / "out" / "timeline")
    data = pandas.read_csv(tmp_path / "out" / "timeline.csv")
    assert data[["row", "begin", "end"]].values.tolist() == [["GPU 0", 0.0, 1.5], ["GPU 0", 2.0, 3.5]]
    assert (tmp_path / "out" / "timeline.png").stat().st_size > 1000


def test_a_reproduction_draws_what_its_plan_is_made_of_each_artifact_once(tmp_path: Path) -> None:
    artifacts = [made(Store(tmp_path), "00"), made(Store(tmp_path), "02")]
    timeline.of_run([*artifacts, artifacts[0]], tmp_path / "results" / timeline.STEM)
    assert pandas.read_csv(tmp_path / "results" / "timeline.csv")["begin"].tolist() == [0.0, 2.0]


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    artifact = made(Store(tmp_path), "00")
    (artifact.path / "manifest.json").write_text("null")
    with pytest.raises(DamageError, match=r"toy/0{20}/manifest\.json is damaged"):
        timeline.spans(Store(tmp_path).manifests())


def test_an_empty_store_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no artifacts"):
        timeline.main([f"store={tmp_path}", f"results={tmp_path}"])
