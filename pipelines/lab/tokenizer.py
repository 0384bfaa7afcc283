"""The laboratory's tokenizer: one token per word of the language, with Qwen's chat markup and chat template.

`Vocabulary` encodes by a dictionary lookup for the training loops; `build_tokenizer` is the same mapping as a real
`PreTrainedTokenizerFast`, which is what a checkpoint folder holds. Words outside the language become `<unk>`.
"""

from functools import cache

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pipelines.lab.images import CELLS
from pipelines.lab.language import WORDS, asked, reply, text_prompt
from pipelines.lab.mixes import Exercise

PAD, END = "<|endoftext|>", "<|im_end|>"
SPECIALS = (PAD, "<|im_start|>", END, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "<unk>")
THINK = ("<think>", "</think>")
TOKENS = (*SPECIALS, *THINK, *WORDS)
IMAGE_START = 3  # an image prompt opens with <|im_start|> user <|vision_start|>

# Spaces only separate words here, so this is Qwen's template up to whitespace.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|> ' if loop.first else ' <|im_start|> ' }}{{ message['role'] }}"
    "{%- if message['content'] is string %}{{ ' ' + message['content'] }}"
    "{%- else %}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' %}{{ ' <|vision_start|> <|image_pad|> <|vision_end|>' }}"
    "{%- else %}{{ ' ' + part['text'] }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{{- ' <|im_end|>' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt %}{{ ' <|im_start|> assistant' }}{%- endif -%}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer with the markup as special tokens; decoding puts one space between words."""
    core = Tokenizer(models.WordLevel({t: i for i, t in enumerate(TOKENS)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIALS])
    # Not special: a decoded reply must keep its <think> when special tokens are skipped.
    core.add_tokens([AddedToken(t, special=False, normalized=False) for t in THINK])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        pad_token=PAD,
        eos_token=END,
        chat_template=CHAT_TEMPLATE,
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


class Vocabulary:
    """Words to ids and back by table."""

    def __init__(self) -> None:
        self.ids = {token: i for i, token in enumerate(TOKENS)}
        self.pad, self.end = self.ids[PAD], self.ids[END]
        self._image = " ".join(["<|vision_start|>", *["<|image_pad|>"] * CELLS, "<|vision_end|>"])

    def __len__(self) -> int:
        return len(TOKENS)

    def encode(self, text: str) -> list[int]:
        """Ids of a text whose words are all in the language."""
        return [self.ids[word] for word in text.split()]

    def decode(self, ids: list[int]) -> str:
        """The words of `ids` up to the first end of message."""
        stop = ids.index(self.end) if self.end in ids else len(ids)
        return " ".join(TOKENS[i] for i in ids[:stop])

    def prompt(self, exercise: Exercise) -> list[int]:
        """The whole chat prompt up to and with "assistant"; an image is eight `<|image_pad|>`."""
        asks = asked(exercise.problem, exercise.think)
        content = f"{self._image} {asks}" if exercise.image else text_prompt(exercise.problem, exercise.think)
        return self.encode(f"<|im_start|> user {content} <|im_end|> <|im_start|> assistant")

    def target(self, exercise: Exercise) -> list[int]:
        """What follows the prompt, end of message included."""
        return [*self.encode(reply(exercise.problem, exercise.think)), self.end]


@cache
def vocabulary() -> Vocabulary:
    """The one vocabulary; it is the same in every world."""
    return Vocabulary()
