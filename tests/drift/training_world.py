"""A world for training tests: a pico Qwen2.5-VL and its processor in one folder, a prior, sharegpt data with images.

64 words, ids as in pico.py: 0 padding, 2 `<|im_end|>`, 60 `<|image_pad|>`. Images are 8x8, 16x8 or 8x16 pixels.
"""

import json
from pathlib import Path

import numpy as np
import pico
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from drift.prior import ReasoningPrior
from drift.processing import DriftProcessor, save_processor
from drift.training import InjectionConfig, TrainingConfig, TrainingJob

WORDS = ["<pad>", "<unk>", "<|im_end|>", "<|im_start|>", "user", "assistant", "system", "think", "<think>", "</think>"]
WORDS += [str(digit) for digit in range(10)] + ["sum", "+", "=", ".", "answer"]
WORDS += [f"w{n}" for n in range(len(WORDS), 60)]
WORDS += ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|> {{ m['role'] }} "
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %} <|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)


def processor() -> DriftProcessor:
    """Words apart at spaces and at special tokens; patches of 4, merged by 2."""
    core = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<|im_end|>",
        additional_special_tokens=[word for word in WORDS if word.startswith("<|")],
    )
    images = Qwen2VLImageProcessorPil(
        patch_size=4, merge_size=2, min_pixels=64, max_pixels=4096, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return DriftProcessor(images, tokenizer, chat_template=TEMPLATE)


def ids(text: str) -> list[int]:
    """Token ids of words apart by spaces."""
    return [WORDS.index(word) for word in text.split()]


def save_world(root: Path) -> Path:
    """root/mllm (model and processor), root/prior and root/data/train.json; the root."""
    mllm, expert, _ = pico.save_pair("qwen2_5_vl", root)
    save_processor(processor(), mllm)
    ReasoningPrior.extract(mllm, expert, root / "prior")
    save_data(root / "data", 12)
    return root


def save_data(folder: Path, examples: int) -> Path:
    """train.json of sums of two digits, each with an image of one of three sizes."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    items = []
    for n in range(examples):
        height, width = [(8, 8), (16, 8), (8, 16)][n % 3]
        Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(folder / f"images/{n}.png")
        a, b = (int(digit) for digit in rng.integers(0, 5, 2))
        reply = f"<think> {a} + {b} = {a + b} </think> answer {a + b}"
        messages = [{"role": "user", "content": f"<image>sum {a} {b} think"}, {"role": "assistant", "content": reply}]
        items.append({"messages": messages, "images": [f"images/{n}.png"]})
    path = folder / "train.json"
    path.write_text(json.dumps(items))
    return path


def settings(**changes: object) -> TrainingConfig:
    """Two epochs of six steps of two examples, fp32, everything visible at each step."""
    fields: dict = {
        "epochs": 2,
        "learning_rate": 1e-3,
        "warmup_ratio": 0.1,
        "global_batch": 2,
        "per_device_batch_size": 2,
        "precision": "fp32",
        "image_max_pixels": None,
        "add_tokens": (),
        "gradient_checkpointing": False,
        "save_steps": 0,
        "logging_steps": 1,
        "image_backend": "pil",
        "cutoff_len": 64,
    }
    return TrainingConfig(**(fields | changes))


def make_job(
    world: Path,
    out: Path,
    *,
    injection: InjectionConfig | None = None,
    prior: bool = True,
    processes: int = 1,
    **changes,
) -> TrainingJob:
    """A job on the world's model and data."""
    return TrainingJob(
        model=world / "mllm",
        data=world / "data" / "train.json",
        out=out,
        prior=world / "prior" if prior else None,
        training=settings(**changes),
        injection=injection or InjectionConfig(),
        processes=processes,
    )
