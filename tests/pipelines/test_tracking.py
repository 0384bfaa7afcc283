"""A tracker that can't do its part costs no run: what it could not do is told, bounded in time, with its own status."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest
from recorded import World, kind, world

from pipelines import clean, compose, session
from pipelines.errors import StoreError
from pipelines.schema import NoTracker, Wandb
from pipelines.tracking import Recorder
from pipelines.tracking.upload import Upload, why_not

__all__ = ["world"]


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A server's address where nobody answers, and no key from the user's own files."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    return f"127.0.0.1:{port}"


def test_without_a_key_a_run_is_recorded_here_and_the_command_ends_with_its_own_status(
    world: World, closed: str, caplog: pytest.LogCaptureFixture
) -> None:
    began = time.monotonic()
    recorder = world.recorder("online")
    assert time.monotonic() - began < 10
    assert "tracker=online, and there is no key for 127.0.0.1" in recorder.trouble
    assert "recorded later by: make sync" in caplog.text

    def main() -> int:
        recorder(world.score("test"))
        session._recorders.append(recorder)
        return 0

    assert session.guarded(main) == session.DEGRADED
    assert [kind(path) for path in world.runs()] == ["evaluate"]


def test_a_server_that_is_away_is_found_before_the_work(closed: str) -> None:
    began = time.monotonic()
    assert (
        why_not({**os.environ, "WANDB_API_KEY": "k"}) == f"{closed} can't be reached ([Errno 111] Connection refused)"
    )
    assert time.monotonic() - began < 10


def test_a_login_in_netrc_is_a_key(closed: str, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password k\n")
    (tmp_path / "netrc").chmod(0o600)
    assert "can't be reached" in why_not(os.environ)


def test_a_server_that_stalls_is_waited_for_only_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pipelines.tracking.upload.guarded", lambda command: [sys.executable, "-c", "import time; time.sleep(60)"]
    )
    upload, began = Upload(tmp_path / "sync.log", seconds=1.0), time.monotonic()
    upload.add(tmp_path / "one")
    upload.add(tmp_path / "two")
    upload.finish()
    assert time.monotonic() - began < 10
    assert "within 1 s" in upload.trouble


def test_an_upload_that_fails_is_told_once_and_the_next_is_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pipelines.tracking.upload.guarded", lambda command: [sys.executable, "-c", "print('no'); exit(4)"]
    )
    upload = Upload(tmp_path / "sync.log")
    upload.add(tmp_path / "one")
    upload.add(tmp_path / "two")
    upload.finish()
    assert upload.trouble == f"wandb sync ended with status 4; it says why in {tmp_path / 'sync.log'}"
    assert (tmp_path / "sync.log").read_text() == "no\n"


def test_what_the_server_did_not_take_is_not_marked_as_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment, other = tmp_path / "offline-run-1-train-a", tmp_path / "offline-run-1-train-ab"
    for path in (segment, other):
        path.mkdir()
        (path / "x.wandb.synced").touch()
    said = "wandb: ERROR [drift/train-a] Fatal error while uploading data."
    monkeypatch.setattr("pipelines.tracking.upload.guarded", lambda command: ["/bin/echo", said])
    upload = Upload(tmp_path / "sync.log")
    upload.add(segment)
    upload.add(other)
    upload.finish()
    assert upload.trouble == f"the server did not take {segment.name}; {tmp_path / 'sync.log'} says why"
    assert not list(segment.iterdir())
    assert list(other.iterdir())


def test_what_was_sent_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.tracking.upload.guarded", lambda command: ["/bin/echo", *command[-2:]])
    upload = Upload(tmp_path / "sync.log")
    upload.add(tmp_path / "one")
    upload.add(tmp_path / "two")
    upload.finish()
    assert not upload.trouble
    assert (tmp_path / "sync.log").read_text().splitlines() == [f"sync {tmp_path / name}" for name in ("one", "two")]


def test_a_disabled_tracker_writes_nothing_and_starts_nothing(world: World) -> None:
    recorder = Recorder(NoTracker("disabled"), world.folder, world.store.root, world.folder, "smoke")
    recorder(world.score("test"))
    recorder.finish()
    assert not world.folder.exists()


def test_a_place_that_can_t_be_written_to_stops_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.folder.write_text("a file where the folder should be")
    recorder = world.recorder()
    recorder(world.score("test"))
    recorder.finish()
    assert "can't be written to" in recorder.trouble
    assert "recorded later by: drift track --backfill" in caplog.text


def test_a_recorder_that_dies_stops_nothing_and_is_told(world: World) -> None:
    recorder = world.recorder()
    recorder(world.score("test"))
    assert recorder._sidecar is not None
    recorder._sidecar.kill()
    recorder(world.training())
    recorder.finish()
    assert "the recorder ended with status -9" in recorder.trouble
    assert not list(world.folder.glob(".journal-*")), "the journal is not left behind"


def test_one_run_that_can_t_be_recorded_costs_no_other(world: World) -> None:
    recorder, broken = world.recorder(), world.score("validation")
    (broken.path / "scores.json").write_text("{")
    recorder(broken)
    recorder(world.training())
    recorder.finish()
    assert "was not recorded" in recorder.trouble
    assert "train" in [kind(path) for path in world.runs()]


def test_a_store_in_use_is_not_removed_and_it_is_said_by_whom(world: World) -> None:
    store, artifact = world.store, world.score("test")
    with store.holding("toy", "a" * 64), pytest.raises(StoreError, match=f"in use by process {os.getpid()} on"):
        clean.clean(store.root)
    assert artifact.path.exists()
    clean.clean(store.root)
    assert not list(store.root.iterdir())
    clean.clean(store.root / "nothing")


def test_recordings_lie_outside_of_what_is_cleaned() -> None:
    config = compose.load()
    assert isinstance(config.tracker, Wandb)
    assert not session.rooted(config.tracker.folder).is_relative_to(session.rooted(config.store))


def test_a_command_uses_its_store_as_long_as_it_lives(tmp_path: Path) -> None:
    lease = session._use(tmp_path)
    with pytest.raises(StoreError, match="in use by process"):
        clean.clean(tmp_path)
    lease.release()
    clean.clean(tmp_path)
