"""What a call needs follows from its parameters, is printed by the plan, and changes no identity."""

from dataclasses import replace
from pathlib import Path

import pytest

from drift.errors import TrainingError
from pipelines import calibrate, compose, plan, sizes
from pipelines.errors import ConfigError
from pipelines.rates import STANDARD, GpuCheck, Measurement, Rate, Rates, Work, fit, read_gpu_check, with_gpu_check
from pipelines.rehearsal import facts as published
from pipelines.sizes import facts, of_repository, terms
from pipelines.stage import Call, Needs, ordered

PROFILES = ("lab", "paper")


def calls(*overrides: str) -> dict[str, Call]:
    return {call.stage.name: call for call in ordered([plan.score(compose.load(overrides))])}


def test_a_lab_takes_no_gpu_and_seconds() -> None:
    found = calls("method=drift", "injection.alpha=-0.3")
    assert {call.needs.gpus for call in found.values()} == {0}
    assert all(0 < call.needs.seconds < 300 for call in found.values())
    assert found["train"].needs.kept < 1e6


def test_the_papers_training_takes_a_gpu_a_process_and_a_merge_none() -> None:
    found = calls("profile=paper", "method=drift", "injection.alpha=-0.3", "train.offload=cpu")
    needs = found["train"].needs
    assert (needs.gpus, needs.cores, needs.memory_gb) == (8, 64, 24 * 8 + 100)
    four = replace(found["train"], params=replace(found["train"].params, processes=4))
    assert four.needs.gpus == 4
    computed = 8 * of_repository("Qwen/Qwen2.5-VL-7B-Instruct").parameters * (800 + 262144 / 784) * 4000 * 3 / 8
    slower = computed * STANDARD.rates["train/gpu"].flop  # half as many GPUs do it twice
    assert four.needs.seconds - needs.seconds == pytest.approx(slower)
    assert found["generate"].needs.gpus == 1
    assert calls("profile=paper", "method=ties")["merge"].needs.gpus == 0


@pytest.mark.parametrize("method", ["selective_rl", "star", "iso_c", "swudi", "sft_merge", "frism"])
def test_what_decomposes_takes_seconds_in_a_lab_and_at_the_papers_scale_a_gpu_at_most(method: str) -> None:
    lab, paper = (plan.checkpoint(compose.load([f"profile={profile}", f"method={method}"])) for profile in PROFILES)
    assert lab.needs.gpus == 0
    assert 0 < lab.needs.seconds < 300
    assert paper.needs.gpus == (method == "frism")
    assert paper.needs.gpu_memory_gb < 80
    assert lab.needs.seconds < paper.needs.seconds < 3600 * 24


def test_a_low_rank_takes_a_hundredth_of_deltas_room() -> None:
    whole, low = (plan.prior(compose.load(["profile=paper", *words])) for words in ([], ["prior.rank=4"]))
    assert low.needs.kept < whole.needs.kept / 100
    assert low.needs.kept > 1e6


def test_the_papers_batch_is_the_same_artifact_on_every_machine() -> None:
    paper = ("profile=paper", "method=drift")
    eight = calls(*paper)["train"]
    machines = [
        (["launcher.gpus=1"], "1 GPUs, 8 cores"),
        (["launcher.gpus=4"], "4 GPUs, 32 cores"),
        (["launcher=slurm", "launcher.gpus=4", "launcher.nodes=2"], "2 nodes of 4 GPUs, 32 cores"),
    ]
    for words, needs in machines:
        call = calls(*paper, *words)["train"]
        assert call.key == eight.key
        assert str(call.needs).startswith(needs)
    with pytest.raises(TrainingError, match=r"8 micro batches .* 3 processes can't share out: 1, 2, 4, 8 can"):
        calls(*paper, "launcher.gpus=3")
    with pytest.raises(ConfigError, match="2 nodes in one training need launcher=slurm"):
        calls(*paper, "launcher.nodes=2")


def test_downloads_may_be_retried_and_folders_need_not(tmp_path: object) -> None:
    found = calls("profile=paper", "method=baseline")
    assert found["model"].needs.retries == 2
    assert found["benchmarks"].needs.retries == 2
    assert calls("method=baseline")["model"].needs.retries == 0


def test_needs_read_as_a_line() -> None:
    assert str(Needs(8, 64, 192, 7200.0, 2)) == "8 GPUs, 64 cores, 192 GB, 120 min, 2 retries"
    assert str(Needs(seconds=0.2)) == "0 GPUs, 1 cores, 2 GB, 0.2 s"


def test_needs_are_part_of_no_key() -> None:
    call = calls("method=baseline")["score"]
    other = replace(call, stage=replace(call.stage, needs=None, seconds=99.0))
    assert other.key == call.key


@pytest.mark.parametrize(
    ("repo", "billions"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", 8.292),
        ("Qwen/Qwen2-VL-7B-Instruct", 8.291),
        ("llava-hf/llama3-llava-next-8b-hf", 8.355),
        ("HuggingFaceM4/idefics2-8b", 8.403),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", 7.616),
        ("Qwen/Qwen2-VL-2B-Instruct", 2.209),
    ],
)
def test_a_shape_has_the_parameters_of_the_models_card(repo: str, billions: float) -> None:
    assert of_repository(repo).parameters / 1e9 == pytest.approx(billions, abs=0.001)


@pytest.mark.parametrize("repo", sizes.facts().models)
def test_a_shape_is_that_of_the_published_config(repo: str) -> None:
    """But for the rows of a vocabulary that was padded or given image tokens."""
    config = dict(published.facts(repo).config)
    config |= dict(config.get("text_config") or {})
    shape = sizes.of_repository(repo).shape
    names = {
        "hidden": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
        "kv_heads": "num_key_value_heads", "feed_forward": "intermediate_size", "tied": "tie_word_embeddings",
    }  # fmt: skip
    said = {field: config[name] for field, name in names.items() if name in config}
    assert said == {field: getattr(shape, field) for field in said}
    assert 0 <= config["vocab_size"] - shape.vocab <= 64


def test_every_repository_of_every_pair_has_its_facts() -> None:
    pairs = [compose.load([f"pair={path.stem}"]).pair for path in (compose.CONF / "pair").glob("[!_]*.yaml")]
    named = {getattr(pair, role).repo for pair in pairs for role in ("mllm", "expert", "base", "prior_base")}
    assert named <= set(facts().models)
    assert terms("nobody/knows") == ("unknown", "unknown")


def test_what_is_known_of_the_papers_disk_and_memory() -> None:
    """A prior of 6.5 billion entries in bf16, a checkpoint of 8.3; 2 x (weights and 12 bytes of states) on the way."""
    found = calls("profile=paper", "method=drift", "injection.alpha=-0.3")
    assert found["prior"].needs.kept / 1e9 == pytest.approx(13.05, abs=0.01)
    train = found["train"].needs
    assert train.kept / 1e9 == pytest.approx(16.58, abs=0.01)
    assert train.passing == pytest.approx(14 * train.kept)
    assert 40 < train.gpu_memory_gb < 80
    assert found["model"].needs.downloaded == of_repository(found["model"].params.repo).bytes


def test_a_judge_costs_its_tokens() -> None:
    words = ("profile=paper", "method=baseline", "judge=openai", "judge.completion_price=0")
    cheap, dear = (calls(*words, f"judge.prompt_price={price}")["judge"].needs.dollars for price in (1, 10))
    assert dear == pytest.approx(10 * cheap)
    official, toolkit = (
        calls(*words, "judge.prompt_price=10", f"judge.mode={mode}")["judge"].needs.dollars
        for mode in ("official", "vlmevalkit")
    )
    # MATH-V's own rules ask nobody, and the toolkit's ask about what they can't read.
    assert 10 < official < toolkit < 63
    assert calls(*words)["score"].needs.dollars == 0
    assert "judge" not in calls("profile=paper", "method=baseline", "judge=rules")
    assert calls("profile=paper", "method=baseline")["judge"].needs.dollars == 0  # a model of one's own


def test_rates_are_recovered_from_what_they_made() -> None:
    true = Rate(start=3.0, step=0.5, flop=2e-11, byte=3e-10)
    works = [Work(s, f, b) for s in (10, 100) for f in (1e10, 1e12) for b in (1e8, 1e10)]
    measured = [Measurement("train", "cpu", work, true.seconds(work)) for work in works]
    found = fit(measured).rates["train/cpu"]
    other = Work(500, 5e12, 2e9)
    assert found.seconds(other) == pytest.approx(true.seconds(other), rel=0.05)


def test_one_measurement_scales_what_it_leaves_open_and_is_itself_remembered() -> None:
    work = Work(steps=300, flops=1e11, bytes=1e6)
    twice = 2 * STANDARD.seconds("train", "cpu", work)
    found = fit([Measurement("train", "cpu", work, twice)])
    assert found.rates["train/cpu"].seconds(Work(600, 2e11, 2e6)) == pytest.approx(2 * twice, rel=0.1)
    assert found.seconds("train", "cpu", work) == twice
    assert found.rates["merge/cpu"] == STANDARD.rates["merge/cpu"]


def test_a_call_counts_the_same_work_on_every_machine() -> None:
    call = calls("method=drift", "injection.alpha=-0.3")["train"]
    stage, device, work = calibrate.work_of(call)
    assert (stage, device, work.steps) == ("train", "cpu", 300)
    slow = Rates({**STANDARD.rates, "train/cpu": Rate(step=1.0)})
    assert call.needs_on(slow).seconds == 300


def test_a_gpu_check_sets_a_gpus_rates(tmp_path: Path) -> None:
    file = tmp_path / "check.json"
    file.write_text(
        '{"device": "H100", "train_tokens_per_s": 2000, "generate_tokens_per_s": 200, "merge_bytes_per_s": 1e9, "x": 1}'
    )
    check = read_gpu_check(file)
    assert check == GpuCheck("H100", 2000, 200, 1e9)
    rates = with_gpu_check(STANDARD, check)
    tokens = Work(flops=8 * check.parameters * 4000)
    assert rates.rates["train/gpu"].seconds(tokens) - rates.rates["train/gpu"].start == pytest.approx(2.0)
    file.write_text('{"device": "H100"}')
    with pytest.raises(ConfigError, match="is no GPU check: train_tokens_per_s: Field required"):
        read_gpu_check(file)
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        read_gpu_check(tmp_path / "none.json")
