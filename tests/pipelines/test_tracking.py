"""A tracker that can't do its part costs no run: what it could not do is told, bounded in time, with its own status."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from pipelines import clean, session
from pipelines.errors import StoreError
from pipelines.schema import Wandb
from pipelines.store import Artifact, Store
from pipelines.tracking import Recorder
from pipelines.tracking.upload import Upload, why_not


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    store = Store(tmp_path / "store")
    manifest = {"stage": "toy", "fingerprint": "e" * 64, "label": "x", "seconds": 1.0, "values": {"loss": 0.5}}
    manifest |= {key: {} for key in ("params", "inputs", "git", "packages", "hardware")}
    with store.writing("toy", "e" * 64) as partial:
        return store.commit(
            partial, manifest | {key: {} for key in ("params", "inputs", "git", "packages", "hardware")}
        )


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
    tmp_path: Path, artifact: Artifact, closed: str, caplog: pytest.LogCaptureFixture
) -> None:
    began = time.monotonic()
    recorder = Recorder(Wandb(mode="online", project="drift"), tmp_path / "runs", "smoke")
    assert time.monotonic() - began < 10
    assert "tracker=online, and there is no key for 127.0.0.1" in recorder.trouble
    recorder(artifact)
    assert list((tmp_path / "runs" / "wandb").glob("offline-run-*"))
    assert "wandb sync" in caplog.text

    def main() -> int:
        session._recorders.append(recorder)
        return 0

    assert session.guarded(main) == session.DEGRADED


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


def test_what_was_sent_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.tracking.upload.guarded", lambda command: ["/bin/echo", *command[-2:]])
    upload = Upload(tmp_path / "sync.log")
    upload.add(tmp_path / "one")
    upload.add(tmp_path / "two")
    upload.finish()
    assert not upload.trouble
    assert (tmp_path / "sync.log").read_text().splitlines() == [f"sync {tmp_path / name}" for name in ("one", "two")]


def test_a_record_that_can_t_be_written_stops_nothing(
    tmp_path: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(Wandb(mode="offline", project="drift"), tmp_path / "runs", "smoke")

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recorder, "_record", full)
    recorder(artifact)
    assert "toy x was not recorded: [Errno 28] No space left" in recorder.trouble


def test_a_store_in_use_is_not_removed_and_it_is_said_by_whom(tmp_path: Path, artifact: Artifact) -> None:
    store = Store(tmp_path / "store")
    (store.root / ".tracker").mkdir()
    with store.holding("toy", "a" * 64), pytest.raises(StoreError, match=f"in use by process {os.getpid()} on"):
        clean.clean(store.root)
    assert artifact.path.exists()
    clean.clean(store.root)
    assert [path.name for path in store.root.iterdir()] == [".tracker"], "what was recorded stays"
    clean.clean(tmp_path / "nothing")


def test_a_command_uses_its_store_as_long_as_it_lives(tmp_path: Path) -> None:
    lease = session._use(tmp_path)
    with pytest.raises(StoreError, match="in use by process"):
        clean.clean(tmp_path)
    lease.release()
    clean.clean(tmp_path)
