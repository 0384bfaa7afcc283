"""Tokenizers of the published classes, sizes and special tokens, without the published words.

A word here is a byte or a filler that no merge makes, so every text is spelled byte by byte; ids of special tokens, the
number of words and the way to bytes are the published ones. A chat template writes what its family's does.
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from pipelines.rehearsal.facts import TokenizerFacts

_QWEN_VL = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_LLAMA3 = (
    "{% for message in messages %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{% if message['content'] is string %}{{ '\n' + message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ '\n' + part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_IDEFICS2 = (
    "{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% if message['content'] is string %} {{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ ' ' if loop.first }}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
TEMPLATES = {"qwen_vl": _QWEN_VL, "llama3": _LLAMA3, "idefics2": _IDEFICS2}


def write_tokenizer(known: TokenizerFacts, folder: Path) -> None:
    """tokenizer.json and tokenizer_config.json, as AutoTokenizer opens them, and chat_template.json."""
    core = _byte_level(known.words) if known.kind == "byte_level" else _byte_fallback(known.words)
    by_id = {place: token for token, place in known.added.items()}
    places = range(known.words, max(by_id, default=known.words - 1) + 1)
    names = [by_id.get(place, f"<|reserved_special_token_{place - known.words}|>") for place in places]
    core.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    if start := known.roles.get("bos_token"):
        begun = processors.TemplateProcessing(single=f"{start} $A", special_tokens=[(start, core.token_to_id(start))])
        core.post_processor = begun
    core.save(str(folder / "tokenizer.json"))
    own = {"tokenizer_class": known.tokenizer_class, "model_max_length": 131072, **known.roles}
    (folder / "tokenizer_config.json").write_text(json.dumps(own, indent=1))
    template = {"chat_template": TEMPLATES[known.template]}
    (folder / "chat_template.json").write_text(json.dumps(template, indent=1))


def _byte_level(words: int) -> Tokenizer:
    """As Qwen's and Llama 3's: bytes as printable letters, no merge ever applies."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab=_filled(letters, words), merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return core


def _byte_fallback(words: int) -> Tokenizer:
    """As Llama 2's and Mistral's: three marks, 256 bytes, then letters; a space is a low line."""
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    letters = [chr(code) for code in range(33, 127)]
    core = Tokenizer(
        models.BPE(vocab=_filled([*first, *letters], words), merges=[], unk_token="<unk>", byte_fallback=True)
    )
    core.normalizer = normalizers.Replace(" ", "▁")
    parts: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    core.decoder = decoders.Sequence(parts)
    core.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in first[:3]])
    return core


def _filled(tokens: list[str], words: int) -> dict[str, int]:
    """Exactly `words` entries: the tokens, then fillers that no merge makes."""
    return {token: place for place, token in enumerate([*tokens, *(f"w{n}" for n in range(words - len(tokens)))])}
