"""The model to train: loaded in the training precision, vocabulary grown if asked, everything but the LM frozen."""

import logging
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, PreTrainedModel
from transformers.processing_utils import ProcessorMixin

from drift.checkpoints import Checkpoint
from drift.errors import CheckpointError, FamilyError
from drift.families import family_of
from drift.sources import HEAD, open_source
from drift.training.config import TrainingConfig

log = logging.getLogger(__name__)

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
# Module names of what stands between vision tower and LM, over all families: Qwen-VL, LLaVA-NeXT, Idefics2.
PROJECTORS = frozenset({"merger", "deepstack_merger_list", "multi_modal_projector", "image_newline", "connector"})
# LLaMA-Factory grows the vocabulary to a multiple of 64 as well; odd sizes are slow on GPUs.
VOCABULARY_MULTIPLE = 64


def load_model(folder: Path, config: TrainingConfig) -> PreTrainedModel:
    """The MLLM of a checkpoint folder in the training precision.

    Raises:
        CheckpointError: a shard is missing, torn, or lacks a tensor that the model has.
    """
    Checkpoint(folder)  # names a missing or torn shard better than from_pretrained does
    loaded: Any = AutoModelForImageTextToText.from_pretrained(
        folder,
        dtype=DTYPES[config.precision],
        attn_implementation=config.attn_implementation,
        output_loading_info=True,
    )
    model, info = loaded
    missing = sorted(info["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{folder} lacks {len(missing)} tensors of {type(model).__name__}, first {missing[0]!r}; "
            f"they would start from random numbers"
        )
    if config.zero_stage == 3:
        # transformers 5.23 keeps every renaming here, used or not, and save_pretrained would undo them all: it would
        # write names (model.model.layers...) that nothing opens.
        model._weight_conversions = [renaming for renaming in model._weight_conversions if renaming.was_used()]
    model.config.use_cache = False
    return model


def check_saved(saved: Path, source: Path) -> None:
    """The saved checkpoint holds the LM under the names that its source has.

    DeepSpeed hands over a head that is tied to the embeddings as a tensor of its own, which opening it ties again.

    Raises:
        CheckpointError: names differ, so that opening it would draw tensors at random.
    """
    differing = sorted(Checkpoint(saved).lm_names().items() ^ Checkpoint(source).lm_names().items())
    if open_source(source).is_tied:
        differing = [(canonical, name) for canonical, name in differing if canonical != HEAD]
    if differing:
        raise CheckpointError(
            f"{saved} was saved under other names than {source}: {len(differing)} differ, first {differing[0][1]!r}; "
            f"this version of transformers renames what it should not"
        )


def add_tokens(model: PreTrainedModel, processor: ProcessorMixin, tokens: tuple[str, ...]) -> None:
    """The tokenizer knows `tokens` as ordinary words afterwards, and the embeddings have rows for them.

    Embeddings that already have spare rows (Qwen's have) are left as they are.
    """
    processor.tokenizer.add_tokens(list(tokens))
    rows = model.config.get_text_config().vocab_size
    if len(processor.tokenizer) > rows:
        model.resize_token_embeddings(len(processor.tokenizer), pad_to_multiple_of=VOCABULARY_MULTIPLE)
        log.info("vocabulary grown from %d to %d rows", rows, model.config.get_text_config().vocab_size)


def freeze(model: PreTrainedModel, folder: Path, config: TrainingConfig) -> None:
    """The LM trains; vision tower and projector only where the config says so.

    Raises:
        FamilyError: no parameter of the model belongs to its family's LM.
    """
    family = family_of(folder)
    lm = trained = 0
    for name, parameter in model.named_parameters():
        is_lm, is_projector = family.canonical(name) is not None, bool(PROJECTORS & set(name.split(".")))
        is_trained = is_lm or (config.train_projector if is_projector else config.train_vision)
        parameter.requires_grad_(is_trained)
        lm, trained = lm + is_lm, trained + is_trained
    if not lm:
        raise FamilyError(f"no parameter of {type(model).__name__} belongs to the LM of family {family.name!r}")
    log.info("training %d tensors, %d of them the language model's", trained, lm)
