"""What other code made is named and made again, what comes out the same costs nothing more, and trust is recorded."""

import json
import logging
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy_stages import toy

from pipelines import held
from pipelines.code.reach import Reached
from pipelines.executors.local import Local
from pipelines.job import Job, read, write
from pipelines.outcome import Outcome
from pipelines.overrides import spelled
from pipelines.scheduler import Scheduler
from pipelines.stage import Call, Runtime, ordered
from pipelines.staleness import CODE, MIXED, Freshness, Wanted, code_of
from pipelines.store import MANIFEST, Artifact, Store


@dataclass
class Source:
    """The toy's source: one definition, of this text."""

    text: str = "first"
    mark: str = ""
    names: frozenset[str] = frozenset()

    def digest(self, run: str, words: Set[str]) -> str:
        return f"{self.text} of {run}"

    def reached(self, run: str, words: Set[str]) -> Reached:
        return Reached({"toy_stages:run": self.text, "toy_stages:needs": "as ever"})


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def execute(tmp_path: Path, source: Source, caplog: pytest.LogCaptureFixture) -> Callable[..., Outcome]:
    def run(*targets: Call, **policy: object) -> Outcome:
        caplog.clear()
        caplog.set_level(logging.INFO)
        fresh = Freshness(Store(tmp_path), code=source, **policy)  # type: ignore[arg-type]
        runtime = Runtime(tmp_path)
        return Scheduler(runtime, Local(runtime, 2), lambda _: None, fresh=fresh).execute(list(targets))

    return run


def count(tmp_path: Path) -> int:
    return len((tmp_path / "runs.log").read_text().split())


def test_what_other_code_made_is_named_and_made_again_and_what_follows_stays_where_it_comes_out_the_same(
    tmp_path: Path, source: Source, execute: Callable[..., Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    target = toy(2, toy(1))
    made = execute(target)
    assert made[target].manifest[CODE] == "first of toy_stages:run"
    source.text = "second"
    again = execute(target)
    assert again.executed == 2
    assert "code changed since: 1 artifacts: toy 1 (toy_stages:run); they are made again" in caplog.text
    assert again[target].manifest["remade"] == {"same": True, "differing": []}
    assert again[target].manifest[CODE] == "second of toy_stages:run"
    assert again[target].content == made[target].content
    assert not (tmp_path / ".quarantine").exists()
    assert execute(target).executed == 0


def test_only_what_reaches_the_change_is_made_again_where_it_comes_out_the_same(
    tmp_path: Path, source: Source, execute: Callable[..., Outcome]
) -> None:
    inner, outer = toy(1), toy(2, toy(1))
    execute(outer)
    path = Store(tmp_path).find("toy", inner.key).path  # type: ignore[union-attr]
    other(path, "of another time")
    assert execute(outer).executed == 1, "early cut-off: the inner one came out the same"
    assert count(tmp_path) == 3


def other(path: Path, code: str | None) -> None:
    """The artifact as other code would have made it; as before there were digests, where there is none."""
    from pipelines.integrity import sealed

    manifest = json.loads((path / MANIFEST).read_text())
    manifest = {key: value for key, value in manifest.items() if key not in (CODE, "seal")}
    (path / MANIFEST).write_text(json.dumps(sealed(manifest | ({CODE: code} if code else {}))))


def test_what_follows_from_a_changed_formula_is_made_again_in_its_place(
    tmp_path: Path, source: Source, execute: Callable[..., Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "drawn.txt").write_text("1")
    inner = toy(1, behaviour="drawn")
    target = toy(3, toy(2, inner))
    execute(target)
    (tmp_path / "drawn.txt").write_text("5")
    other(Store(tmp_path).find("toy", inner.key).path, "of another time")  # type: ignore[union-attr]
    outcome = execute(target)
    assert (outcome.executed, outcome[target].values) == (3, {"total": 11.0})
    assert "was made again and is not what it was: sum.txt differ" not in caplog.text  # said in the worker's own log
    assert outcome[inner].manifest["remade"] == {"same": False, "differing": ["sum.txt"]}
    assert not (tmp_path / ".quarantine").exists(), "nothing was damaged"
    assert execute(target).executed == 0


def test_trust_takes_it_says_so_and_holds_until_the_code_changes_once_more(
    tmp_path: Path, source: Source, execute: Callable[..., Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    target = toy(2, toy(1))
    execute(target)
    source.text = "refactored"
    assert execute(target, trust=True).executed == 0
    assert "code changed since, and trusted: 2 artifacts: toy 2 (toy_stages:run)" in caplog.text
    (record, _) = (tmp_path / ".trusted").iterdir()
    assert json.loads(record.read_text())["why"] == "trusted"
    assert execute(target).executed == 0
    assert "code changed" not in caplog.text
    source.text = "another formula"
    assert execute(target).executed == 2
    assert not list((tmp_path / ".trusted").iterdir())


def test_what_is_the_same_code_under_another_digest_is_taken_and_counts_as_of_the_digest_at_hand(
    tmp_path: Path, source: Source, execute: Callable[..., Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    """As where what was recorded counts more as code than is counted now, by its texts alone or with its references."""
    target = toy(2, toy(1))
    execute(target)
    for artifact, counted in zip(execute(target).artifacts.values(), ({}, {"refers": {}}), strict=True):
        texts = {"toy_stages:run": "first", "toy_stages:needs": "as ever", "drift.errors:closest": "at that time"}
        code = f"by another count {len(counted)}"
        other(artifact.path, code)
        (tmp_path / ".code" / f"{code}.json").write_text(json.dumps({"texts": texts, **counted} if counted else texts))
    plan = held.states(ordered([target]), Store(tmp_path), Freshness(Store(tmp_path), code=source))
    assert {each.word for each in plan.values()} == {"store"}
    assert not (tmp_path / ".trusted").exists()
    assert execute(target).executed == 0
    assert "code changed" not in caplog.text
    assert {json.loads(path.read_text())["why"] for path in (tmp_path / ".trusted").iterdir()} == {"same"}
    source.text = "second"
    assert execute(target).executed == 2


def test_force_makes_a_stage_again_and_once(
    source: Source, execute: Callable[..., Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    target = toy(2, toy(1))
    execute(target)
    assert execute(target, force=["toy"]).executed == 2
    assert "asked for again: 1 artifacts: toy 1" in caplog.text
    assert execute(target, force=["merge"]).executed == 0


def test_what_was_made_before_digests_counts_from_then_on_as_of_the_code_at_hand(
    tmp_path: Path, source: Source, execute: Callable[..., Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    target = toy(2, toy(1))
    for artifact in execute(target).artifacts.values():
        other(artifact.path, None)
    assert execute(target).executed == 0
    assert "2 artifacts are of before their code was recorded, and count from now on" in caplog.text
    assert execute(target).executed == 0
    assert "before their code" not in caplog.text
    source.text = "second"
    assert execute(target).executed == 2


def test_what_other_code_has_begun_is_begun_anew_unless_it_is_trusted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (store.begin("toy", "f" * 64, "first") / "half").touch()
    assert (store.begin("toy", "f" * 64, "") / "half").exists(), "trusted"
    assert (store.begin("toy", "f" * 64, "first") / "half").exists(), "resumed"
    assert not (store.begin("toy", "f" * 64, "second") / "half").exists()


def test_a_plan_tells_what_is_stale_from_what_may_follow_and_records_nothing(
    tmp_path: Path, source: Source, execute: Callable[..., Outcome]
) -> None:
    inner = toy(1)
    target = toy(2, inner)
    execute(target)
    other(Store(tmp_path).find("toy", inner.key).path, "of another time")  # type: ignore[union-attr]
    found = held.states(ordered([target]), Store(tmp_path), Freshness(Store(tmp_path), code=source))
    assert [found[inner.key].word, found[target.key].word] == ["stale", "follow"]
    trusting = Freshness(Store(tmp_path), trust=True, code=source)
    assert {each.word for each in held.states(ordered([target]), Store(tmp_path), trusting).values()} == {"store"}
    assert not (tmp_path / ".trusted").exists()


def test_a_job_on_another_machine_is_asked_for_the_same(tmp_path: Path) -> None:
    call = toy(1.0)
    wanted = Wanted("first", ("ties",), "a mark", "2026-01-01", trusts=True)
    job = Job(call.stage, call.key, call.params, dict[str, Artifact](), call.label, wanted=wanted)
    assert read(write(job, Runtime(tmp_path)))[0].wanted == wanted


def test_what_was_made_while_the_code_changed_is_stale() -> None:
    assert Wanted("first", (), "before the edit").sealed("pipelines.stages.weights:merge_models") == {CODE: MIXED}
    assert Wanted("first").sealed("pipelines.stages.weights:merge_models") == {CODE: "first"}


def test_the_flags_are_overrides() -> None:
    assert spelled(["--trust", "--force", "merge", "method=ties", "--force=train"]) == [
        "trust=true", "method=ties", "force=[merge,train]"
    ]  # fmt: skip


def test_what_is_trusted_is_said_of_one_artifact_and_of_no_later_one_in_its_place(tmp_path: Path) -> None:
    store, path = Store(tmp_path), tmp_path / "toy" / "place"
    record = store.trust(path)
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({CODE: "second", "was": "first"}))
    assert code_of(Artifact(path, {CODE: "first"}), store) == "second"
    assert code_of(Artifact(path, {CODE: "third"}), store) == "third"
