"""What a processor must do: image tokens equal merged patches, and a saved folder reads back the same."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from drift.errors import CheckpointError
from drift.processing import DriftProcessor, load_processor, save_processor, set_pixel_limits

WORDS = ["<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|> {{ m.role }} {% for c in m.content %}"
    "{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}"
    "{% endfor %} <|im_end|> {% endfor %}"
)


def build(patch: int = 4) -> DriftProcessor:
    words = [*WORDS, "user", "assistant", "what", "is", "it"]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=WORDS[2:],
    )
    images = Qwen2VLImageProcessorPil(
        patch_size=patch, merge_size=2, min_pixels=64, max_pixels=4096, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return DriftProcessor(images, tokenizer, chat_template=TEMPLATE)


def picture(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_each_image_gets_one_token_per_merged_patch():
    """8x64 pixels in patches of 4 are a 2x16 grid, 8 merged tokens; 16x16 are 4x4, 4 merged tokens."""
    texts = [
        "<|vision_start|><|image_pad|><|vision_end|> what",
        "<|vision_start|><|image_pad|><|vision_end|> what is it",
    ]
    out = build()(text=texts, images=[picture(8, 64), picture(16, 16)], return_tensors="pt", padding=True)
    assert out["image_grid_thw"].tolist() == [[1, 2, 16], [1, 4, 4]]
    is_image = out["input_ids"] == WORDS.index("<|image_pad|>")
    assert is_image.sum(1).tolist() == [8, 4]
    assert torch.equal(out["mm_token_type_ids"], is_image.long())
    assert out["pixel_values"].shape == (32 + 16, 3 * 2 * 4 * 4)


def test_saved_processor_reads_back_the_same_bits(tmp_path):
    processor = build()
    save_processor(processor, tmp_path)
    again = load_processor(tmp_path, "pil")
    text, image = ["<|vision_start|><|image_pad|><|vision_end|> what is it"], [picture(8, 64)]
    one, two = (p(text=text, images=image, return_tensors="pt") for p in (processor, again))
    assert {k: v.tolist() for k, v in one.items()} == {k: v.tolist() for k, v in two.items()}
    assert again.chat_template == TEMPLATE
    config = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert config["image_processor_type"] == "Qwen2VLImageProcessor"
    assert (tmp_path / "chat_template.jinja").read_text() == TEMPLATE
    assert (tmp_path / "tokenizer.json").is_file()


def test_pixel_limits_change_the_grid_at_load_and_after(tmp_path):
    save_processor(build(), tmp_path)
    small = load_processor(tmp_path, "pil", max_pixels=256)
    call = {"text": ["<|image_pad|>"], "images": [picture(32, 32)], "return_tensors": "pt"}
    assert small(**call)["image_grid_thw"].tolist() == [[1, 4, 4]]
    set_pixel_limits(small, min_pixels=1024, max_pixels=1024)
    assert small(**call)["image_grid_thw"].tolist() == [[1, 8, 8]]
    with pytest.raises(CheckpointError, match="min_pixels 512 is above max_pixels 256"):
        set_pixel_limits(small, min_pixels=512, max_pixels=256)


def test_chat_template_of_the_older_json_place_is_read(tmp_path):
    save_processor(build(), tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": "older"}))
    assert load_processor(tmp_path, "pil").chat_template == "older"


def test_refusals(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint folder at"):
        load_processor(tmp_path / "absent", "pil")
    with pytest.raises(CheckpointError, match="did you mean 'pil'"):
        load_processor(tmp_path, "pill")
    with pytest.raises(CheckpointError, match="holds no tokenizer or no preprocessor_config"):
        load_processor(tmp_path, "pil")
    processor = build()
    del_image = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>")))
    with pytest.raises(CheckpointError, match=r"no '<\|image_pad\|>'"):
        DriftProcessor(processor.image_processor, del_image)


def test_auto_without_an_image_processor_is_an_error_not_a_tokenizer(tmp_path):
    """AutoProcessor gives the bare tokenizer for a folder that has nothing else."""
    build().tokenizer.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="choose image_backend=pil"):
        load_processor(tmp_path, "auto")
