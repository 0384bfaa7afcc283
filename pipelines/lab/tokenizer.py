"""The laboratory's tokenizer: one token per word of the language, with Qwen's chat markup and a chat template.

`Vocabulary` encodes by a dictionary lookup for the training loops; `build_tokenizer` is the same mapping as a real
`PreTrainedTokenizerFast`, which is what a checkpoint folder holds. Words outside the language become `<unk>`.
A text model's vocabulary is Qwen's; LLaVA-NeXT's and Idefics2's have image tokens of their own behind it, as the
published checkpoints do.
"""

from dataclasses import dataclass
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
OPENING = ("<|im_start|>", "user")  # what stands before an image

# Spaces only separate words here, so this is Qwen's template up to whitespace.
_CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|> ' if loop.first else ' <|im_start|> ' }}{{ message['role'] }}"
    "{%- if message['content'] is string %}{{ ' ' + message['content'] }}"
    "{%- else %}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' %}{{ ' IMAGE' }}"
    "{%- else %}{{ ' ' + part['text'] }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{{- ' <|im_end|>' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt %}{{ ' <|im_start|> assistant' }}{%- endif -%}"
)


@dataclass(frozen=True)
class Markup:
    """How a family writes an image.

    Args:
        placeholder: what the chat template writes; the processor turns it into `tokens`.
        tokens: what the model reads.
        image_token: the one of `tokens` whose embeddings the image's features replace.
        extra: tokens that the family's vocabulary has behind the text models'.
    """

    placeholder: str
    tokens: tuple[str, ...]
    image_token: str
    extra: tuple[str, ...] = ()

    @property
    def start(self) -> int:
        """Place of the first feature in a prompt that opens with an image."""
        return len(OPENING) + self.tokens.index(self.image_token)

    @property
    def chat_template(self) -> str:
        """The Jinja template of the family's folders."""
        return _CHAT_TEMPLATE.replace("IMAGE", self.placeholder)


QWEN_VL = Markup(
    placeholder="<|vision_start|> <|image_pad|> <|vision_end|>",
    tokens=("<|vision_start|>", *["<|image_pad|>"] * CELLS, "<|vision_end|>"),
    image_token="<|image_pad|>",
)
# A thumbnail of the whole strip, the cells, the end of the row.
LLAVA_NEXT = Markup("<image>", ("<image>",) * (CELLS + 2), "<image>", extra=("<image>",))
_FAKE = "<fake_token_around_image>"
IDEFICS2 = Markup(
    "<image>", (_FAKE, *["<image>"] * CELLS, _FAKE), "<image>", extra=(_FAKE, "<image>", "<end_of_utterance>")
)


def build_tokenizer(markup: Markup = QWEN_VL) -> PreTrainedTokenizerFast:
    """A word-level tokenizer with the markup as special tokens; decoding puts one space between words."""
    core = Tokenizer(models.WordLevel(vocabulary(markup).ids, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in (*SPECIALS, *markup.extra)])
    # Not special: a decoded reply must keep its <think> when special tokens are skipped.
    core.add_tokens([AddedToken(t, special=False, normalized=False) for t in THINK])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        pad_token=PAD,
        eos_token=END,
        chat_template=markup.chat_template,
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


class Vocabulary:
    """Words to ids and back by table."""

    def __init__(self, markup: Markup) -> None:
        self.tokens = (*TOKENS, *markup.extra)
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        self.pad, self.end = self.ids[PAD], self.ids[END]
        self._image = " ".join(markup.tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Ids of a text whose words are all in the language."""
        return [self.ids[word] for word in text.split()]

    def decode(self, ids: list[int]) -> str:
        """The words of `ids` up to the first end of message."""
        stop = ids.index(self.end) if self.end in ids else len(ids)
        return " ".join(self.tokens[i] for i in ids[:stop])

    def prompt(self, exercise: Exercise) -> list[int]:
        """The whole chat prompt up to and with "assistant"; an image is the family's own tokens."""
        asks = asked(exercise.problem, exercise.think)
        content = f"{self._image} {asks}" if exercise.image else text_prompt(exercise.problem, exercise.think)
        return self.encode(f"{' '.join(OPENING)} {content} <|im_end|> <|im_start|> assistant")

    def target(self, exercise: Exercise) -> list[int]:
        """What follows the prompt, end of message included."""
        return [*self.encode(reply(exercise.problem, exercise.think)), self.end]


@cache
def vocabulary(markup: Markup = QWEN_VL) -> Vocabulary:
    """The vocabulary of a family, the same in every world; the default is the text models' too."""
    return Vocabulary(markup)
