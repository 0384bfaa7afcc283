"""The MLLM of a world: a vision tower fitted to the base LM's embeddings, then both tuned together.

Stage 1 regresses every cell's feature to the LM embedding of what the cell shows, an empty cell to that of ".", which
ends a list in text. Stage 2 mixes direct answers about images, a little short chain of thought, and the base's text.
The result is a real `Qwen2_5_VLForConditionalGeneration` folder with tokenizer, chat template and image processor.
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2ForCausalLM
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from drift.processing import DriftProcessor, save_processor
from pipelines.lab.config import WorldConfig, sub_seed
from pipelines.lab.forward import Network, see
from pipelines.lab.gates import Figure, check_gates
from pipelines.lab.images import CELL, CELLS, cell_classes, load_pool, to_patches
from pipelines.lab.language import FOLDS, draw_reading
from pipelines.lab.loops import (
    Parts,
    answer,
    draw_patches,
    draw_steps,
    mllm_parts,
    optimise,
    reproducible,
    share_right,
    step_loss,
)
from pipelines.lab.mixes import IMAGES, MLLM, Exercise, draw_exercises
from pipelines.lab.pretrain import generation_config, language_config
from pipelines.lab.suites import PERCEPTION, REASONING, draw_suite
from pipelines.lab.tokenizer import CHAT_TEMPLATE, build_tokenizer, vocabulary

log = logging.getLogger(__name__)

CELL_TOKENS = (*(str(d) for d in range(10)), *FOLDS, ".")
PATCH = CELL // 2


def build_mllm(config: WorldConfig, base: Path, out: Path) -> None:
    """Trains the MLLM from the base LM into `out`.

    Raises:
        GateError: cells are not told apart, four digits are not read, or the think score leaves no room either way.
    """
    with reproducible(sub_seed(config.seed, "mllm init")):
        text = Qwen2ForCausalLM.from_pretrained(base)
        model = Qwen2_5_VLForConditionalGeneration(mllm_config(config))
        model.model.language_model.load_state_dict(text.model.state_dict())
        model.lm_head.load_state_dict(text.lm_head.state_dict())
        parts = mllm_parts(model, config.language)
        cells = fit_cells(config, parts)
        _tune(config, model, parts)
        figures = [cells, *measure(config, parts)]
        save_mllm(model, out)
    check_gates(out, f"{config.name} world {config.seed}, MLLM", figures)


def mllm_config(config: WorldConfig) -> Qwen2_5_VLConfig:
    """The base LM's shape with mRoPE, and a tower of full attention over 4x4 patches."""
    language, vision, words = config.language, config.vision, vocabulary()
    return Qwen2_5_VLConfig(
        text_config=language_config(language)
        | {
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": language.rope_theta,
                "mrope_section": list(language.mrope_section),
            }
        },
        vision_config={
            "depth": vision.depth,
            "hidden_size": vision.hidden,
            "intermediate_size": vision.feed_forward,
            "num_heads": vision.heads,
            "out_hidden_size": language.hidden,
            "patch_size": PATCH,
            "spatial_merge_size": 2,
            "fullatt_block_indexes": list(range(vision.depth)),
        },
        image_token_id=words.ids["<|image_pad|>"],
        video_token_id=words.ids["<|video_pad|>"],
        vision_start_token_id=words.ids["<|vision_start|>"],
        vision_end_token_id=words.ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )


def build_processor() -> DriftProcessor:
    """Keeps a strip at 8x64 pixels (eight tokens) and shrinks anything larger to that area."""
    area = CELL * CELL * CELLS
    images = Qwen2VLImageProcessorPil(
        patch_size=PATCH,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": CELL * CELL, "longest_edge": area},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return DriftProcessor(images, build_tokenizer(), chat_template=CHAT_TEMPLATE)


def save_mllm(model: Network, out: Path) -> None:
    """Model, generation config and processor, as `from_pretrained` and `load_processor` read them."""
    model.generation_config = generation_config()
    model.save_pretrained(out)
    save_processor(build_processor(), out)


def fit_cells(config: WorldConfig, parts: Parts) -> Figure:
    """Stage 1 of the vision tower; the figure is its cell accuracy on validation strips.

    The loss is MSE over the mean square of the embeddings, plus cross-entropy over the 15 things a cell can show with
    minus the squared distance in the same unit as the score.
    """
    ids = torch.tensor([vocabulary().ids[t] for t in CELL_TOKENS])
    targets = parts.language.embed_tokens.weight.detach()[ids]
    unit = targets.square().mean()
    rng = Random(sub_seed(config.seed, "cell problems"))
    pixels = np.random.default_rng(sub_seed(config.seed, "cell problems"))

    def loss(patches: Tensor, classes: Tensor) -> Tensor:
        features = see(parts.visual, patches)
        scores = -torch.cdist(features.flatten(0, 1), targets).square() / (2.0 * unit)
        return F.mse_loss(features, targets[classes]) / unit + F.cross_entropy(scores, classes.flatten())

    def losses() -> Iterator[Callable[[], Tensor]]:
        for _ in range(config.cells.steps):
            patches, classes = _draw_cells(rng, pixels, "mllm", config.cells.batch)
            yield partial(loss, patches, classes)

    groups = [(list(parts.visual.parameters()), config.cells.learning_rate)]
    optimise(groups, config.cells, losses(), f"{config.name} {config.seed} cells")
    with torch.no_grad():
        patches, classes = _draw_cells(rng, pixels, "validation", config.gates.problems)
        nearest = torch.cdist(see(parts.visual, patches).flatten(0, 1), targets).argmin(-1)
    right = float((nearest == classes.flatten()).float().mean())
    return Figure("cell accuracy after stage 1", right, classes.numel(), low=config.gates.cell_accuracy)


def _draw_cells(rng: Random, pixels: np.random.Generator, pool: str, n: int) -> tuple[Tensor, Tensor]:
    """Patches (n, 32, 16) and classes (n, 8) of strips in the mix of stage 2's images."""
    exercises = draw_exercises(IMAGES, rng, n)
    classes = torch.tensor([cell_classes(e.problem) for e in exercises])
    return draw_patches(exercises, load_pool(pool), pixels), classes


def _tune(config: WorldConfig, model: Network, parts: Parts) -> None:
    schedule = config.mllm
    steps = draw_steps(MLLM, schedule, sub_seed(config.seed, "mllm problems"), load_pool("mllm"))
    language = [*parts.language.parameters(), *parts.head.parameters()]
    groups = [
        (language, schedule.learning_rate),
        (list(parts.visual.parameters()), schedule.vision_learning_rate),
    ]
    losses = (partial(step_loss, parts, step) for step in steps)
    optimise(groups, schedule, losses, f"{config.name} {config.seed} mllm")


def measure(config: WorldConfig, parts: Parts) -> list[Figure]:
    """The MLLM's figures on validation images: reading four digits, think and direct scores, perception."""
    gates = config.gates
    rng = Random(sub_seed(config.seed, "validation reading"))
    pixels = np.random.default_rng(sub_seed(config.seed, "validation reading"))
    four = [Exercise(draw_reading(rng, 4), think=False, image=True) for _ in range(gates.problems)]
    read = share_right(four, answer(parts, four, draw_patches(four, load_pool("validation"), pixels)))
    think = [suite_score(config, parts, name, think=True) for name in REASONING]
    direct = [suite_score(config, parts, name, think=False) for name in REASONING]
    n = config.suite_items
    return [
        Figure("reads four digits", read, len(four), low=gates.reads_four),
        Figure("think score", float(np.mean(think)), n * len(think), low=gates.think_low, high=gates.think_high),
        Figure("direct score", float(np.mean(direct)), n * len(direct)),
        *(Figure(f"think score on {s}", v, n) for s, v in zip(REASONING, think, strict=True)),
        *(Figure(f"direct score on {s}", suite_score(config, parts, s, think=False), n) for s in PERCEPTION),
    ]


def suite_score(config: WorldConfig, parts: Parts, name: str, *, think: bool, split: str = "validation") -> float:
    """The share of a suite's items that are right, in [0, 1]; WeMath's stand-in item by item."""
    rows = draw_suite(config, split, name)
    exercises = [Exercise(row.problem, think=think, image=True) for row in rows]
    patches = torch.from_numpy(to_patches(np.stack([row.strip for row in rows])))
    return share_right(exercises, answer(parts, exercises, patches))
