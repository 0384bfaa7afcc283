"""`drift track`: what is sent goes on where it stopped, what the store holds is made up for, dashboards are code."""

import json
import os
import re
from pathlib import Path

import pytest
from recorded import World, kind, world
from wandb_stand_in import Server, standing_in

from pipelines import track
from pipelines.errors import ConfigError
from pipelines.session import DEGRADED
from pipelines.store import Store
from pipelines.tracking import dashboards

__all__ = ["world"]


def words(world: World, *more: str) -> list[str]:
    return [f"tracker.folder={world.folder}", f"store={world.store.root}", f"results={world.folder.parent}/x", *more]


def reach(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)


def test_an_upload_that_was_cut_off_goes_on_with_what_is_left_and_sends_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = world.recorder()
    recorder(world.training())
    recorder(world.score("test"))
    recorder.finish()
    with standing_in(fails_after=1) as server:
        reach(server, monkeypatch)
        assert track.track(words(world, "--sync")) == DEGRADED
    assert len(track.unsent(world.folder)) == 1
    with standing_in() as server:
        reach(server, monkeypatch)
        assert track.track(words(world, "--sync")) == 0
        assert track.track(words(world, "--sync")) == 0
    assert (server.uploads(), len(server.runs)) == (1, 1)


def test_without_a_key_nothing_is_tried(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"there is no key for 127\.0\.0\.1: set WANDB_API_KEY"):
        track.track(words(world, "--sync"))


def test_what_is_asked_is_one_thing_that_there_is(world: World) -> None:
    with pytest.raises(ConfigError, match=r"--backfil is asked: .*--backfill"):
        track.track(words(world, "--backfil"))
    with pytest.raises(ConfigError, match="nothing is asked"):
        track.track(words(world))
    with pytest.raises(ConfigError, match="tracker=disabled records nothing"):
        track.track(["--sync", "tracker=disabled"])
    with pytest.raises(ConfigError, match="holds no training"):
        track.track(words(world, "--watch"))


def test_the_training_that_was_begun_last_is_watched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("20260101_000000-train-a", "20260102_000000-train-b", "20260103_000000-evaluate-c"):
        (world.folder / "wandb" / f"offline-run-{name}").mkdir(parents=True)
    asked: list[str] = []
    monkeypatch.setattr(track, "_wandb", lambda folder, *words: asked.extend(words) or 0)
    assert track.track(words(world, "--watch")) == 0
    assert asked == ["leet", str(world.folder / "wandb" / "offline-run-20260102_000000-train-b")]


def test_what_a_store_holds_of_a_plan_is_found_in_it_and_recorded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = [world.training(), world.score("test")]
    monkeypatch.setattr(track, "held", lambda calls, store: dict(enumerate(artifacts)))
    monkeypatch.setattr(track.tables, "as_asked", lambda *_, **__: (None, ""))
    monkeypatch.setattr(track, "ordered", lambda _: [])
    assert track.track(words(world, "--backfill")) == 0
    assert [kind(path) for path in world.runs()] == ["evaluate", "train"]


def test_a_plan_s_calls_that_the_store_does_not_hold_are_left_out(tmp_path: Path) -> None:
    from toy_stages import toy

    first = toy(1.0)
    store = Store(tmp_path)
    mark = first.key
    with store.writing("toy", mark) as partial:
        made = store.commit(partial, {"stage": "toy", "fingerprint": mark, "label": "", "values": {}, "seconds": 0.0})
    second = toy(2.0, first)
    assert track.held([first, second, toy(3.0, second)], store) == {first.key: made}


def test_the_dashboards_are_the_same_code_each_time_and_are_written_without_a_server(world: World) -> None:
    assert track.track(words(world, "--dashboards")) == 0
    folder = world.folder.parent / "dashboards"
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(first) == ["evaluations.json", "report.json", "trainings.json"]
    track.track(words(world, "--dashboards"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


@pytest.mark.slow
def test_every_panel_shows_something_that_is_recorded(world: World) -> None:
    recorder = world.recorder()
    recorder(world.training())
    recorder(world.score("test"))
    recorder.finish()
    from pipelines.tracking.read import history

    recorded = {key for run in world.runs() for row in history(run) for key in row}
    spec = json.dumps(dashboards.specs("drift"))
    named = set(re.findall(r"train/\w+|official/test/average|checkpoint/w_eff|items/official/test", spec))
    not_here = {"train/learning_rate", "train/injected_share"}  # of a real training alone
    assert {name for name in named - not_here if not any(key.startswith(name) for key in recorded)} == set()


def test_saved_views_are_saved_over_and_not_beside(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with standing_in() as server:
        reach(server, monkeypatch)
        monkeypatch.setattr(
            dashboards, "_save_report", lambda entity, project, place: f"{server.url}/e/drift/reports/x"
        )
        for _ in range(2):
            places = dashboards.apply("e", "drift", world.folder)
    assert len(server.views) == 2
    assert [name for name, _ in server.calls].count("UpsertView2") == 4
    assert os.environ["WANDB_BASE_URL"] in places["e/drift/Trainings"]
