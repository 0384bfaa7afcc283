"""The data pipeline as stages: nothing is generated twice, a set is whole with its card, plans need no network."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from drift.errors import DataError
from drift.training.conversations import read_conversations
from evaluation.engines.base import Batch, Engine, EngineError, GenerationSettings, Request, Response
from evaluation.engines.base import answered as response_to
from pipelines import compose, plan, stages
from pipelines.datasets import targets_of
from pipelines.distil.asking import answered, ask
from pipelines.distil.config import FilterConfig, MixConfig, PictureLimits, Sampling, settings_of
from pipelines.distil.mixing import _drawn
from pipelines.distil.records import read_questions
from pipelines.fingerprint import fingerprint
from pipelines.push import Push, push
from pipelines.report.funnels import write_funnels
from pipelines.report.sources import Source
from pipelines.stage import Runtime, ordered
from pipelines.stages import FilterParams, MixParams, QuestionsParams
from pipelines.stages.distil import filter_answers, mix_sets, take_questions

GOOD = "<think>Three and two make five, as one sees.</think> \\boxed{5}"


class Teacher(Engine):
    """Answers as told by the seed, batch by batch, and fails after so many of them."""

    model = "teacher"

    def __init__(self, fails_after: int = 10**9) -> None:
        self.asked: list[tuple[int, str]] = []
        self._left = fails_after

    def plan(self, requests: Sequence[Request], settings: GenerationSettings) -> list[Batch]:
        return [tuple(requests[at : at + 2]) for at in range(0, len(requests), 2)]

    def run(self, batches: Sequence[Batch], settings: GenerationSettings) -> Iterator[list[Response]]:
        for batch in batches:
            if not self._left:
                raise EngineError("the power is gone")
            self._left -= 1
            self.asked += [(settings.seed, request.index) for request in batch]
            yield [response_to(r, settings, f"{settings.seed} {r.prompt}", "stop", 3) for r in batch]


def source_of(folder: Path, count: int, **fields: object) -> Path:
    """Questions with their pictures."""
    folder.mkdir()
    lines = []
    for n in range(count):
        Image.effect_noise((64, 48), 90 + n).save(folder / f"{n}.png")
        lines.append(
            {"question": f"How long is the side x in figure {n}?", "answer": "5", "image": f"{n}.png", **fields}
        )
    (folder / "q.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def taken(tmp_path: Path, count: int, **fields: object) -> Path:
    out = tmp_path / "questions"
    out.mkdir()
    params = QuestionsParams(
        "folder", None, str(source_of(tmp_path / "source", count, **fields)), "", "", PictureLimits()
    )
    assert take_questions(params, Runtime(tmp_path), {}, out) == {"records": count, "questions": count}
    return sealed(out, "questions")


def sealed(folder: Path, stage: str) -> Path:
    """With what a card reads of a manifest."""
    manifest = {"stage": stage, "label": f"{stage} of a test", "fingerprint": "f" * 64, "params": {"told": 1}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_generator_that_is_stopped_and_started_again_answers_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.distil.asking.SHARD", 4)
    questions = taken(tmp_path, 10)
    sampling = Sampling(samples=2, seed=7, prompt="Q: {question}")
    settings = settings_of(sampling, GenerationSettings())

    def run(engine: Teacher, out: Path) -> dict[str, int]:
        return ask(engine, questions, read_questions(questions / "questions.jsonl"), sampling, settings, out)

    first, second, whole = Teacher(fails_after=5), Teacher(), Teacher()
    with pytest.raises(EngineError, match="the power is gone"):
        run(first, tmp_path / "answers")
    assert run(second, tmp_path / "answers") == run(whole, tmp_path / "whole")
    assert not set(first.asked) & set(second.asked)
    assert sorted(first.asked + second.asked) == sorted(whole.asked)
    assert len(whole.asked) == 20
    assert {seed for seed, _ in whole.asked} == {7, 8}
    for path in (tmp_path / "whole").rglob("*.jsonl"):
        assert path.read_bytes() == (tmp_path / "answers" / path.relative_to(tmp_path / "whole")).read_bytes()
    again = Teacher()
    run(again, tmp_path / "answers")
    assert again.asked == []
    found = list(answered(read_questions(questions / "questions.jsonl"), tmp_path / "answers"))
    assert [[sample.response[:5] for sample in samples] for _, samples in found] == [["7 Q: ", "8 Q: "]] * 10


def test_answers_to_other_questions_are_refused(tmp_path):
    questions = taken(tmp_path, 3)
    sampling = Sampling()
    listed = list(read_questions(questions / "questions.jsonl"))
    ask(Teacher(), questions, listed, sampling, settings_of(sampling, GenerationSettings()), tmp_path / "answers")
    with pytest.raises(
        DataError, match="answer 0 of draw 0 is to '000000', expected '000001'; are these answers to other"
    ):
        list(answered(listed[1:], tmp_path / "answers"))


def test_the_filter_writes_a_set_for_a_training_with_funnel_card_rejects_and_a_datasets_folder(tmp_path):
    from datasets import load_from_disk

    asked = {"role": "user", "content": "How long is x?"}
    questions = taken(tmp_path, 6, messages=[asked, {"role": "assistant", "content": GOOD}])
    lines = (questions / "questions.jsonl").read_text().splitlines()
    lines[0] = lines[0].replace("boxed{5}", "boxed{6}")
    (questions / "questions.jsonl").write_text("\n".join(lines) + "\n")
    (questions / "counts.json").write_text('{"records": 7, "questions": 6}')
    reject = {"step": "usable", "reason": "image missing", "index": "q:7", "number": 0, "found": "", "text": ""}
    (questions / "rejects.jsonl").write_text(json.dumps(reject) + "\n")
    out = tmp_path / "filter"
    out.mkdir()
    config = FilterConfig(processes=1, rules=("whole", "format", "correct", "duplicates"))
    values = filter_answers(FilterParams(config, ()), Runtime(tmp_path), {"questions": questions}, out)
    assert [tuple(row.values()) for row in values["funnel"]] == [
        ("usable", 6, 1, "image missing"), ("whole", 6, 0, ""), ("format", 6, 0, ""), ("correct", 5, 1, "wrong"),
        ("selection", 5, 0, ""), ("duplicates", 5, 0, ""),
    ]  # fmt: skip
    assert values["examples"] == len(read_conversations(out / "train.json")) == 5
    rows = load_from_disk(str(out / "dataset"))
    assert rows[0]["messages"][1]["content"] == GOOD
    assert rows[0]["images"][0].size == (64, 48)
    assert [json.loads(line)["reason"] for line in (out / "rejects.jsonl").read_text().splitlines()] == [
        "image missing", "wrong"
    ]  # fmt: skip
    card = (out / "README.md").read_text()
    assert card.startswith("---\ntask_categories:")
    assert "questions of a test" in card
    assert "| correct" in card
    assert all((out / f"funnel.{kind}").stat().st_size for kind in ("csv", "png", "pdf", "svg"))


def test_a_mix_is_drawn_by_its_seed_and_a_larger_one_holds_the_smaller():
    few, many = (set(_drawn(range(100), wanted, 7, "answers")) for wanted in (20, 50))
    assert few < many
    assert few not in (set(range(20)), set(range(80, 100)))
    assert few != set(_drawn(range(100), 20, 8, "answers"))
    assert few != set(_drawn(range(100), 20, 7, "filtered examples"))


def test_a_mix_is_a_set_too(tmp_path):
    asked = {"role": "user", "content": "How long is x?"}
    questions = taken(tmp_path, 4, messages=[asked, {"role": "assistant", "content": GOOD}])
    filtered, out = tmp_path / "filter", tmp_path / "mix"
    filtered.mkdir()
    out.mkdir()
    config = FilterConfig(processes=1, rules=("whole", "format", "correct"))
    filter_answers(FilterParams(config, ()), Runtime(tmp_path), {"questions": questions}, filtered)
    inputs = {"filtered": sealed(filtered, "filter"), "questions": questions}
    values = mix_sets(MixParams(MixConfig(filtered=2, unfiltered=1.5)), Runtime(tmp_path), inputs, out)
    assert (values["examples"], values["filtered"], values["unfiltered"]) == (5, 2, 3)
    assert len(read_conversations(out / "train.json")) == 5
    assert "filter of a test" in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("choice", "made"),
    [("hq", ["questions", "model", "distil", "benchmarks", "filter"]),
     ("mixed", ["questions", "model", "distil", "benchmarks", "filter", "mix"])],
)  # fmt: skip
def test_the_paper_s_data_is_planned_without_a_network(choice, made):
    config = compose.load(["profile=paper", f"data={choice}"])
    calls = ordered([plan.data(config)])
    assert sorted(call.stage.name for call in calls) == sorted(made)
    by_name = {call.stage.name: call for call in calls}
    assert by_name["questions"].params.repo == "russwang/ThinkLite-VL-hard-11k"
    assert by_name["model"].params.repo == "russwang/ThinkLite-VL-7B"
    assert by_name["distil"].params.engine.settings.temperature == 1.0
    assert by_name["distil"].needs.gpus == 1
    assert by_name["filter"].needs.gpus == 0


def test_a_set_may_hold_no_item_of_any_benchmark_of_the_paper_and_of_the_lab():
    for profile, data, suites in (
        ("paper", "hq", ("math", "perception")),
        ("lab", "lab_mixed", ("lab_math", "lab_perception")),
    ):
        told = compose.load([f"profile={profile}", f"data={data}"]).data.distil
        known = {
            name
            for s in suites
            for name in compose.load([f"profile={profile}", f"suite={s}"]).suite.benchmarks.values()
        }
        assert known == set(told.against.benchmarks)


def test_the_lab_s_filtered_set_has_the_name_that_it_always_had():
    call = plan.data(compose.load([]))
    told = {"source": "lab", "world": call.params.world, "repo": "", "revision": "", "unfiltered": False}
    assert call.key == fingerprint("data", 1, told, {})
    assert plan.data(compose.load(["data=lab_mixed"])).inputs["filtered"].key == call.key


def test_the_lab_s_teacher_has_more_examples_than_any_row_and_the_row_s_method_does_not_change_it():
    rows = [["method=sft"], ["method=drift", "injection.alpha=-0.1"], ["method=merge_sft", "injection.alpha=-0.1"]]
    teachers = {plan.generator(compose.load([*row, "data=lab_mixed"])).key for row in rows}
    assert len(teachers) == 1
    config = compose.load(["data=lab_mixed"])
    assert plan.generator(config).inputs["data"].params.world.sft_items == 4 * config.world.sft_items
    assert [call.stage for call in targets_of(config)] == [stages.MIX, stages.FILTER]


class Hub:
    """Stands for the hub's client."""

    sent: dict[str, Any]

    def create_repo(self, repo: str, **options: object) -> None:
        Hub.sent = {"repo": repo, **options}

    def upload_folder(self, **options: object) -> str:
        Hub.sent |= options
        return f"https://hub/{options['repo_id']}"


def test_a_set_goes_to_the_hub_by_a_command_of_its_own_and_privately(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    with pytest.raises(DataError, match=r"has no train\.json; expected a set"):
        push(Push(tmp_path, "me/set"))
    (tmp_path / "train.json").write_text("[]")
    assert push(Push(tmp_path, "me/set")) == "https://hub/me/set"
    assert (Hub.sent["private"], Hub.sent["repo_type"], Hub.sent["ignore_patterns"]) == (
        True, "dataset", ["manifest.json", "log.txt"]
    )  # fmt: skip


def test_a_report_shows_each_set_s_funnel_and_some_rejects_of_each_reason_and_no_benchmark_s_text(tmp_path):
    made, out = tmp_path / "filter", tmp_path / "data"
    made.mkdir()
    for name in ("funnel.csv", "funnel.png", "funnel.pdf", "funnel.svg"):
        (made / name).write_text("step,kept,dropped,reason\n")
    reject = {"step": "correct", "reason": "wrong", "index": "1", "number": 0, "found": "'6'", "text": "so it is 6"}
    known = {**reject, "step": "contamination", "reason": "picture", "text": "How long is it?"}
    (made / "rejects.jsonl").write_text("".join(json.dumps(each) + "\n" for each in [reject] * 30 + [known]))
    source = Source(made, {"fingerprint": "abc"}, {})
    assert write_funnels({"data-lab_mixed-2": source, "score-1": source}, out) == {
        "funnels": {"lab_mixed/seed2": "abc"}
    }
    shown = [json.loads(line) for line in (out / "lab_mixed" / "seed2" / "rejects.jsonl").read_text().splitlines()]
    assert [each["text"] for each in shown] == ["so it is 6"] * 20 + [""]
    assert (out / "lab_mixed" / "seed2" / "funnel.csv").is_file()


def test_a_trained_row_s_data_is_in_the_report_s_plan_with_its_funnel():
    from pipelines import tables

    report = tables.report([tables.load("table7")], ["profile=smoke"], online=False)
    assert report.inputs["data-lab_mixed-0"].stage is stages.FILTER
