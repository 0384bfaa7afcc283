"""A study: what is refused, how arms are tuned, what is computed from a folder alone, and what is never pooled."""

import json
import logging
from dataclasses import replace

import numpy as np
import pandas
import pytest
from pydantic import TypeAdapter, ValidationError
from study_worlds import PAIR, PERCEPTION, REASONING, tuned_to, verdicts

from pipelines.compose import CONF
from pipelines.errors import ConfigError, StoreError
from pipelines.outcome import Failure, Outcome
from pipelines.plan import score
from pipelines.report.effects import Effect, over_worlds
from pipelines.stage import ordered
from pipelines.study import tuning, worlds
from pipelines.study.command import Asked, claims, main, open_evidence
from pipelines.study.command import study as command
from pipelines.study.report import arm_rows, claim_rows, sentence, write
from pipelines.study.spec import Arm, Borrow, Study, Tune
from pipelines.study.words import config

ALL = sorted(path.stem for path in (CONF / "study").glob("*.yaml"))


@pytest.fixture
def study():
    smoke = Study.load("smoke")
    return replace(smoke, pairs={PAIR: replace(smoke.pairs[PAIR], worlds=3)})


@pytest.fixture
def tuned():
    return {
        "sft": tuned_to(1e-3, "train.learning_rate=0.001"),
        "drift": tuned_to(0.3, "injection.alpha=-0.3", none=51.0),
        "task_arithmetic": tuned_to(0.1, "merge.hyperparameters.weight_expert=0.1"),
    }


@pytest.fixture
def folder(tmp_path, study, tuned):
    """Three worlds in which DRIFT is 4, 5 and 6 items of 40 above SFT."""
    tuning.save(tuned, tmp_path)
    digest = study.digest(tuned)
    for seed in range(3):
        right = {"mllm": 10, "sft": 20, "drift": 24 + seed, "task_arithmetic": 9}
        runs = {"sft": {"w_eff": 0.1, "steps": 12}, "drift": {"w_eff": 0.5 + seed / 10, "steps": 12}}
        worlds.write(worlds.World(PAIR, seed, digest, "recipe", runs, {"commit": "x"}), verdicts(right), tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ALL)
def test_every_arm_of_a_study_plans_in_every_pair_and_no_two_are_the_same(name):
    study = Study.load(name)
    tuned = {n: tuning.chosen(arm.tune, {arm.tune.values[0]: 1.0}) for n, arm in study.arms.items() if arm.tune}
    for pair in study.pairs:
        words = {n: tuning.words_of(study, n, tuned) for n in study.arms_of(pair)}
        keys = {n: score(config(study, pair, each, 0)).key for n, each in words.items()}
        assert len(set(keys.values())) == len(keys), f"{pair}: two arms are the same checkpoint"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"tuning": [1]}, "world 1 is tuned on and reported on"),
        ({"trials": 2, "arms": {"sft": {"tune": {"words": [], "values": [1, 2, 3]}}}}, "starts with 3 values"),
        ({"arms": {"drift": {"after": "mllm"}}}, "takes what was tuned for 'mllm', which is no tuned arm"),
        ({"arms": {"sft": {"tune": {"words": [], "values": [2, 1]}}}}, "do not ascend"),
        ({"arms": {"drift": {"none": "stf"}}}, "no arm is called 'stf'.*sft"),
    ],
)
def test_a_study_that_contradicts_itself_is_refused(change, match):
    values = TypeAdapter(Study).dump_python(Study.load("smoke"))
    for name, arm in change.pop("arms", {}).items():
        values["arms"][name] |= arm
    with pytest.raises(ValidationError, match=match):
        TypeAdapter(Study).validate_python(values | change)


def test_an_unknown_study_and_a_claim_that_does_not_fit_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no study 'smok'.*smoke"):
        Study.load("smok")


@pytest.mark.parametrize(
    ("tried", "next_values"),
    [
        ({}, [1.0, 2.0]),
        ({1.0: 5.0}, [2.0]),
        ({1.0: 5.0, 2.0: 6.0}, [4.0]),  # the best is the upper end: beyond it
        ({1.0: 6.0, 2.0: 5.0}, [0.5]),
        ({1.0: 5.0, 2.0: 6.0, 4.0: 5.5}, [8.0**0.5]),  # between the best and its better neighbour
        ({1.0: 5.0, 2.0: 6.0, 4.0: 5.5, 3.0: 1.0}, []),  # every trial is used up
    ],
)
def test_trials_go_beyond_an_end_or_between_the_best_and_its_better_neighbour(tried, next_values):
    assert tuning.proposals(Tune(("x={value}",), (1.0, 2.0)), tried, trials=4) == next_values


def test_a_knob_with_a_bound_is_never_tried_beyond_it():
    bounded = Tune(("x={value}",), (0.5, 0.9), most=1.0)
    assert tuning.proposals(bounded, {0.5: 1.0, 0.9: 2.0}, 4) == [1.0]
    assert tuning.proposals(bounded, {0.5: 1.0, 0.9: 2.0, 1.0: 3.0}, 4) == [0.9**0.5]
    assert not tuning.chosen(bounded, {0.5: 1.0, 0.9: 2.0, 1.0: 3.0}).is_end


def test_an_end_that_was_chosen_is_marked_and_equal_scores_take_the_smaller_value():
    tune = Tune(("x={value}", "y={rest}"), (0.1, 0.3))
    found = tuning.chosen(tune, {0.1: 7.0, 0.3: 7.0, 0.9: 1.0}, none=8.0)
    assert (found.value, found.is_end, found.none) == (0.1, True, 8.0)
    assert found.words == ("x=0.1", "y=0.9")
    assert not tuning.chosen(tune, {0.1: 1.0, 0.3: 7.0, 0.9: 1.0}).is_end


def test_claims_come_from_the_verdicts_of_the_folder_alone(study, folder):
    evidence = open_evidence(study, folder)
    rows = {row["name"]: row for row in claim_rows(evidence)}
    beats = rows["drift_beats_sft"]
    assert beats["effect"] == 12.5  # 5 items of 40
    assert (beats["worlds"], beats["items"], beats["verdict"]) == (3, 3 * 5 * 40, "holds")
    assert rows["merging_harms"]["effect"] == -2.5
    assert evidence.score(PAIR, "sft", "average").mean == pytest.approx(0.5)
    assert evidence.recorded(PAIR, "drift", "w_eff") == pytest.approx(0.6)
    arms = {row["arm"]: row for row in arm_rows(evidence, PAIR)}
    assert arms["drift"]["none_is_better"]
    assert not arms["sft"]["none_is_better"]
    assert "**Holds**: +12.5 points, 95% interval" in sentence(beats, study)
    assert beats["effects"] == [10.0, 12.5, 15.0]
    spread = "3 worlds; single worlds from +10.0 to +15.0, median +12.5, above zero in 3 of 3"
    assert f", {spread}." in sentence(beats, study)
    alone = beats | {"verdict": "unresolved", "worlds_needed": 4}
    among = "its own interval leaves zero out, which among all that is tested is not enough (Holm)"
    assert f"{spread}; {among}; about 4 worlds" in sentence(alone, study)
    assert "leaves zero out" not in sentence(alone | {"low": -1.0}, study)


def test_the_report_says_what_its_verdicts_hang_on(study, folder):
    write(open_evidence(study, folder), folder)
    said = (folder / "report.md").read_text()
    scored = "drift scores 60.0, 62.5, 65.0; sft scores 50.0, 50.0, 50.0"
    assert f"drift minus sft is +10.0, +12.5, +15.0 in single worlds ({scored}).\n" in said
    rows = pandas.read_csv(folder / "tables" / f"{PAIR}_worlds.csv")
    assert rows[rows["arm"] == "drift"]["average"].tolist() == [60.0, 62.5, 65.0]
    assert "drift 50.0 there and 62.5 in the worlds reported; sft 50.0 there and 50.0 in the worlds reported" in said
    assert "is 0.60 (drift) and 0.10 (sft) here" in said


def test_arms_that_came_out_as_one_checkpoint_are_named(study, folder):
    assert open_evidence(study, folder).twins(PAIR) == []
    for seed in range(3):
        world, found = worlds.read(folder, PAIR, seed)
        arms = {name: {"checkpoint": "same"} for name in ("sft", "drift")} | {"mllm": {"checkpoint": "its own"}}
        worlds.write(replace(world, arms=arms), found, folder)
    evidence = open_evidence(study, folder)
    assert evidence.twins(PAIR) == [("sft", "drift")]
    write(evidence, folder)
    assert (
        "One checkpoint under two names (qwen2_5_vl_r1): SFT is DRIFT, adaptive" in (folder / "report.md").read_text()
    )


def test_writing_twice_writes_the_same_bytes(study, folder):
    def written():
        write(open_evidence(study, folder), folder)
        return {path: path.read_bytes() for path in folder.rglob("*.*") if path.suffix not in (".png", ".svg")}

    assert written() == written()
    claims = json.loads((folder / "claims.json").read_text())
    assert claims["preregistration"] == open_evidence(study, folder).registration


def test_worlds_read_back_as_they_were_written(study, folder):
    world, found = worlds.read(folder, PAIR, 2)
    assert world.seed == 2
    assert set(found["drift"]) == {*REASONING, *PERCEPTION}
    assert sum(found["drift"]["WeMath"].values.values()) == 26


def test_a_world_under_other_claims_is_refused_and_never_pooled(study, folder):
    other = replace(study, claims=study.claims[:1])
    with pytest.raises(StoreError, match=r"under registration .* not pooled: put the files back"):
        open_evidence(other, folder)


def test_a_world_of_another_recipe_is_refused_and_never_pooled(study, folder):
    world, found = worlds.read(folder, PAIR, 1)
    worlds.write(replace(world, recipe="other"), found, folder)
    with pytest.raises(StoreError, match=r"by another recipe \(other\) than the first world"):
        open_evidence(study, folder)


def test_a_world_without_its_verdicts_is_refused(study, folder):
    (folder / "verdicts" / f"{PAIR}-1.parquet").unlink()
    with pytest.raises(StoreError, match="says that this world has ended"):
        open_evidence(study, folder)


def test_a_world_that_missed_a_gate_counts_for_nothing_and_is_named(study, folder):
    world, _ = worlds.read(folder, PAIR, 0)
    worlds.write(
        replace(world, excluded="study world 0, expert text is 0.4; the gate is 0.95 to 1.00. Choose", arms={}),
        {},
        folder,
    )
    evidence = open_evidence(study, folder)
    write(evidence, folder)
    assert list(evidence.of(PAIR)) == [1, 2]
    said = "count for nothing, others taking their place (1):\n\n- qwen2_5_vl_r1 0: expert text is 0.4; the gate is"
    assert f"{said} 0.95 to 1.00\n" in (folder / "report.md").read_text()


def test_an_arm_whose_own_expert_missed_its_gate_is_lacking_in_that_world_alone(study, folder):
    world, found = worlds.read(folder, PAIR, 0)
    rest = {name: columns for name, columns in found.items() if name != "drift"}
    worlds.write(replace(world, missing={"drift": "near expert is 0.79"}), rest, folder)
    evidence = open_evidence(study, folder)
    write(evidence, folder)
    rows = {row["name"]: row for row in claim_rows(evidence)}
    assert (rows["drift_beats_sft"]["worlds"], rows["merging_harms"]["worlds"]) == (2, 3)
    assert {row["arm"]: row["worlds"] for row in arm_rows(evidence, PAIR)}["drift"] == 2
    assert "missed its gate: qwen2_5_vl_r1 0: drift." in (folder / "report.md").read_text()


def test_another_world_takes_the_place_of_one_that_counts_for_nothing(study, folder, monkeypatch):
    world, found = worlds.read(folder, PAIR, 1)
    worlds.write(replace(world, excluded="MLLM is 0.4"), {}, folder)
    monkeypatch.setattr(Study, "load", classmethod(lambda cls, name: study))
    made = []

    def run(study, pair, seeds, tuned, scheduler, out):
        made.append(seeds)
        for seed in seeds:
            worlds.write(replace(world, seed=seed, excluded="MLLM is 0.3" if seed == 3 else ""), found, out)

    monkeypatch.setattr(worlds, "run", run)
    assert command(["run", "study=smoke", f"results={folder}", f"store={folder}/store"]) == 0
    assert made == [[3], [4]]


@pytest.mark.parametrize("missed", ["MLLM", "near qwen2 expert"])
def test_a_missed_gate_costs_a_world_what_needs_the_model_and_nothing_else(study, tuned, tmp_path, monkeypatch, missed):
    other = Arm("", ("method=task_arithmetic", "pair=qwen2_5_vl_math"))
    study = replace(study, arms=study.arms | {"near_merge": other}, pairs={PAIR: replace(study.pairs[PAIR], arms=())})
    asked, read = [], []

    class Scheduler:
        def attempt(self, calls):
            asked.append({call.label for call in ordered(calls)})
            gone = [
                call for call in ordered(calls) if call.stage.name == "model" and missed.lower() in call.label.lower()
            ]
            return Outcome({}, 0, {c.key: Failure("model", c.label, f": {missed} is 0.4; the gate is 1") for c in gone})

    monkeypatch.setattr(worlds, "_read", lambda named, outcome: (read.append({n for n, _ in named}) or {}, {}, {}))
    worlds.run(study, PAIR, [0], tuned, Scheduler(), tmp_path)
    world = worlds.ended(tmp_path, PAIR)[0]
    if missed == "MLLM":
        assert world.excluded == "MLLM is 0.4; the gate is 1"
        assert not any("train" in label for label in asked[0])
        assert (read, asked[1]) == ([], set())
    else:
        assert (world.excluded, world.missing) == ("", {"near_merge": "near qwen2 expert is 0.4; the gate is 1"})
        assert read == [{"mllm", "sft", "drift", "task_arithmetic"}]


def test_the_best_of_several_is_the_one_that_scored_best_in_tuning(study, folder, tuned):
    evidence = open_evidence(study, folder)
    assert evidence.arm("best: sft, drift") == "sft"  # equal: the first
    better = tuned | {"drift": replace(tuned["drift"], score=60.0)}
    assert replace(evidence, tuned=better).arm("best: sft, drift") == "drift"


def test_the_registration_changes_with_the_design_the_claims_and_what_tuning_chose(study, tuned):
    digests = {
        study.digest(tuned),
        study.digest(tuned | {"sft": tuned_to(2e-3, "train.learning_rate=0.002")}),
        replace(study, trials=4).digest(tuned),
        replace(study, claims=study.claims[1:]).digest(tuned),
    }
    assert len(digests) == 4


def test_an_arm_borrows_another_ones_strength_and_takes_over_its_schedule(study, tuned):
    random = Arm("", ("prior=random",), borrows=Borrow("drift", ("injection.alpha=-{value}",), 0.5), after="sft")
    words = tuning.words_of(replace(study, arms=study.arms | {"random": random}), "random", tuned)
    assert words == ("train.learning_rate=0.001", "prior=random", "injection.alpha=-0.15")


def test_tuning_reads_back_as_it_was_saved(tuned, tmp_path):
    tuning.save(tuned, tmp_path)
    assert tuning.load(tmp_path) == tuned
    assert "drift,0.3,50.00,1" in (tmp_path / "tuning.csv").read_text()


def test_worlds_come_after_tuning(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no tuned\.json: drift study tune comes before worlds"):
        command(["run", "study=smoke", f"results={tmp_path}", f"store={tmp_path}/store"])


@pytest.mark.parametrize(
    ("words", "match"),
    [(["tnue"], "one verb"), (["worlds=a"], "'a' is no whole number"), (["run", "tune"], "one verb")],
)
def test_words_that_say_nothing_are_refused(words, match):
    with pytest.raises(ConfigError, match=match):
        Asked.of(words)


def test_what_libraries_say_of_their_work_does_not_reach_the_user(folder, study, capsys, monkeypatch):
    monkeypatch.setattr(Study, "load", classmethod(lambda cls, name: study))
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    assert main(["report", "study=smoke", f"results={folder}"]) == 0  # fontTools tells a hundred lines of each figure
    assert capsys.readouterr().err == f"Read {folder}/report.md\n"


def test_the_verdicts_are_printed(folder, study, capsys, monkeypatch):
    monkeypatch.setattr(Study, "load", classmethod(lambda cls, name: study))
    claims(["study=smoke", f"results={folder}"])
    printed = capsys.readouterr().out
    assert "DRIFT scores above SFT after as many steps. Holds: +12.5 points" in printed
    assert printed.rstrip().endswith(open_evidence(study, folder).registration)


def test_the_committed_study_follows_from_its_verdicts_and_its_registration():
    folder = CONF.parent / "results" / "study"
    study = Study.load("main")
    assert set(tuning.load(folder)) == {name for name, arm in study.arms.items() if arm.tune}
    if not (folder / "claims.json").exists():
        pytest.skip("results/study holds no world yet")
    evidence = open_evidence(study, folder)
    committed = json.loads((folder / "claims.json").read_text())
    assert committed["preregistration"] == evidence.registration
    assert committed["claims"] == json.loads(json.dumps(claim_rows(evidence)))


@pytest.mark.parametrize("name", ["01_drift_beats_sft", "25_half_the_steps"])
def test_worlds_as_skewed_as_those_that_were_seen_are_covered_in_nine_of_ten(name):
    """As docs/study.md says: fifteen drawn again and again from the fifteen."""
    recorded = json.loads((CONF.parent / "results" / "study" / "claims.json").read_text())["claims"]
    seen = next(np.array(claim["effects"]) / 100 for claim in recorded if claim["name"] == name)
    draws = np.random.default_rng(0).choice(seen, (4000, len(seen)))
    intervals = [over_worlds([Effect(value, 0.0, 1) for value in row]) for row in draws]
    covered = np.mean([each.low <= seen.mean() <= each.high for each in intervals])
    assert 0.88 <= covered <= 0.92


@pytest.mark.slow
def test_a_study_tunes_runs_goes_on_and_repeats(tmp_path):
    words = ["study=smoke", f"results={tmp_path}/results"]
    assert command([*words, f"store={tmp_path}/store", "worlds=0"]) == 0
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").glob("*/*-0.*")}
    assert command([*words, f"store={tmp_path}/store"]) == 0
    assert {path: path.stat().st_mtime_ns for path in first} == first  # a world that has ended is not run again
    record = json.loads((tmp_path / "results" / "claims.json").read_text())
    assert {claim["worlds"] for claim in record["claims"]} == {2}
    assert command(["again", *words, f"store={tmp_path}/other", "worlds=1"]) == 0


def test_again_makes_the_worlds_that_are_there_once_more_and_compares_them(folder, study, monkeypatch, caplog):
    monkeypatch.setattr(Study, "load", classmethod(lambda cls, name: study))
    made = []

    def run(study, pair, seeds, tuned, scheduler, out):
        for seed in seeds:
            made.append(seed)
            world, found = worlds.read(folder, pair, seed)
            other = found | {"drift": found["sft"]}
            worlds.write(world, other if seed == 1 else found, out)

    monkeypatch.setattr(worlds, "run", run)
    caplog.set_level("INFO")
    words = ["again", "study=smoke", f"results={folder}", f"store={folder}/store"]
    assert command([*words, "worlds=0,2"]) == 0
    assert command(words) == 1
    assert made == [0, 2, 0, 1, 2]
    assert f"{PAIR} 1: drift differ" in caplog.messages
    assert f"{PAIR} 2: every verdict is equal" in caplog.messages


def test_a_folder_without_worlds_is_refused_and_left_as_it_is(tmp_path, caplog, capsys):
    (tmp_path / "report.md").write_text("another report")
    for verb in (command, claims):
        words = [f"results={tmp_path}", *(["report"] if verb is command else [])]
        with pytest.raises(ConfigError, match="holds no world of a study; say which folder does"):
            verb(words)
    assert (tmp_path / "report.md").read_text() == "another report"
    assert {path.name for path in tmp_path.iterdir()} == {"report.md"}


def test_a_key_that_a_report_has_no_use_for_is_refused_by_the_closest():
    with pytest.raises(ConfigError, match=r"resutls=x: did you mean 'results'"):
        Asked.of(["report", "resutls=x"])
    with pytest.raises(ConfigError, match=r"result=x: did you mean 'results'"):
        claims(["result=x"])
