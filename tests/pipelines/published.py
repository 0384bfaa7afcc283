"""Processor folders laid out and sized as the hub has them, with the lab's tokenizer: no weights, no network.

The numbers are those of Qwen/Qwen2-VL-7B-Instruct, Qwen/Qwen2.5-VL-7B-Instruct, llava-hf/llama3-llava-next-8b-hf and
HuggingFaceM4/idefics2-8b.
"""

import json
from pathlib import Path
from typing import Any

from pipelines.lab.tokenizer import IDEFICS2, LLAVA_NEXT, QWEN_VL, build_tokenizer

_CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
_QWEN: dict[str, Any] = _CLIP | {
    "image_processor_type": "Qwen2VLImageProcessor",
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
}
_PREPROCESSORS: dict[str, dict[str, Any]] = {
    "qwen2_vl": _QWEN | {"processor_class": "Qwen2VLProcessor"},
    "qwen2_5_vl": _QWEN | {"processor_class": "Qwen2_5_VLProcessor"},
    "llava_next": _CLIP
    | {
        "image_processor_type": "LlavaNextImageProcessor",
        "processor_class": "LlavaNextProcessor",
        "aspect_ratio_setting": "anyres",
        "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
        "size": {"shortest_edge": 336},
        "crop_size": {"height": 336, "width": 336},
        "resample": 3,
    },
    "idefics2": {
        "image_processor_type": "Idefics2ImageProcessor",
        "processor_class": "Idefics2Processor",
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_image_splitting": True,
        "size": {"longest_edge": 980, "shortest_edge": 378},
        "resample": 2,
    },
}
_PROCESSORS: dict[str, dict[str, Any]] = {
    "llava_next": {
        "processor_class": "LlavaNextProcessor",
        "image_token": "<image>",
        "num_additional_image_tokens": 1,
        "patch_size": 14,
        "vision_feature_select_strategy": "default",
    },
    "idefics2": {"processor_class": "Idefics2Processor", "image_seq_len": 64},
}
_MARKUP = {"qwen2_vl": QWEN_VL, "qwen2_5_vl": QWEN_VL, "llava_next": LLAVA_NEXT, "idefics2": IDEFICS2}
FAMILIES = tuple(_PREPROCESSORS)


def save(family: str, folder: Path) -> Path:
    """Tokenizer, config.json, preprocessor_config.json, processor_config.json and chat_template.json; the folder."""
    tokenizer = build_tokenizer(_MARKUP[family])
    template, tokenizer.chat_template = tokenizer.chat_template, None
    tokenizer.model_max_length = 32768
    tokenizer.save_pretrained(folder)
    files = {
        "config.json": {"model_type": family},
        "preprocessor_config.json": _PREPROCESSORS[family],
        "processor_config.json": _PROCESSORS.get(family),
        "chat_template.json": {"chat_template": template},
    }
    for name, fields in files.items():
        if fields is not None:
            (folder / name).write_text(json.dumps(fields))
    return folder
