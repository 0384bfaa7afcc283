"""Local engines answer each request as if it were alone, whatever the batch, and say how the answer ended."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pico_vl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drift.errors import DataError
from evaluation.engines.base import Engine, EngineError, GenerationSettings, Request
from evaluation.engines.config import PrecomputedConfig, TransformersConfig, load_engine
from evaluation.engines.generate import run_generation
from evaluation.engines.identity import folder_sha256

SETTINGS = GenerationSettings(max_new_tokens=24, batch_size=8)
CONFIG = TransformersConfig("transformers", SETTINGS, "float32", "pil", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return pico_vl.save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def engine(folder) -> Engine:
    return load_engine(CONFIG, folder)


def answers(engine: Engine, requests: list[Request], settings: GenerationSettings) -> dict[str, tuple]:
    return {r.index: (r.text, r.finish_reason, r.tokens) for r in engine.generate(requests, settings)}


def test_batched_greedy_answers_equal_one_by_one(engine):
    requests = pico_vl.requests(24)
    alone = answers(engine, requests, replace(SETTINGS, batch_size=1))
    assert answers(engine, requests, SETTINGS) == alone
    assert len({text for text, _, _ in alone.values()}) > 12
    assert {reason for _, reason, _ in alone.values()} == {"stop", "length"}


def test_two_processes_answer_as_one_does_byte_for_byte(engine, folder, tmp_path):
    requests, settings = pico_vl.requests(12), replace(SETTINGS, batch_size=2)
    run_generation(engine, requests, settings, tmp_path / "one.jsonl")
    parallel = load_engine(replace(CONFIG, replicas=2), folder)
    assert parallel.plan(requests, settings) == engine.plan(requests, settings)
    with pytest.raises(EngineError, match="the engine is not opened"):
        list(parallel.generate(requests, settings))
    with parallel.opened(tmp_path):
        run_generation(parallel, requests, settings, tmp_path / "two.jsonl")
    assert (tmp_path / "two.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()


def test_greedy_answer_is_the_argmax_of_a_full_forward_at_every_step(engine):
    for request in pico_vl.requests(4, seed=3):
        inputs = engine._encode((request,), SETTINGS)
        ids, tokens = inputs["input_ids"], []
        while len(tokens) < SETTINGS.max_new_tokens:
            types = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, len(tokens)))
            grown = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": types}
            with torch.inference_mode():
                token = int(engine._network(**grown, use_cache=False).logits[0, -1].argmax())
            if token == pico_vl.VOCABULARY.index("<|im_end|>"):
                break
            tokens.append(token)
            ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
        expected = engine._processor.tokenizer.decode(tokens, skip_special_tokens=False)
        assert answers(engine, [request], SETTINGS)[request.index] == (
            expected,
            "length" if len(tokens) == SETTINGS.max_new_tokens else "stop",
            len(tokens),
        )


def test_think_markup_survives_and_end_and_padding_do_not(engine):
    texts = " ".join(text for text, _, _ in answers(engine, pico_vl.requests(40), SETTINGS).values())
    assert "</think>" in texts
    row = [pico_vl.VOCABULARY.index(word) for word in ("<think>", "7", "</think>", "<|im_end|>", "<|endoftext|>")]
    response = engine._response(Request("a", "p"), row, SETTINGS)
    assert (response.text.split(), response.finish_reason, response.tokens) == (["<think>", "7", "</think>"], "stop", 3)


def test_image_changes_the_answer_and_system_prompt_reaches_the_template(engine):
    rng = np.random.default_rng(0)
    pictured = [Request(str(i), "sum ?", (pico_vl.png(rng),)) for i in range(8)]
    assert len({text for text, _, _ in answers(engine, pictured, SETTINGS).values()}) > 1
    ids = engine._encode((Request("a", "sum ?"),), replace(SETTINGS, system_prompt="think"))["input_ids"][0]
    assert engine._processor.tokenizer.decode(ids).split()[:3] == ["<|im_start|>", "system", "think"]


def test_every_request_is_planned_once_and_a_batch_plans_to_itself(engine):
    requests = pico_vl.requests(37)
    batches = engine.plan(requests, SETTINGS)
    assert sorted(r.index for batch in batches for r in batch) == sorted(r.index for r in requests)
    assert all(len({len(r.images) for r in batch}) == 1 for batch in batches)
    assert all(engine.plan(batch, SETTINGS) == [batch] for batch in batches)
    assert engine.plan([], SETTINGS) == []


def test_sampling_repeats_with_its_seed_and_skipping_other_batches_changes_nothing(engine):
    sampling = replace(SETTINGS, temperature=1.0, seed=1)
    batches = engine.plan(pico_vl.requests(24), sampling)
    whole = list(engine.run(batches, sampling))
    assert list(engine.run(batches[2:], sampling)) == whole[2:]
    other = engine.run(batches, replace(sampling, seed=2))
    assert [[r.text for r in batch] for batch in other] != [[r.text for r in batch] for batch in whole]


def test_a_published_repetition_penalty_does_not_touch_greedy_decoding(engine, folder, tmp_path):
    other = tmp_path / "published"
    other.mkdir()
    for path in folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    config = json.loads((other / "generation_config.json").read_text())
    config |= {"repetition_penalty": 5.0, "temperature": 0.1, "do_sample": True, "top_k": 1}
    (other / "generation_config.json").write_text(json.dumps(config))
    published = load_engine(CONFIG, other)
    requests = pico_vl.requests(8)
    assert answers(published, requests, SETTINGS) == answers(engine, requests, SETTINGS)
    assert answers(published, requests, replace(SETTINGS, repetition_penalty=5.0)) != answers(
        engine, requests, SETTINGS
    )


def test_pixel_limits_change_the_image_tokens_and_are_taken_back(engine):
    request = Request("0", "sum ?", (pico_vl.png(np.random.default_rng(0)),))
    lengths = []
    for limit in (None, 256, None):
        list(engine.generate([request], replace(SETTINGS, max_pixels=limit, max_new_tokens=1)))
        lengths.append(engine._encode((request,), SETTINGS)["input_ids"].shape[1])
    assert lengths[0] == lengths[2] == lengths[1] + 3  # 8 x 64 pixels are 8 merged patches of 8 x 8; shrunk to 8 x 40


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_model_identity_ignores_place_records_and_who_wrote_the_files(folder, tmp_path):
    copy = copied(folder, tmp_path / "copy")
    for name in ("summary.json", "injection.json", "job.json", "metrics.jsonl", "README.md", "log.txt"):
        (copy / name).write_text('{"seconds": 10.843}')
    config = json.loads((copy / "config.json").read_text())
    config = dict(reversed(config.items())) | {"transformers_version": "4.0", "_name_or_path": "/elsewhere"}
    (copy / "config.json").write_text(json.dumps(config))
    assert folder_sha256(copy) == folder_sha256(folder)


def test_model_identity_covers_all_that_decides_a_response(folder, tmp_path):
    names = ("config.json", "generation_config.json", "tokenizer_config.json", "preprocessor_config.json")
    seen = {folder_sha256(folder)}
    for name in names:
        copy = copied(folder, tmp_path / name)
        (copy / name).write_text(json.dumps(json.loads((copy / name).read_text()) | {"eos_token_id": 77}))
        seen.add(folder_sha256(copy))
    for name in ("model.safetensors", "tokenizer.json", "chat_template.jinja"):
        copy = copied(folder, tmp_path / name)
        content = bytearray((copy / name).read_bytes())
        content[-1] ^= 1  # of the weights, one bit of the last parameter
        (copy / name).write_bytes(content)
        seen.add(folder_sha256(copy))
    assert len(seen) == 1 + len(names) + 3
    copy = copied(folder, tmp_path / "bare")
    (copy / "model.safetensors").unlink()
    with pytest.raises(EngineError, match="holds no weights"):
        folder_sha256(copy)
    (copied(folder, tmp_path / "torn") / "config.json").write_text('{"model_')
    with pytest.raises(EngineError, match=r"config\.json is no JSON"):
        folder_sha256(tmp_path / "torn")


def test_settings_hash_ignores_what_cannot_change_a_greedy_answer():
    base = GenerationSettings()
    assert base.sha256() == replace(base, batch_size=99, seed=5, top_k=3).sha256()
    assert replace(base, temperature=1).sha256() == replace(base, temperature=1.0).sha256()
    hot = replace(base, temperature=1.0)
    changed = [replace(base, max_new_tokens=1), replace(base, max_pixels=9), replace(base, system_prompt="x"), hot]
    changed += [replace(hot, seed=5), replace(hot, top_k=3)]
    assert len({s.sha256() for s in [base, *changed]}) == len(changed) + 1


@given(st.text(max_size=20), st.lists(st.binary(max_size=8), max_size=3))
def test_prompt_hash_covers_text_and_images(prompt, images):
    request = Request("a", prompt, tuple(images))
    assert request.prompt_sha256 != replace(request, prompt=prompt + " ").prompt_sha256
    assert request.prompt_sha256 != replace(request, images=(*images, b"x")).prompt_sha256
    assert request.prompt_sha256 == replace(request, index="b").prompt_sha256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"temperature": -1}, "temperature is -1, expected at least 0"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(EngineError, match=message):
        GenerationSettings(**change)


def test_unusable_folders_dtypes_images_and_limits_are_refused(engine, folder, tmp_path):
    with pytest.raises(EngineError, match="no checkpoint"):
        load_engine(CONFIG, tmp_path)
    with pytest.raises(EngineError, match=r"unknown dtype 'float33'; did you mean 'float32'.*auto, bfloat16, float16"):
        replace(CONFIG, dtype="float33")
    with pytest.raises(EngineError, match="item '7': its image"):
        list(engine.generate([Request("7", "sum ?", (b"no image",))], SETTINGS))
    with pytest.raises(EngineError, match="max_pixels is 9, expected at least min_pixels"):
        replace(SETTINGS, min_pixels=99, max_pixels=9)


def test_precomputed_answers_come_back_unchanged_and_missing_ones_are_named(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"index": 1, "response": "<think>x</think> 7"}\n{"index": "2", "response": ""}\n')
    engine = load_engine(PrecomputedConfig("precomputed", SETTINGS, str(path)))
    got = answers(engine, [Request("2", "q"), Request("1", "q")], SETTINGS)
    assert got == {"2": ("", "unknown", None), "1": ("<think>x</think> 7", "unknown", None)}
    with pytest.raises(DataError, match="first missing index: '3'"):
        list(engine.generate([Request("1", "q"), Request("3", "q")], SETTINGS))
