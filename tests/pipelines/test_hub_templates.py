"""What is learnt under the chat templates that the hub publishes for each family, token by token, and from where on.

The templates here are written anew; what they write of three conversations was compared with the published ones of
Qwen2-VL and Qwen2.5-VL, of LLaVA-NeXT on Llama 3, Mistral and Vicuna, and of Idefics2. Tokenizers have the published
classes and special tokens; that of Idefics2, Mistral's own, stands for LLaVA-NeXT's on Mistral and Vicuna.
"""

import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, Idefics2Processor, LlavaNextProcessor, PreTrainedTokenizerBase
from transformers.processing_utils import ProcessorMixin

from drift.processing import DriftProcessor
from drift.training.batches import IGNORED
from drift.training.conversations import Conversation, Turn
from drift.training.data import encode
from evaluation.engines.base import GenerationSettings, Request
from evaluation.engines.openai import start_token
from evaluation.engines.transformers import TransformersEngine
from pipelines.lab.families import get_lab_family
from pipelines.rehearsal.facts import facts
from pipelines.rehearsal.tokenizers import TEMPLATES, write_tokenizer

REPLY = "<think>3 + 4 = 7</think>\n\\boxed{7}"
ADD, SUM, HERE = "Add 3 and 4.", "What is the sum?", "And here?"
CONVERSATIONS = {
    "picture": (Turn("user", f"<image>{SUM}"), Turn("assistant", REPLY)),
    "turns": (Turn("user", ADD), Turn("assistant", "7"), Turn("user", f"<image>{HERE}"), Turn("assistant", REPLY)),
    "system": (Turn("system", "Be brief."), Turn("user", ADD), Turn("assistant", REPLY)),
}
_TEXTS = "{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}"
_PICTURES = "{% for part in message.content if part.type == 'image' %}<image>\n{% endfor %}"
MISTRAL = (
    "{% for message in messages %}"
    f"{{% if message.role == 'user' %}}[INST] {_PICTURES}{_TEXTS} [/INST]"
    f"{{% elif message.role == 'assistant' %}} {_TEXTS}<\\s> "
    f"{{% else %}}<<SYS>>\n{_TEXTS}{{{{ '\n<</SYS>>\n\n' }}}}{{% endif %}}"
    "{% endfor %}"
)
VICUNA = (
    "{% for message in messages %}"
    "{% if message.role != 'system' %}{{ message.role | upper }}: {% endif %}"
    f"{_PICTURES}{_TEXTS} "
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
_QWEN = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
_SEEN = "<|vision_start|><|image_pad|><|vision_end|>"
_USER3, _ASK3 = "<|start_header_id|>user<|end_header_id|>\n\n", "<|start_header_id|>assistant<|end_header_id|>\n\n"


@dataclass(frozen=True)
class Published:
    """A family's processor, and of each conversation the prompts and replies in turn, the start token before all."""

    family: str
    repo: str
    template: str
    start: str
    pieces: dict[str, list[str]]


HUB = {
    "qwen": Published(
        "qwen2_5_vl",
        "Qwen/Qwen2.5-VL-7B-Instruct",
        TEMPLATES["qwen_vl"],
        "",
        {
            "picture": [f"{_QWEN}{_SEEN}{SUM}<|im_end|>\n<|im_start|>assistant\n", f"{REPLY}<|im_end|>\n"],
            "turns": [
                f"{_QWEN}{ADD}<|im_end|>\n<|im_start|>assistant\n",
                "7<|im_end|>\n",
                f"<|im_start|>user\n{_SEEN}{HERE}<|im_end|>\n<|im_start|>assistant\n",
                f"{REPLY}<|im_end|>\n",
            ],
            "system": [
                f"<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n{ADD}<|im_end|>\n<|im_start|>assistant\n",
                f"{REPLY}<|im_end|>\n",
            ],
        },
    ),
    "llama3": Published(
        "llava_next",
        "llava-hf/llama3-llava-next-8b-hf",
        TEMPLATES["llama3"],
        "<|begin_of_text|>",
        {
            "picture": [f"{_USER3}<image>\n{SUM}<|eot_id|>{_ASK3}", f"\n{REPLY}<|eot_id|>"],
            "turns": [
                f"{_USER3}\n{ADD}<|eot_id|>{_ASK3}",
                "\n7<|eot_id|>",
                f"{_USER3}<image>\n{HERE}<|eot_id|>{_ASK3}",
                f"\n{REPLY}<|eot_id|>",
            ],
            "system": [
                f"<|start_header_id|>system<|end_header_id|>\n\n\nBe brief.<|eot_id|>{_USER3}\n{ADD}<|eot_id|>{_ASK3}",
                f"\n{REPLY}<|eot_id|>",
            ],
        },
    ),
    "mistral": Published(
        "llava_next",
        "HuggingFaceM4/idefics2-8b",
        MISTRAL,
        "<s> ",  # SentencePiece begins a text with a space
        {
            "picture": [f"[INST] <image>\n{SUM} [/INST]", f" {REPLY}</s>"],
            "turns": [f"[INST] {ADD} [/INST]", " 7</s>", f"[INST] <image>\n{HERE} [/INST]", f" {REPLY}</s>"],
            "system": [f"<<SYS>>\nBe brief.\n<</SYS>>\n\n[INST] {ADD} [/INST]", f" {REPLY}</s>"],
        },
    ),
    "vicuna": Published(
        "llava_next",
        "HuggingFaceM4/idefics2-8b",
        VICUNA,
        "<s> ",
        {
            "picture": [f"USER: <image>\n{SUM} ASSISTANT:", f" {REPLY}</s>"],
            "turns": [f"USER: {ADD} ASSISTANT:", " 7</s>", f"USER: <image>\n{HERE} ASSISTANT:", f" {REPLY}</s>"],
            "system": [f"Be brief. USER: {ADD} ASSISTANT:", f" {REPLY}</s>"],
        },
    ),
    "idefics2": Published(
        "idefics2",
        "HuggingFaceM4/idefics2-8b",
        TEMPLATES["idefics2"],
        "<s> ",
        {
            # The space behind a picture is its processor's.
            "picture": [f"User:<image> {SUM}<end_of_utterance>\nAssistant:", f" {REPLY}<end_of_utterance>\n"],
            "turns": [
                f"User: {ADD}<end_of_utterance>\nAssistant:",
                " 7<end_of_utterance>\n",
                f"User:<image> {HERE}<end_of_utterance>\nAssistant:",
                f" {REPLY}<end_of_utterance>\n",
            ],
            "system": [
                f"System: Be brief.<end_of_utterance>\nUser: {ADD}<end_of_utterance>\nAssistant:",
                f" {REPLY}<end_of_utterance>\n",
            ],
        },
    ),
}


@cache
def folder(repo: str, tmp: Path) -> Path:
    """A tokenizer of the published class with all its special tokens, and of its words the bytes alone."""
    place = tmp / repo.replace("/", "--")
    place.mkdir()
    known = facts(repo).tokenizer
    assert known is not None
    write_tokenizer(replace(known, words=512, added={token: 512 + n for n, token in enumerate(known.added)}), place)
    return place


@cache
def tokenizer_of(repo: str, tmp: Path) -> PreTrainedTokenizerBase:
    """Opened, with the tokens that a training adds."""
    tokenizer = AutoTokenizer.from_pretrained(folder(repo, tmp))
    tokenizer.add_tokens(["<think>", "</think>"])
    return tokenizer


@pytest.fixture(scope="module")
def tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokenizers")


def processor_of(known: Published, tmp: Path) -> ProcessorMixin:
    """The family's own, over a lab family's image processor: a strip of 8x64 pixels is eight cells."""
    tokenizer = tokenizer_of(known.repo, tmp)
    images = get_lab_family(known.family).processor().image_processor
    if known.family == "idefics2":
        return Idefics2Processor(images, tokenizer, image_seq_len=8, chat_template=known.template)
    if known.family == "llava_next":
        own = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
        return LlavaNextProcessor(images, tokenizer, chat_template=known.template, **own)
    return DriftProcessor(images, tokenizer, chat_template=known.template)


@pytest.fixture
def strip(tmp_path: Path) -> Path:
    path = tmp_path / "strip.png"
    Image.new("RGB", (64, 8), (200, 90, 30)).save(path)
    return path


def shown(processor: ProcessorMixin, ids: list[int]) -> str:
    """The text of tokens, each picture as its template writes it."""
    text = processor.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    text = re.sub(
        r"(?:<fake_token_around_image>)?((?:<image>|<\|image_pad\|>))\1*(?:<fake_token_around_image>)?", r"\1", text
    )
    return text


def stretches(labels: torch.Tensor) -> list[slice]:
    """Where what is learnt and what is not follow each other."""
    changes = (1 + torch.nonzero(torch.diff((labels != IGNORED).int())).flatten()).tolist()
    return [slice(*ends) for ends in zip([0, *changes], [*changes, len(labels)], strict=True)]


@pytest.mark.parametrize("said", CONVERSATIONS)
@pytest.mark.parametrize("name", HUB)
def test_the_assistants_turns_are_learnt_to_their_end_and_nothing_else(name, said, tmp, strip):
    known = HUB[name]
    processor = processor_of(known, tmp)
    pictures = (strip,) * ("<image>" in "".join(turn.content for turn in CONVERSATIONS[said]))
    example = encode(processor, Conversation("x", CONVERSATIONS[said], pictures))
    ids, labels = example["input_ids"], example["labels"]
    assert torch.equal(labels[labels != IGNORED], ids[labels != IGNORED])
    parts = stretches(labels)
    assert [bool((labels[part] != IGNORED).any()) for part in parts] == [False, True] * (len(parts) // 2)
    whole, expected = "", known.start + "".join(known.pieces[said])
    for part, piece in zip(parts, known.pieces[said], strict=True):
        longer = shown(processor, ids[: part.stop].tolist())
        assert longer.removeprefix(whole) == (known.start if not part.start else "") + piece
        whole = longer
    assert whole == expected
    ends = {"qwen": "<|im_end|>", "llama3": "<|eot_id|>", "idefics2": "<end_of_utterance>"}.get(name, "</s>")
    end = processor.tokenizer.convert_tokens_to_ids(ends)
    assert all(end in labels[part].tolist() for part in parts[1::2])


@pytest.mark.parametrize("name", HUB)
def test_a_training_begins_with_the_tokens_that_an_engine_generates_from(name, tmp, strip):
    known = HUB[name]
    processor = processor_of(known, tmp)
    example = encode(processor, Conversation("x", CONVERSATIONS["picture"], (strip,)))
    engine = object.__new__(TransformersEngine)
    engine._processor, engine._network = processor, SimpleNamespace(device="cpu", dtype=torch.float32)
    prompt = engine._encode((Request("1", SUM, (strip.read_bytes(),)),), GenerationSettings())["input_ids"][0]
    assert torch.equal(example["input_ids"][: len(prompt)], prompt)
    assert (example["labels"][: len(prompt)] == IGNORED).all()
    assert example["labels"][len(prompt)] != IGNORED
    assert processor.tokenizer.decode(prompt[:1]) == (known.start.strip() or "<|im_start|>")


def test_a_start_token_that_the_template_writes_is_not_put_twice(tmp, strip):
    known = replace(HUB["llama3"], template="<|begin_of_text|>" + HUB["llama3"].template)
    ids = encode(processor_of(known, tmp), Conversation("x", CONVERSATIONS["picture"], (strip,)))["input_ids"].tolist()
    assert ids.count(ids[0]) == 1
    assert shown(processor_of(known, tmp), ids[:1]) == "<|begin_of_text|>"


def test_vllm_is_asked_for_the_start_token_that_its_chat_would_leave_out(tmp):
    asked = {name: start_token(folder(known.repo, tmp)) for name, known in HUB.items()}
    assert (asked["llama3"], asked["idefics2"], asked["qwen"]) == ({"add_special_tokens": True},) * 2 + ({},)
