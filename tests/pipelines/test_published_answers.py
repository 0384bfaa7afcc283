"""Published answers stand where responses stand: pinned files, the publisher's verdicts, and what our scorer adds."""

import gzip
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from drift.errors import DataError
from drift.files import sha256_of
from evaluation.data.published import read_answers
from evaluation.judging.config import PublishedJudge, RulesJudge
from pipelines import compose, plan, revisions, tables
from pipelines.errors import ConfigError, StageError
from pipelines.report.numbers import Evidence
from pipelines.report.rescored import findings, numbers, wide
from pipelines.report.sources import Source
from pipelines.report.spec import Cell, Row, Table
from pipelines.scored import read_scores
from pipelines.stage import Runtime, ordered
from pipelines.stages import AnswerFile, AnswersParams, ScoreParams
from pipelines.stages.evaluate import score_responses
from pipelines.stages.published import take_answers
from pipelines.store import MANIFEST

SHARED = Path(os.environ.get("DRIFT_BENCHMARKS", Path(__file__).parents[2] / ".." / "shared" / "benchmarks"))


def toolkit_table(path: Path, predictions: Sequence[str], verdicts: Sequence[bool]) -> Path:
    """MathVista items whose answer is 7, as VLMEvalKit and its judge leave them behind."""
    kind = {"question": "sum?", "choices": "", "answer": "7", "question_type": "free_form", "answer_type": "integer"}
    rows = [
        {"index": k, **kind, "prediction": text, "res": "7", "log": "", "score": right}
        for k, (text, right) in enumerate(zip(predictions, verdicts, strict=True))
    ]
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


def params(path: Path, **changes: str) -> AnswersParams:
    file = AnswerFile("MathVista", "MathVista_MINI", path.name, sha256_of(path))
    return replace(AnswersParams("folder", "vlmevalkit", "a/b", "c0ffee", (file,), str(path.parent)), **changes)


def scored(folder: Path, answers: Path, judge: RulesJudge | PublishedJudge) -> Path:
    """The score stage on taken answers, as an artifact of the store."""
    folder.mkdir()
    inputs = {"responses": answers, "benchmarks": answers}
    values = score_responses(ScoreParams({"MathVista": "MathVista_MINI"}, judge), Runtime(folder), inputs, folder)
    manifest = {"fingerprint": folder.name, "values": values, "params": {"benchmarks": {"MathVista": "MathVista_MINI"}}}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def test_answers_become_tables_responses_and_verdicts_that_are_scored_like_a_models(tmp_path: Path) -> None:
    path = toolkit_table(
        tmp_path / "t.jsonl.gz", ["The answer is 7", "It is 3", "Seven, so 7.", "?"], [True, False, False, True]
    )
    (tmp_path / "a").mkdir()
    values = take_answers(params(path), Runtime(tmp_path), {}, tmp_path / "a")
    assert values == {"answers": {"MathVista": {"n": 4, "right": 2}}}
    published = read_scores(scored(tmp_path / "p", tmp_path / "a", PublishedJudge("published")))["MathVista"].score
    ours = read_scores(scored(tmp_path / "o", tmp_path / "a", RulesJudge("rules", "semantic")))["MathVista"].score
    assert (published.value, published.unmatched, ours.value, ours.unmatched) == (50, 0, 50, 1)
    said = [json.loads(line) for line in (tmp_path / "p" / "MathVista_MINI.verdicts.jsonl").read_text().splitlines()]
    assert [(v["correct"], v["rule"]) for v in said] == [(r, "publisher") for r in (True, False, False, True)]


def test_a_file_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    path = toolkit_table(tmp_path / "t.jsonl.gz", ["7"], [True])
    pinned = params(path)
    toolkit_table(path, ["8"], [True])
    with pytest.raises(StageError, match=rf"t.jsonl.gz has sha256 {sha256_of(path)}; t.jsonl.gz of a/b@c0ffee has"):
        take_answers(pinned, Runtime(tmp_path), {}, tmp_path)
    with pytest.raises(StageError, match=r"t.jsonl.gz of a/b@c0ffee is not in .*; say answers.root=FOLDER"):
        take_answers(replace(pinned, source="hub"), Runtime(tmp_path, cache=tmp_path, offline=True), {}, tmp_path)


def test_a_row_without_a_verdict_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"index": 1, "answer": "7", "prediction": "7", "score": "maybe"}\n')
    with pytest.raises(DataError, match=r"t.jsonl:1, column 'score' or 'hit': 'maybe' is no verdict"):
        list(read_answers("vlmevalkit", path, None))
    path.write_text('{"index": 1, "answer": "7"}\n')
    with pytest.raises(DataError, match=r"t.jsonl: no answers as vlmevalkit has them \(KeyError: 'prediction'"):
        list(read_answers("vlmevalkit", path, None))


def test_the_bias_of_a_difference_is_what_the_scorer_adds_to_it(tmp_path: Path) -> None:
    # The publisher credits 6 and 7 of 8. Rules can't read two of the second model's right answers: 6 and 5.
    said = {"first": (["7"] * 6 + ["3"] * 2, [True] * 6 + [False] * 2)}
    said["second"] = (["7"] * 5 + ["well"] * 2 + ["3"], [True] * 7 + [False])
    cells, sources = [], {}
    for name, (predictions, verdicts) in said.items():
        answers = tmp_path / f"{name}-answers"
        answers.mkdir()
        take_answers(
            params(toolkit_table(tmp_path / f"{name}.jsonl.gz", predictions, verdicts)), Runtime(tmp_path), {}, answers
        )
        judges = {"published": PublishedJudge("published"), "semantic": RulesJudge("rules", "semantic")}
        found = {role: scored(tmp_path / f"{name}-{role}", answers, judge) for role, judge in judges.items()}
        sources |= {path.name: Source.open(path) for path in found.values()}
        cells.append(Cell("t", name, 0, {role: path.name for role, path in found.items()}))
    rows = tuple(Row(name, ("x=y",), series="pair") for name in said)
    evidence = Evidence(Table("t", "T", ("MathVista",), rows, kind="rescored"), cells, sources)
    values = {(label, n.column): n.value for label, row in numbers(evidence).items() for n in row}
    assert values["second", "MathVista published"] == 87.5
    assert values["second", "MathVista semantic"] == 62.5
    assert values["second", "MathVista semantic agreement"] == 75
    lines = wide(evidence).to_dict("records")
    assert [(line["answers"], line["published"], line["semantic unmatched"]) for line in lines] == [
        ("first", "75.0", "0"),
        ("second", "87.5", "2"),
    ]
    text = " ".join("\n".join(findings(evidence)).split())
    assert "| second minus first | MathVista | 8 | published | +12.5 (" in text
    assert "| second minus first | MathVista | 8 | semantic | -12.5 (" in text
    assert "‡ | -25.0 (" in text


def test_the_profile_runs_no_model_and_makes_its_own_tables() -> None:
    config = compose.load(["profile=published"])
    assert config.results == "results/published_answers"
    target, variant = tables.as_asked(
        [tables.load(name) for name in config.tables], ["profile=published"], online=False
    )
    assert variant == ""
    assert {call.stage.name for call in ordered([target])} == {"answers", "score", "report"}
    assert {call.needs.gpus for call in ordered([target])} == {0}


def test_every_published_file_is_pinned_by_commit_and_hash() -> None:
    for choice in ("mathvista", "math_v", "logicvista", "llava_next_dart"):
        answers = compose.load([f"answers={choice}"]).answers
        assert len(answers.commit) == 40
        files = [file for each in answers.sets.values() for file in each.values()]
        assert all(len(file.sha256) == 64 and file.path and file.place and file.benchmark for file in files)
        assert len({file.sha256 for file in files}) == len(files)


def test_a_folder_that_is_missing_or_lacks_files_is_refused_before_anything_runs(tmp_path: Path) -> None:
    config = compose.load(["answers=mathvista", f"answers.root={tmp_path / 'none'}"])
    with pytest.raises(ConfigError, match=r"answers.root is .*none, which is no folder"):
        revisions.resolve(config, online=False)
    config = compose.load(["answers=mathvista", f"answers.root={tmp_path}"])
    with pytest.raises(ConfigError, match=r"lacks 1 files of mathvista, first mathvista/outputs/output_bard.json"):
        revisions.resolve(config, online=False)


def test_a_choice_that_is_not_there_and_verdicts_without_answers_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"answers.chosen is 'brad': did you mean 'bard'"):
        compose.load(["answers=mathvista", "answers.chosen=brad"])
    with pytest.raises(ConfigError, match="judge=published takes the verdicts of published answers"):
        plan.score(compose.load(["judge=published"]))


def test_the_folder_is_no_part_of_what_answers_are(tmp_path: Path) -> None:
    words = ["answers=math_v", "judge=published"]
    here, there = (compose.load([*words, f"answers.root={tmp_path / name}"]) for name in "ab")
    assert plan.score(here).key == plan.score(there).key
    assert plan.score(here).key != plan.score(compose.load([*words, "answers.chosen=Gemini-Pro"])).key


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no benchmark data at {SHARED}; set DRIFT_BENCHMARKS")
@pytest.mark.parametrize(
    ("choice", "chosen", "column", "right"),
    [
        ("llava_next_dart", "llava_next", "MathVista", 379),
        ("llava_next_dart", "llava_next_dart_0.9", "MathVision", 48),
        ("mathvista", "bard", "MathVista", 348),
        ("math_v", "Gemini-Pro", "MathVision", 537),
        ("logicvista", "GPT4", "LogicVista", 146),
    ],
)
def test_the_published_verdicts_add_up_to_the_published_headline(
    choice: str, chosen: str, column: str, right: int
) -> None:
    answers = compose.load([f"answers={choice}", f"answers.chosen={chosen}"]).answers
    questions = SHARED / answers.questions.place if answers.questions else None
    found = read_answers(answers.format, SHARED / answers.files[column].place, questions)
    assert sum(answer.verdict is True for answer in found) == right
