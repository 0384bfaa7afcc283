"""A conversation as the checkpoint's own chat template writes it, cut into prompts and replies, each in its tokens.

Prompts and replies are tokenised apart, as they meet at generation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.processing_utils import ProcessorMixin

from drift.errors import DataError
from drift.processing import adds_specials
from drift.training.batches import is_sequence
from drift.training.conversations import IMAGE_MARK, Conversation, Turn

_SPACE = "\u2581"  # SentencePiece's


@dataclass(frozen=True)
class Segment:
    """A stretch of the formatted conversation that is a prompt or a reply as a whole."""

    text: str
    images: int
    is_reply: bool
    is_first: bool = False


def segments(processor: ProcessorMixin, conversation: Conversation) -> list[Segment]:
    """The conversation as the chat template writes it, cut where each reply begins and ends.

    A reply is all that the template adds after the generation prompt: the content, `<|im_end|>` and what follows it
    (LLaMA-Factory's assistant slot). Where the template writes no special token behind the content, a model would never
    learn to stop: the tokenizer's end token takes the place of what it writes (LLaVA-NeXT's for Vicuna and Mistral end
    in a space and in a misspelled `</s>`).

    Raises:
        DataError: the template rewrites earlier turns or drops part of a reply, so no cut is right; or nothing ends a
            reply.
    """
    found: list[Segment] = []
    done, start = "", 0
    for n, turn in enumerate(conversation.turns):
        if turn.role != "assistant":
            continue
        prompt = _render(processor, conversation.turns[:n], is_prompt=True)
        full = _render(processor, conversation.turns[: n + 1], is_prompt=False)
        if not (prompt.startswith(done) and full.startswith(prompt) and turn.content.strip() in full[len(prompt) :]):
            raise DataError(
                f"{conversation.name}: the chat template rewrites earlier text or drops part of reply {n}; "
                f"training needs a template that only appends"
            )
        images = sum(t.content.count(IMAGE_MARK) for t in conversation.turns[start:n])
        reply = _ended(processor.tokenizer, full[len(prompt) :], turn.content.strip(), conversation.name)
        found += [Segment(prompt[len(done) :], images, False, not found), Segment(reply, 0, True)]
        done, start = full, n + 1
    return found


def tokens(processor: ProcessorMixin, segment: Segment, images: Sequence[Image.Image]) -> dict[str, Tensor]:
    """Sequences (s,) and image tensors of a segment; the first of a conversation begins as an engine's prompt does."""
    tokenizer = processor.tokenizer
    special = segment.is_first and adds_specials(processor, segment.text)
    lead = "" if segment.is_first else _lead(tokenizer)
    if images:
        out = processor(
            text=[lead + segment.text], images=list(images), return_tensors="pt", add_special_tokens=special
        )
        found = {key: value[0] if is_sequence(key) else value for key, value in out.items() if key != "attention_mask"}
    else:
        found = {"input_ids": torch.tensor(_ids(tokenizer, lead + segment.text, special), dtype=torch.long)}
    skipped = len(_ids(tokenizer, lead)) if lead else 0
    return {key: value[skipped:] if is_sequence(key) else value for key, value in found.items()}


def _lead(tokenizer: PreTrainedTokenizerBase) -> str:
    """What to put before a text that others precede: Llama's tokenizer would begin it with a space that is not there.

    No line break is ever one token with what follows it in such a vocabulary.
    """
    first = tokenizer.convert_ids_to_tokens(_ids(tokenizer, "a"))[0]
    return "\n" if first.startswith(_SPACE) else ""


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, special: bool = False) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=special)["input_ids"]
    return found


def _render(processor: ProcessorMixin, turns: Sequence[Turn], *, is_prompt: bool) -> str:
    messages: list = [{"role": turn.role, "content": _pieces(turn)} for turn in turns]
    # The tokenizer keeps the compiled template; the processor's own method parses it again at every call.
    return processor.tokenizer.apply_chat_template(
        messages, chat_template=processor.chat_template, add_generation_prompt=is_prompt, tokenize=False
    )


def _pieces(turn: Turn) -> list[dict[str, str]]:
    """`a<image>b` as the chat template's content list: text, image, text; a reply is text whatever it holds."""
    if turn.role == "assistant":
        return [{"type": "text", "text": turn.content}]
    pieces: list[dict[str, str]] = []
    for n, text in enumerate(turn.content.split(IMAGE_MARK)):
        if n:
            pieces.append({"type": "image"})
        if text:
            pieces.append({"type": "text", "text": text})
    return pieces


def _ended(tokenizer: PreTrainedTokenizerBase, reply: str, content: str, name: str) -> str:
    before, _, behind = reply.partition(content)
    if any(token in behind for token in tokenizer.get_added_vocab()):
        return reply
    if tokenizer.eos_token is None:
        raise DataError(f"{name}: neither the chat template nor the tokenizer has a token that ends a reply")
    return before + content + tokenizer.eos_token
