"""Encoded examples to the batch of one pass: padded rows, or one row in which each example attends to itself alone.

Packing is what TRL calls padding-free, of the examples that a pass has anyway: steps, loss and gradients are those of
padded rows. Differs from packing in TRL and LLaMA-Factory: that fills rows up to the cutoff, so that the number of
steps and what an example weighs depend on the lengths of its neighbours.

Shapes: b examples, s tokens. Image tensors keep the processor's own layout, stacked along their first axis.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel

IGNORED = -100
SEQUENCE_PADDING = {"labels": IGNORED, "attention_mask": 0, "mm_token_type_ids": 0, "token_type_ids": 0}


def is_sequence(key: str) -> bool:
    """Whether a tensor of that name has an entry a token."""
    return key == "input_ids" or key in SEQUENCE_PADDING


def concatenate(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Stretches of tokens, one behind the other: sequences (s,), image tensors along their first axis."""
    return {
        key: torch.cat([_or_zeros(part, key) for part in parts]) if is_sequence(key) else _stack(parts, key)
        for key in _keys(parts)
    }


def collate(examples: Sequence[Mapping[str, Tensor]], pad_id: int) -> dict[str, Tensor]:
    """A batch padded on the right to its longest example: sequences (b, s), attention_mask (b, s), image tensors."""
    longest = max(len(example["input_ids"]) for example in examples)
    batch: dict[str, Tensor] = {}
    for key in _keys(examples):
        if is_sequence(key):
            fill = pad_id if key == "input_ids" else SEQUENCE_PADDING[key]
            rows = [_or_zeros(example, key) for example in examples]
            batch[key] = torch.stack([pad(row, (0, longest - len(row)), value=fill) for row in rows])
        else:
            batch[key] = _stack(examples, key)
    lengths = torch.tensor([len(example["input_ids"]) for example in examples])
    batch["attention_mask"] = (torch.arange(longest)[None, :] < lengths[:, None]).long()
    return batch


class Packer:
    """Lays the examples of a pass one behind the other.

    transformers 5.23 parts a row where its positions begin again, if it is given neither an attention mask nor a cache:
    by a mask of blocks for sdpa and eager, by lengths for flash_attention_2. Of the Qwen-VL families it takes these
    positions in front of their own three (time, height, width), which begin again as well.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._rope_index: Callable | None = getattr(model.base_model, "get_rope_index", None)

    def __call__(self, examples: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor | bool]:
        """Sequences (1, s), position_ids (1, s) or (4, 1, s), image tensors; no example's first token is predicted."""
        parts = [{**each, "labels": pad(each["labels"][1:], (1, 0), value=IGNORED)} for each in examples]
        positions = torch.cat([self._positions(example) for example in examples], dim=-1)
        batch: dict[str, Tensor | bool] = {"position_ids": positions, "use_cache": False}
        return batch | {key: value[None] if is_sequence(key) else value for key, value in concatenate(parts).items()}

    def _positions(self, example: Mapping[str, Tensor]) -> Tensor:
        ids = example["input_ids"][None]
        places = torch.arange(ids.shape[1])[None]
        if self._rope_index is None:
            return places
        types = _or_zeros(example, "mm_token_type_ids")[None]
        rope, _ = self._rope_index(ids, types, image_grid_thw=example.get("image_grid_thw"))
        return torch.cat([places[None], rope])


def has_reply(batch: Mapping[str, Tensor]) -> bool:
    """Whether any token of the batch is learnt from; a batch of nothing but BLANK has none."""
    return bool((batch["labels"] != IGNORED).any())


def _keys(parts: Sequence[Mapping[str, Tensor]]) -> list[str]:
    return list(dict.fromkeys(key for part in parts for key in part))


def _or_zeros(part: Mapping[str, Tensor], key: str) -> Tensor:
    """Text without images has token types of zero."""
    return part[key] if key in part else torch.zeros_like(part["input_ids"])


def _stack(parts: Sequence[Mapping[str, Tensor]], key: str) -> Tensor:
    """Joined along the first axis; other axes are padded with zeros (LLaVA-NeXT's patches, Idefics2's images)."""
    tensors = [part[key] for part in parts if key in part]
    sizes = [max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    return torch.cat([_grow(tensor, sizes) for tensor in tensors])


def _grow(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    missing = [target - size for target, size in zip(sizes, tensor.shape[1:], strict=True)]
    return pad(tensor, [width for gap in reversed(missing) for width in (0, gap)]) if any(missing) else tensor
