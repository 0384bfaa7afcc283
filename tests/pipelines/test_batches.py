"""What a training learns from, token by token, in the chat formats of the four families, written out by hand.

A tokenizer of single characters with each family's markup keeps the formats as they are published, line breaks and all;
the image processors are the families' own, so that a strip of 8x64 pixels is eight cells.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import Idefics2Processor, LlavaNextProcessor, PreTrainedTokenizerFast
from transformers.processing_utils import ProcessorMixin

from drift.processing import DriftProcessor
from drift.training.batches import IGNORED
from drift.training.config import TrainingConfig
from drift.training.conversations import Conversation, Turn
from drift.training.data import ConversationDataset, encode
from pipelines.lab.families import get_lab_family

REPLY = "<think>3 + 4 = 7</think>\n\\boxed{7}"
_PARTS = "{%- for part in message['content'] -%}{%- if part['type'] == 'image' -%}{{ IMAGE }}{%- else -%}{{ part['text'] }}{%- endif -%}{%- endfor -%}"  # noqa: E501


def chatml(image: str) -> str:
    """Qwen's: a system turn of its own where there is none."""
    parts = _PARTS.replace("IMAGE", f"'{image}'")
    return (
        "{%- for message in messages -%}"
        "{%- if loop.first and message['role'] != 'system' -%}"
        "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{%- endif -%}"
        "{{ '<|im_start|>' + message['role'] + '\\n' }}" + parts + "{{ '<|im_end|>\\n' }}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
    )


LLAMA = (
    "{%- for message in messages -%}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    + _PARTS.replace("IMAGE", "'<image>\\n'")
    + "{{ '<|eot_id|>' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif -%}"
)
USER = (
    "{%- for message in messages -%}"
    "{{ message['role'].capitalize() + (':' if message['content'][0]['type'] == 'image' else ': ') }}"
    + _PARTS.replace("IMAGE", "'<image>'")
    + "{{ '<end_of_utterance>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ 'Assistant:' }}{%- endif -%}"
)
QWEN_MARKS = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
LLAMA_MARKS = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<image>"]
USER_MARKS = ["<end_of_utterance>", "<image>", "<fake_token_around_image>"]


def tokenizer(marks: list[str]) -> PreTrainedTokenizerFast:
    """A token a character, the marks apart."""
    known = ["<unk>", *(chr(code) for code in (10, *range(32, 127)))]
    core = Tokenizer(models.WordLevel({token: n for n, token in enumerate(known)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    core.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", pad_token="<unk>")


def qwen(name: str) -> ProcessorMixin:
    images = get_lab_family(name).processor().image_processor
    template = chatml("<|vision_start|><|image_pad|><|vision_end|>")
    return DriftProcessor(images, tokenizer(QWEN_MARKS), chat_template=template)


def llava(name: str) -> ProcessorMixin:
    images = get_lab_family(name).processor().image_processor
    own = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return LlavaNextProcessor(images, tokenizer(LLAMA_MARKS), chat_template=LLAMA, **own)


def idefics(name: str) -> ProcessorMixin:
    images = get_lab_family(name).processor().image_processor
    return Idefics2Processor(images, tokenizer(USER_MARKS), image_seq_len=8, chat_template=USER)


@dataclass(frozen=True)
class Format:
    """How a family writes a conversation: a strip's tokens, and what stands around prompts and replies."""

    processor: Callable[[str], ProcessorMixin]
    strip: str
    opening: str
    turn: Callable[[str, str], str]
    ask: str
    answered: str
    image_first: Callable[[str, str], str]


_QWEN = Format(
    qwen,
    "<|vision_start|>" + "<|image_pad|>" * 8 + "<|vision_end|>",
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n",
    lambda role, text: f"<|im_start|>{role}\n{text}<|im_end|>\n",
    "<|im_start|>assistant\n",
    "{}<|im_end|>\n",
    lambda strip, text: f"<|im_start|>user\n{strip}{text}<|im_end|>\n",
)
FORMATS = {
    "qwen2_vl": _QWEN,
    "qwen2_5_vl": _QWEN,
    "llava_next": Format(
        llava,
        "<image>" * 10,  # a thumbnail, eight tiles, the end of the row
        "",
        lambda role, text: f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "{}<|eot_id|>",
        lambda strip, text: f"<|start_header_id|>user<|end_header_id|>\n\n{strip}\n{text}<|eot_id|>",
    ),
    "idefics2": Format(
        idefics,
        "<fake_token_around_image>" + "<image>" * 8 + "<fake_token_around_image>",
        "",
        lambda role, text: f"{role.capitalize()}: {text}<end_of_utterance>\n",
        "Assistant:",
        " {}<end_of_utterance>\n",
        lambda strip, text: f"User:{strip} {text}<end_of_utterance>\n",  # the space is its processor's
    ),
}


def learnt(name: str, turns: list[Turn], images: tuple[Path, ...]) -> list[tuple[str, bool]]:
    """The example's tokens, each with whether it is learnt from, joined where neighbours agree."""
    processor = FORMATS[name].processor(name)
    example = encode(processor, Conversation("x", tuple(turns), images))
    ids, labels = example["input_ids"].tolist(), example["labels"].tolist()
    tokens = processor.tokenizer.convert_ids_to_tokens(ids)
    is_learnt = [label != IGNORED for label in labels]
    assert [label for label in labels if label != IGNORED] == [
        token for token, learns in zip(ids, is_learnt, strict=True) if learns
    ]
    joined: list[tuple[str, bool]] = []
    for token, learns in zip(tokens, is_learnt, strict=True):
        if joined and joined[-1][1] == learns:
            joined[-1] = (joined[-1][0] + token, learns)
        else:
            joined.append((token, learns))
    return joined


@pytest.fixture
def strip(tmp_path: Path) -> Path:
    path = tmp_path / "strip.png"
    Image.effect_noise((64, 8), 60).save(path)
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_a_question_about_a_picture_is_asked_and_its_reply_with_what_ends_it_is_learnt(name, strip):
    form = FORMATS[name]
    found = learnt(name, [Turn("user", "<image>What is the sum?"), Turn("assistant", REPLY)], (strip,))
    prompt = form.opening + form.image_first(form.strip, "What is the sum?") + form.ask
    assert found == [(prompt, False), (form.answered.format(REPLY), True)]


@pytest.mark.parametrize("name", FORMATS)
def test_every_reply_of_a_conversation_is_learnt_and_no_question(name, strip):
    form = FORMATS[name]
    turns = [
        Turn("user", "Add 3 and 4."),
        Turn("assistant", "7"),
        Turn("user", "<image>And here?"),
        Turn("assistant", REPLY),
    ]
    found = learnt(name, turns, (strip,))
    assert found == [
        (form.opening + form.turn("user", "Add 3 and 4.") + form.ask, False),
        (form.answered.format("7"), True),
        (form.image_first(form.strip, "And here?") + form.ask, False),
        (form.answered.format(REPLY), True),
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_a_system_turn_is_no_part_of_what_is_learnt(name):
    form = FORMATS[name]
    turns = [Turn("system", "Be brief."), Turn("user", "Add 3 and 4."), Turn("assistant", REPLY)]
    prompt = form.turn("system", "Be brief.") + form.turn("user", "Add 3 and 4.") + form.ask
    assert learnt(name, turns, ()) == [(prompt, False), (form.answered.format(REPLY), True)]


def test_a_cut_that_takes_the_boxed_answer_is_counted_and_said(strip, caplog):
    turns = [Turn("user", "<image>Sum?"), Turn("assistant", REPLY)]
    late = [Turn("user", "<image>Sum?"), Turn("assistant", f"{REPLY} And that is all that there is to say.")]
    conversations = [Conversation(n, tuple(each), (strip,)) for n, each in (("short", turns), ("late", late))]
    whole = len(encode(qwen("qwen2_5_vl"), conversations[0])["input_ids"])
    for cutoff, truncated, unboxed in ((whole + 100, 0, 0), (whole, 1, 0), (whole - 3, 2, 2), (whole - 12, 2, 2)):
        caplog.clear()
        config = TrainingConfig(cutoff_len=cutoff, image_max_pixels=None)
        counts = ConversationDataset(conversations, qwen("qwen2_5_vl"), config).counts()
        assert (counts.truncated, counts.unboxed, counts.dropped) == (truncated, unboxed, 0)
        assert ("2 of 2 truncated examples have lost their boxed answer" in caplog.text) is bool(unboxed)
