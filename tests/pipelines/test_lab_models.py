"""The laboratory's models: the lean passes compute what transformers computes, and a tiny world goes all the way."""

import dataclasses
import io
import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoTokenizer, PreTrainedModel

from drift.checkpoints import Checkpoint
from drift.families import family_of
from drift.geometry import layer_geometry, summarise
from drift.processing import load_processor
from pipelines import compose
from pipelines.lab.config import VisionShape, WorldConfig
from pipelines.lab.families import LAB_FAMILIES, LabFamily, get_lab_family
from pipelines.lab.gates import Figure, GateError, check_gates
from pipelines.lab.images import draw_strip, encode_png, load_pool, to_pixels
from pipelines.lab.language import DRAWS, asked, draw_any, fold
from pipelines.lab.loops import (
    IGNORED,
    Batch,
    answer,
    batch_loss,
    make_batch,
    mllm_parts,
    rate,
    reproducible,
    share_right,
    text_parts,
)
from pipelines.lab.mixes import EXPERT, MLLM, Exercise, draw_exercises
from pipelines.lab.pretrain import build_base, build_expert, build_other_expert, move_expert, permute_units
from pipelines.lab.text_families import TEXT, get_text_family
from pipelines.lab.tokenizer import TOKENS, Markup, build_tokenizer, vocabulary
from pipelines.lab.vision import build_mllm, save_mllm

SMOKE = compose.load(["world=smoke"]).world
SHORT = {"batch": 8, "steps": 8}
PICO = dataclasses.replace(
    SMOKE,
    name="pico",
    language=dataclasses.replace(SMOKE.language, hidden=32, layers=2, heads=2, kv_heads=1, feed_forward=48),
    vision=VisionShape(hidden=32, depth=1, heads=2, feed_forward=32),
    base=dataclasses.replace(SMOKE.base, steps=12, batch=8),
    expert=dataclasses.replace(SMOKE.expert, **SHORT),
    cells=dataclasses.replace(SMOKE.cells, weight_decay=0.01, **SHORT),
    mllm=dataclasses.replace(SMOKE.mllm, learning_rate=1e-3, **SHORT),
    suite_items=4,
    wemath_groups=2,
    gates=dataclasses.replace(SMOKE.gates, cell_accuracy=0.0, problems=6, suite_items=4, wemath_groups=2),
)


FAMILIES = pytest.mark.parametrize("family", LAB_FAMILIES.values(), ids=lambda row: row.name)


def _text_model(family: str = "qwen2", seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return _shaken(get_text_family(family).build(SMOKE.language))


def _mllm(family: LabFamily, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return _shaken(family.build(SMOKE))


def _shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Large random weights, biases and norms too: near zero every wrong formula looks right."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def _image_exercises(n: int) -> list[Exercise]:
    rng = Random(3)
    return [Exercise(draw_any(rng, (2, 3, 4)), think=True, image=True) for _ in range(n)]


@pytest.mark.parametrize(
    "markup", dict.fromkeys(row.markup for row in LAB_FAMILIES.values()), ids=lambda m: m.image_token
)
def test_the_table_and_the_real_tokenizer_agree_and_give_the_text_back(markup: Markup) -> None:
    tokenizer, words = build_tokenizer(markup), vocabulary(markup)
    for exercise in draw_exercises((*EXPERT, *MLLM), Random(0), 200):
        target = words.target(exercise)
        text = tokenizer.decode(target)
        assert tokenizer(text)["input_ids"] == target
        assert text.endswith("} <|im_end|>")
    assert len(tokenizer) == len(words) == len(set(words.tokens)) == len(TOKENS) + len(markup.extra)


def test_the_chat_template_gives_the_recipe_s_prompts() -> None:
    tokenizer = build_tokenizer()
    image = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "sum ? think"}]}]
    assert tokenizer.apply_chat_template(image, add_generation_prompt=True, tokenize=False) == (
        "<|im_start|> user <|vision_start|> <|image_pad|> <|vision_end|> sum ? think <|im_end|> <|im_start|> assistant"
    )
    text = [{"role": "user", "content": "list 3 8 5 . sum ?"}, {"role": "assistant", "content": "\\boxed{ 6 }"}]
    assert tokenizer.apply_chat_template(text, tokenize=False) == (
        "<|im_start|> user list 3 8 5 . sum ? <|im_end|> <|im_start|> assistant \\boxed{ 6 } <|im_end|>"
    )


def test_a_decoded_reply_can_be_read_and_keeps_its_think() -> None:
    target = vocabulary().target(Exercise(fold((3, 8, 5), "sum"), think=True, image=True))
    text = build_tokenizer().decode(target, skip_special_tokens=True)
    assert text == "<think> 3 8 5 . 3 + 8 = 1 + 5 = 6 </think> \\boxed{ 6 }"


def test_words_outside_the_language_are_unknown_not_lost() -> None:
    tokenizer = build_tokenizer()
    assert tokenizer("how many apples ?")["input_ids"] == [tokenizer.unk_token_id] * 3 + [vocabulary().ids["?"]]


@pytest.mark.parametrize("family", TEXT)
def test_the_lean_text_loss_is_that_of_transformers(family: str) -> None:
    model = _text_model(family)
    batch = make_batch(draw_exercises(EXPERT, Random(0), 12), vocabulary(), load_pool("mllm"), np.random.default_rng(0))
    logits = model(input_ids=batch.ids).logits[:, batch.keep_from :]
    stock = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED)
    assert batch_loss(text_parts(model, SMOKE.language), batch).item() == pytest.approx(stock.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl"])
def test_the_lean_gradient_is_that_of_transformers_on_a_batch_of_images_and_text(name: str) -> None:
    family = get_lab_family(name)
    model, words = _mllm(family), vocabulary()
    batch = make_batch(draw_exercises(MLLM, Random(1), 10), words, load_pool("mllm"), np.random.default_rng(0))
    assert 0 < len(batch.pixels) < 10
    batch_loss(mllm_parts(model, SMOKE.language, family), batch).backward()
    lean = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    _stock_loss(model, batch, words.ids["<|image_pad|>"]).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(lean[name], parameter.grad, rtol=2e-3, atol=2e-5, msg=name)


def _stock_loss(model: torch.nn.Module, batch: Batch, image_id: int) -> torch.Tensor:
    n = len(batch.pixels)
    patches = batch.pixels.view(n, 2, 4, 8, 2, 4).permute(0, 3, 1, 4, 2, 5).reshape(n, 32, 1, 16)
    inputs = {
        "input_ids": batch.ids,
        "mm_token_type_ids": (batch.ids == image_id).int(),
        "pixel_values": patches.expand(n, 32, 6, 16).reshape(n * 32, 96),
        "image_grid_thw": torch.tensor([[1, 2, 16]] * n),
    }
    logits = model(**inputs).logits[:, batch.keep_from :]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED)


@FAMILIES
def test_features_and_greedy_replies_are_those_of_the_saved_folder(family: LabFamily, tmp_path: Path) -> None:
    save_mllm(_mllm(family), family, tmp_path)
    assert family_of(tmp_path).name == family.name
    model = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    processor = load_processor(tmp_path, "pil")
    exercises, pixels = _image_exercises(8), np.random.default_rng(0)
    strips = np.stack([draw_strip(e.problem, load_pool("test"), pixels) for e in exercises])
    shown = torch.from_numpy(to_pixels(strips))
    inputs = processor(
        text=[_prompt(processor, asked(e.problem, think=True)) for e in exercises],
        images=[Image.open(io.BytesIO(encode_png(s))) for s in strips],
        return_tensors="pt",
        padding=True,
        padding_side="left",
    )
    parts = mllm_parts(model, SMOKE.language, family)
    image_id = parts.words.ids[family.markup.image_token]
    assert bool(
        ((inputs["input_ids"] == image_id).sum(1) == family.markup.tokens.count(family.markup.image_token)).all()
    )
    with torch.no_grad():
        seen = {key: inputs[key] for key in inputs if key not in ("input_ids", "attention_mask", "mm_token_type_ids")}
        features = model.model.get_image_features(**seen).pooler_output
        features = features if isinstance(features, torch.Tensor) else torch.stack(list(features))
        torch.testing.assert_close(
            parts.see(shown), features.view(8, -1, parts.see(shown).shape[-1]), rtol=1e-4, atol=1e-4
        )
    generated = model.generate(**inputs, max_new_tokens=52)[:, inputs["input_ids"].shape[1] :]
    stock = [parts.words.decode(row.tolist()) for row in generated]
    assert answer(parts, exercises, shown) == stock


def _prompt(processor, question: str) -> str:
    content = [{"type": "image"}, {"type": "text", "text": question}]
    return processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)


def test_a_large_image_shrinks_to_the_area_of_a_strip() -> None:
    processor = get_lab_family("qwen2_5_vl").processor()
    text = _prompt(processor, "read ?")
    inputs = processor(text=[text], images=[Image.new("RGB", (640, 480))], return_tensors="pt")
    assert 0 < inputs["image_grid_thw"].prod().item() * 16 <= 512


def test_permuting_mlp_units_moves_the_weights_and_keeps_the_function() -> None:
    model = _text_model()
    ids = torch.randint(8, len(TOKENS), (4, 20))
    before, weight = model(input_ids=ids).logits, model.model.layers[0].mlp.up_proj.weight.clone()
    permute_units(model, 0.5)
    torch.testing.assert_close(model(input_ids=ids).logits, before, rtol=1e-4, atol=1e-5)
    moved = (model.model.layers[0].mlp.up_proj.weight != weight).any(1).float().mean()
    assert moved.item() == pytest.approx(0.5, abs=0.02)


def test_the_learning_rate_warms_up_and_ends_near_zero() -> None:
    schedule = dataclasses.replace(SMOKE.base, steps=100, learning_rate=1.0)
    assert [rate(schedule, s) for s in (0, 4, 5)] == pytest.approx([0.2, 1.0, 1.0])
    assert rate(schedule, 99) < 0.001


def test_a_reply_is_right_by_its_last_box() -> None:
    exercise = Exercise(fold((3, 8, 5), "sum"), think=True, image=False)
    replies = ["\\boxed{ 6 }", "\\boxed{ 1 } \\boxed{ 6 }", "\\boxed{ 5 }", "6", "\\boxed{ 6"]
    assert [share_right([exercise], [r]) for r in replies] == [1, 1, 0, 0, 1]
    read = Exercise(DRAWS["read"](Random(0), 3), think=False, image=True)
    assert share_right([read], [f"\\boxed{{ {read.problem.answer} }}"]) == 1


def test_a_missed_gate_says_the_figure_and_the_gate_and_keeps_the_record(tmp_path: Path) -> None:
    figures = [Figure("cell accuracy", 0.99, 100, low=0.98), Figure("think score", 0.7, 200, low=0.25, high=0.6)]
    with pytest.raises(GateError, match=r"lab world 3, MLLM: think score is 0\.700 on 200 .* gate is 0\.25 to 0\.60"):
        check_gates(tmp_path, "lab world 3, MLLM", figures)
    rows = json.loads((tmp_path / "quality.json").read_text())["figures"]
    assert [row["is_met"] for row in rows] == [True, False]


def test_a_world_goes_from_nothing_to_an_mllm_and_repeats_bit_for_bit(tmp_path: Path) -> None:
    for run in ("a", "b"):
        _build(PICO, tmp_path / run)
    for stage in ("base", "expert", "mllm"):
        first, second = ((tmp_path / run / stage / "model.safetensors").read_bytes() for run in ("a", "b"))
        assert first == second
        assert AutoTokenizer.from_pretrained(tmp_path / "a" / stage).eos_token == "<|im_end|>"
    assert family_of(tmp_path / "a" / "mllm").name == "qwen2_5_vl"


def _build(config: WorldConfig, out: Path, family: str = "qwen2_5_vl", text: str = "qwen2") -> None:
    build_base(config, text, out / "base")
    build_expert(config, text, "near", out / "base", out / "expert")
    build_mllm(config, family, out / "base", out / "mllm")


@pytest.mark.parametrize(("family", "text"), [("llava_next", "llama"), ("idefics2", "mistral"), ("qwen2_vl", "qwen2")])
def test_every_family_is_built_from_its_own_text_model_and_its_lm_is_found(
    family: str, text: str, tmp_path: Path
) -> None:
    _build(PICO, tmp_path, family, text)
    names = Checkpoint(tmp_path / "mllm").lm_names()
    assert (family_of(tmp_path / "mllm").name, family_of(tmp_path / "base").name) == (family, text)
    assert names.keys() == Checkpoint(tmp_path / "base").lm_names().keys()
    extra = len(get_lab_family(family).markup.extra)
    assert Checkpoint(tmp_path / "mllm").spec(names["lm_head.weight"]).shape[0] == len(TOKENS) + extra


def test_a_far_expert_is_the_near_one_at_another_place(tmp_path: Path) -> None:
    _build(PICO, tmp_path)
    for distance in ("far", "farthest"):
        move_expert(PICO, "qwen2", distance, tmp_path / "expert", tmp_path / distance)
    places = ("expert", "far", "farthest")
    near, far, farthest = (layer_geometry(tmp_path / "mllm", tmp_path / place, ("mlp",)) for place in places)
    distances = [summarise(rows)["total"][0]["l2"] for rows in (near, far, farthest)]
    assert distances == sorted(distances)
    replies = {place: json.loads((tmp_path / place / "quality.json").read_text())["figures"] for place in places}
    assert replies["far"][0]["value"] == replies["farthest"][0]["value"] == replies["expert"][0]["value"]


def test_building_leaves_torch_s_random_state_and_threads_alone() -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    with reproducible(5):
        torch.randn(3)
        assert torch.get_num_threads() == 1
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_an_expert_below_its_gate_stops_the_world(tmp_path: Path) -> None:
    build_base(PICO, "qwen2", tmp_path / "base")
    strict = dataclasses.replace(PICO, gates=dataclasses.replace(PICO.gates, expert_text=0.95))
    with pytest.raises(GateError, match=r"pico world 0, default qwen2 expert: validation text is 0\.\d+ on 6 problems"):
        build_expert(strict, "qwen2", "default", tmp_path / "base", tmp_path / "expert")


def test_an_expert_of_another_skill_must_have_learnt_it_and_reason_about_nothing_else(tmp_path: Path) -> None:
    build_base(PICO, "qwen2", tmp_path / "base")
    build_other_expert(PICO, "qwen2", "default", tmp_path / "base", tmp_path / "other")
    figures = json.loads((tmp_path / "other" / "quality.json").read_text())["figures"]
    assert [figure["name"] for figure in figures] == ["counts in text", "validation text"]
    strict = dataclasses.replace(PICO, gates=dataclasses.replace(PICO.gates, other_skill=0.95))
    with pytest.raises(GateError, match=r"default qwen2 counting expert: counts in text is 0\.\d+ on 6 problems"):
        build_other_expert(strict, "qwen2", "default", tmp_path / "base", tmp_path / "strict")
