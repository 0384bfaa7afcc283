"""The MLLM of a world: a vision tower fitted to the base LM's embeddings, then both tuned together.

Stage 1 regresses every cell's feature to the LM embedding of what the cell shows, an empty cell to that of ".", which
ends a list in text. Stage 2 mixes direct answers about images, a little short chain of thought, and the base's text.
The result is a real checkpoint folder of the family with tokenizer, chat template and image processor.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM

from drift.processing import save_processor
from pipelines.lab.config import WorldConfig, sub_seed
from pipelines.lab.families import LabFamily, get_lab_family
from pipelines.lab.forward import Network
from pipelines.lab.gates import Figure, check_gates
from pipelines.lab.images import CELLS, cell_classes, load_pool, to_pixels
from pipelines.lab.language import DRAWS, FOLDS
from pipelines.lab.loops import Parts, answer, draw_pixels, mllm_parts, optimise, reproducible, share_right, train
from pipelines.lab.mixes import Exercise, course_of, draw_exercises
from pipelines.lab.parting import draw_fitting, fitting
from pipelines.lab.pretrain import generation_config
from pipelines.lab.suites import PERCEPTION, REASONING, draw_suite

CELL_TOKENS = (*(str(d) for d in range(10)), *FOLDS, ".")


def build_mllm(config: WorldConfig, family: str, base: Path, out: Path) -> None:
    """Trains the MLLM from the base LM into `out`.

    Raises:
        GateError: cells are not told apart, four digits are not read, or the think score leaves no room either way.
    """
    row = get_lab_family(family)
    with reproducible(sub_seed(config.seed, f"mllm init{row.draws}")):
        model: Network = row.build(config)
        parts = mllm_parts(model, config.language, row)
        copy_lm(AutoModelForCausalLM.from_pretrained(base), parts)
        cells = fit_cells(config, parts, row)
        language = [*parts.language.parameters(), *parts.head.parameters()]
        vision = (row.vision_parameters(model), config.mllm.vision_learning_rate)
        train(
            parts, course_of(config).mllm, config.mllm, [(language, config.mllm.learning_rate), vision], config, "mllm"
        )
        figures = [cells, *measure(config, parts)]
        save_mllm(model, row, out)
    check_gates(out, f"{config.name} world {config.seed}, {family} MLLM", figures)


@torch.no_grad()
def copy_lm(text: Network, parts: Parts) -> None:
    """Gives the MLLM the base's LM; rows of tokens that only the MLLM has keep their random start."""
    own = parts.language.state_dict()
    for name, value in text.model.state_dict().items():
        own[name][: len(value)].copy_(value)
    parts.head.weight[: len(text.lm_head.weight)].copy_(text.lm_head.weight)


def save_mllm(model: Network, family: LabFamily, out: Path) -> None:
    """Model, generation config and processor, as `from_pretrained` and `load_processor` read them."""
    model.generation_config = generation_config()
    model.save_pretrained(out)
    save_processor(family.processor(), out)


def fit_cells(config: WorldConfig, parts: Parts, family: LabFamily) -> Figure:
    """Stage 1 of the vision tower; the figure is its cell accuracy on validation strips.

    The loss is MSE over the mean square of the embeddings, plus cross-entropy over the 15 things a cell can show with
    minus the squared distance in the same unit as the score.
    """
    ids = torch.tensor([parts.words.ids[t] for t in CELL_TOKENS])
    targets = parts.language.embed_tokens.weight.detach()[ids]
    unit = targets.square().mean()
    rng = Random(sub_seed(config.seed, "cell problems"))
    pixels = np.random.default_rng(sub_seed(config.seed, "cell problems"))

    def see(shown: Tensor) -> Tensor:
        """The features of the eight cells alone, (b, 8, c)."""
        return parts.see(shown)[:, family.first_cell : family.first_cell + CELLS]

    def loss(shown: Tensor, classes: Tensor) -> Tensor:
        features = see(shown)
        scores = -torch.cdist(features.flatten(0, 1), targets).square() / (2.0 * unit)
        return F.mse_loss(features, targets[classes]) / unit + F.cross_entropy(scores, classes.flatten())

    def losses() -> Iterator[Callable[[], Tensor]]:
        for _ in range(config.cells.steps):
            shown, classes = _draw_cells(config, rng, pixels, "mllm", config.cells.batch)
            yield partial(loss, shown, classes)

    groups = [(family.vision_parameters(parts.model), config.cells.learning_rate)]
    optimise(groups, config.cells, losses(), f"{config.name} {config.seed} cells")
    with torch.no_grad():
        shown, classes = _draw_cells(config, rng, pixels, "validation", config.gates.problems)
        nearest = torch.cdist(see(shown).flatten(0, 1), targets).argmin(-1)
    right = float((nearest == classes.flatten()).float().mean())
    return Figure("cell accuracy after stage 1", right, classes.numel(), low=config.gates.cell_accuracy)


def _draw_cells(
    config: WorldConfig, rng: Random, pixels: np.random.Generator, pool: str, n: int
) -> tuple[Tensor, Tensor]:
    """Pixels (n, 8, 64) and classes (n, 8) of strips in the mix of stage 2's images."""
    fits = fitting(config, "validation" if pool == "validation" else "train")
    exercises = draw_exercises(course_of(config).images, rng, n, fits)
    classes = torch.tensor([cell_classes(e.problem) for e in exercises])
    return draw_pixels(exercises, load_pool(pool), pixels), classes


def measure(config: WorldConfig, parts: Parts) -> list[Figure]:
    """The MLLM's figures on validation images: reading four digits, think and direct scores, perception."""
    gates = config.gates
    config = replace(config, suite_items=gates.suite_items, wemath_groups=gates.wemath_groups)
    rng = Random(sub_seed(config.seed, "validation reading"))
    pixels = np.random.default_rng(sub_seed(config.seed, "validation reading"))
    fits = fitting(config, "validation")
    problems = [draw_fitting(lambda: DRAWS["read"](rng, 4), fits) for _ in range(gates.problems)]
    four = [Exercise(problem, think=False, image=True) for problem in problems]
    read = share_right(four, answer(parts, four, draw_pixels(four, load_pool("validation"), pixels)))
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
    shown = torch.from_numpy(to_pixels(np.stack([row.strip for row in rows])))
    return share_right(exercises, answer(parts, exercises, shown))
