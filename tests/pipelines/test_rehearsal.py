"""A rehearsal's models are the published ones cut small, and each fault that a full run could meet has its name."""

import json
import shutil
from collections import namedtuple
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from drift.errors import DriftError
from drift.families import FAMILIES
from drift.files import sha256_of
from drift.processing import load_processor, sizes_by_area
from drift.selection import GEOMETRY_GROUPS
from pipelines import compose, preflight, tables
from pipelines.errors import RehearsalError
from pipelines.overrides import choices
from pipelines.rehearsal import checks, hub, marks
from pipelines.rehearsal.command import rehearse
from pipelines.rehearsal.cut import HEAD, LAYERS, cut
from pipelines.rehearsal.facts import FOLDER, differences, facts
from pipelines.rehearsal.rows import asked, chosen, fitting, made, makers
from pipelines.report.page import OPENINGS
from pipelines.stage import Runtime
from pipelines.stages import BenchmarksParams
from pipelines.stages.benchmarks import make_benchmarks

Usage = namedtuple("Usage", "total used free")
PAIRS = choices(compose.CONF / "pair")
REPOS = sorted(path.stem.replace("--", "/", 1) for path in FOLDER.glob("*.json"))
IDEFICS2 = compose.load(["profile=paper", "pair=idefics2_metamath"]).pair


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of the pair with the smallest vocabulary."""
    cache = tmp_path_factory.mktemp("hub")
    repos = [getattr(IDEFICS2, role).repo for role in checks.ROLES]
    return {repo: hub.write_model(cache, repo, hub.commit_of(repo)) for repo in repos}


@pytest.fixture
def own(folders: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """The same, to be broken at will."""
    return {repo: Path(shutil.copytree(folder, tmp_path / folder.name)) for repo, folder in folders.items()}


# --- what is cut ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repo", REPOS)
def test_a_cut_keeps_names_vocabulary_rope_and_the_ratio_of_heads(repo: str) -> None:
    whole, small = facts(repo).language, cut(facts(repo).config)
    language = small.get("text_config", small)
    kept = {"vocab_size", "rope_theta", "rms_norm_eps", "max_position_embeddings", "model_type", "tie_word_embeddings"}
    assert {key: language[key] for key in kept} == {key: whole[key] for key in kept}
    heads, keys = language["num_attention_heads"], language["num_key_value_heads"]
    assert heads * whole["num_key_value_heads"] == keys * whole["num_attention_heads"]
    assert (language["hidden_size"], language["num_hidden_layers"]) == (heads * HEAD, LAYERS)
    assert set(small) == set(facts(repo).config)
    if "rope_scaling" in small:
        assert sum(small["rope_scaling"]["mrope_section"]) == HEAD // 2


def test_a_made_checkpoint_is_sharded_named_as_on_the_hub_and_opens_with_its_real_processor(
    folders: dict[str, Path],
) -> None:
    folder = folders[IDEFICS2.mllm.repo]
    names = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(names.values())) > 1
    assert {"model.text_model.layers.1.self_attn.q_proj.weight", "lm_head.weight"} <= set(names)
    assert {"model.vision_model.encoder.layers.0.mlp.fc1.weight", "model.connector.perceiver_resampler.latents"} <= set(
        names
    )
    processor = load_processor(folder, "pil")
    assert type(processor).__name__ == "Idefics2Processor"
    assert not sizes_by_area(processor)
    tokenizer, known = processor.tokenizer, facts(IDEFICS2.mllm.repo)
    assert len(tokenizer) == known.language["vocab_size"]
    assert tokenizer.convert_tokens_to_ids("<image>") == known.config["image_token_id"]
    ids = tokenizer("x² = <image> 4", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == "x² = <image> 4"


def test_the_same_repository_is_the_same_weights(folders: dict[str, Path], tmp_path: Path) -> None:
    repo = IDEFICS2.base.repo
    again = hub.write_model(tmp_path, repo, "b" * 40)
    shards = sorted(path.name for path in again.glob("*.safetensors"))
    assert [sha256_of(again / name) for name in shards] == [sha256_of(folders[repo] / name) for name in shards]


def test_special_tokens_have_the_ids_that_the_configs_say() -> None:
    for repo, key, token in [
        ("Qwen/Qwen2.5-VL-7B-Instruct", "image_token_id", "<|image_pad|>"),
        ("Qwen/Qwen2-VL-2B-Instruct", "vision_start_token_id", "<|vision_start|>"),
        ("llava-hf/llama3-llava-next-8b-hf", "image_token_index", "<image>"),
        ("HuggingFaceM4/idefics2-8b", "image_token_id", "<image>"),
    ]:
        known = facts(repo)
        assert known.tokenizer is not None
        assert known.tokenizer.added[token] == known.config[key]


# --- faults that the plan shows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", PAIRS)
def test_what_is_committed_of_each_pair_fits(pair: str) -> None:
    config = compose.load(["profile=paper", f"pair={pair}"])
    assert checks.planned_faults([config]) == []
    assert facts(config.pair.mllm.repo).sized_by == FAMILIES[config.pair.family].sized_by


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["pair=idefics2_metamath", "pair.max_pixels=1048576"], "image limits of another family: .*sized by edges"),
        (["pair.family=llava_next"], "another family: pair.family is llava_next, sized by grid, and Qwen/Qwen2.5-VL"),
        (["pair=llava_next_dart", "selection=attn_mlp_norm_lm_head"], "another vocabulary: .*128320 words, .*128256;"),
        (["pair=qwen2_vl_2b_math", "selection=attn_mlp_norm_lm_head"], "Qwen2-VL-2B-Instruct ties it to its embedd"),
        (["pair.expert.repo=Qwen/Qwen2-Math-1.5B"], "another architecture: hidden_size is 3584 in .* and 1536 in"),
    ],
)
def test_a_fault_of_the_plan_is_named_before_anything_is_fetched(words: list[str], fault: str) -> None:
    config = compose.load(["profile=paper", *words])
    with pytest.raises(RehearsalError, match=fault):
        raise RehearsalError("\n".join(checks.planned_faults([config])))


def test_a_repository_that_nobody_wrote_down_is_refused_with_where_to() -> None:
    with pytest.raises(RehearsalError, match=r"nothing is known of a/b: write its config\.json .*a--b\.json"):
        facts("a/b")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["pair.mllm.revision=main"],
            "Qwen/Qwen2-VL-2B-Instruct is at 'main', which is no commit; write its 40 digits",
        ),
        (["image_backend=auto"], "reads the pictures of qwen2_vl with torchvision, and it is gone; say"),
    ],
)
def test_the_command_stops_at_them_and_makes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], message: str
) -> None:
    monkeypatch.setattr(preflight, "_torchvision_fault", lambda: "it is gone")
    with pytest.raises(RehearsalError, match=message):
        rehearse(["profile=small", f"store={tmp_path}", *words])
    assert not (tmp_path / ".rehearsal" / "hub").exists()


def test_too_little_disk_is_said_before_anything_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 1e9))
    with pytest.raises(RehearsalError, match=r"too little disk: a rehearsal writes up to 8 GB and .* has 1\.0 GB free"):
        rehearse(["profile=small", f"store={tmp_path}"])
    assert not any(tmp_path.iterdir())


# --- faults that the folders show -------------------------------------------------------------------------------------


def test_folders_as_they_are_made_pass(folders: dict[str, Path]) -> None:
    for repo, folder in folders.items():
        checks.check_folder(folder, facts(repo))
    checks.check_fit(folders, IDEFICS2, GEOMETRY_GROUPS)


def test_a_renamed_layer_is_named(own: dict[str, Path]) -> None:
    hub._respell(own[IDEFICS2.expert.repo], "model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.query")
    with pytest.raises(DriftError, match=r"model\.layers\.1\.self_attn\.query"):
        checks.check_fit(own, IDEFICS2, GEOMETRY_GROUPS)


def test_a_missing_shard_is_named(own: dict[str, Path]) -> None:
    folder = own[IDEFICS2.mllm.repo]
    shard = sorted(folder.glob("*.safetensors"))[-1]
    shard.unlink()
    with pytest.raises(DriftError, match=shard.name):
        checks.check_folder(folder, facts(IDEFICS2.mllm.repo))


def test_another_vocabulary_is_named(own: dict[str, Path]) -> None:
    folder = own[IDEFICS2.expert.repo]
    config = json.loads((folder / "config.json").read_text()) | {"vocab_size": 32002}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RehearsalError, match="vocab_size is 32002, written down is 32001"):
        checks.check_folder(folder, facts(IDEFICS2.expert.repo))


def test_a_test_split_that_is_the_validation_split_is_refused(tmp_path: Path) -> None:
    for split in ("validation", "test"):
        hub.write_benchmarks(tmp_path / split, ["WeMath"], 4, None)
    message = r"WeMath: 9 of its 9 test items are validation items, 'made-up-\d+' for one"
    with pytest.raises(RehearsalError, match=message):
        checks.check_splits(tmp_path / "validation", tmp_path / "test", ["WeMath"])


def test_made_up_tables_are_parted_as_published_ones_are(tmp_path: Path) -> None:
    names = ("MathVista_MINI", "WeMath", "HallusionBench")
    hub.write_benchmarks(tmp_path / "tables", names, 4, None)
    for split in ("validation", "test"):
        params = BenchmarksParams("folder", names, split, None, str(tmp_path / "tables"), "")
        (tmp_path / split).mkdir()
        assert min(make_benchmarks(params, Runtime(tmp_path), {}, tmp_path / split)["rows"].values()) > 0
    checks.check_splits(tmp_path / "validation", tmp_path / "test", names)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 2}, "r: 2 steps of 3"),
        ({"loss": float("nan")}, "r: 3 steps of 3, loss nan"),
        ({"covered": 13}, "r: the prior covers 13 of 14 parameters"),
    ],
)
def test_a_training_that_did_not_do_its_work_is_refused(values: dict, message: str) -> None:
    fine = {"steps": 3, "loss": 2.0, "covered": 14, "expected": 14}
    checks.check_trained(fine, "r", 3)
    with pytest.raises(RehearsalError, match=message):
        checks.check_trained(fine | values, "r", 3)


def test_differences_say_where_and_what() -> None:
    assert list(differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2, "d": 4})) == [
        "a.b is 3, written down is 1"
    ]


# --- rows and marks ---------------------------------------------------------------------------------------------------


def test_the_rows_that_are_run_go_every_way_that_the_plan_goes() -> None:
    specs = [tables.load(name) for name in ("table1", "table4", "table5", "figure2")]
    rows = tables.configured(specs, ["profile=paper", "seeds=[0]"], online=False)
    taken = chosen(rows)
    assert len(taken) < len(rows)
    assert _union(asked(table, config) for table, _, config in rows) == _union(
        asked(table, config) for table, _, config in taken
    )
    assert _union(made(config) for _, _, config in rows) == _union(map(made, makers(rows)))
    assert {config.pair.name for _, _, config in taken} == set(PAIRS) - {"qwen2_vl_2b_math", "qwen2_5_vl_counting"}
    for table in fitting(specs, taken):
        assert set(table.pairings.values()) <= {row.label for row in table.rows}


def _union(sets: Iterable[frozenset[tuple[str, ...]]]) -> frozenset[tuple[str, ...]]:
    return frozenset().union(*sets)


def test_a_row_of_another_number_goes_no_other_way() -> None:
    config = compose.load(["profile=paper", "method=drift"])
    assert made(config) == made(replace(config, injection=replace(config.injection, alpha=-0.3)))
    assert made(config) != made(replace(config, injection=replace(config.injection, scale="gradnorm")))


def test_a_report_of_every_profile_has_its_opening() -> None:
    assert set(choices(compose.CONF / "profile")) <= set(OPENINGS)


def test_every_number_of_a_page_says_that_it_is_none() -> None:
    page = (
        "# Table 2\n\n| row | A |\n|:--|:--|\n| SFT | 12.5 [67.9] |\n| DRIFT | – |\n\nBest of 3 settings.\nNo number.\n"
    )
    marked = marks.marked_page(page)
    assert "| SFT | REHEARSAL 12.5 [67.9] |\n| DRIFT | – |" in marked
    assert "REHEARSAL: Best of 3 settings.\nNo number.\n" in marked
    assert marks.marked_csv("row,A\nSFT,1.5\nDRIFT,\n") == "row,A\nSFT,REHEARSAL 1.5\nDRIFT,\n"
