"""The text models of a world: the base LM, and the reasoning experts that are tuned from it.

All are real checkpoints of the text family. The base reads lists, answers short questions directly and reasons in words
over two or three digits; an expert reasons over two to six, in text only.
"""

from dataclasses import replace
from pathlib import Path
from random import Random

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from pipelines.lab.config import DISTANCES, WorldConfig, sub_seed
from pipelines.lab.forward import Network
from pipelines.lab.gates import Figure, check_gates
from pipelines.lab.loops import answer, reproducible, share_right, text_parts, train
from pipelines.lab.mixes import COUNTING, Row, course_of, draw_exercises
from pipelines.lab.parting import fitting
from pipelines.lab.text_families import get_text_family
from pipelines.lab.tokenizer import build_tokenizer, vocabulary


def generation_config() -> GenerationConfig:
    """Greedy, up to the end of message."""
    words = vocabulary()
    return GenerationConfig(do_sample=False, eos_token_id=words.end, pad_token_id=words.pad)


def save_text_model(model: PreTrainedModel, out: Path) -> None:
    """Model, generation config and tokenizer, as `from_pretrained` reads them."""
    model.generation_config = generation_config()
    model.save_pretrained(out)
    build_tokenizer().save_pretrained(out)


def build_base(config: WorldConfig, family: str, out: Path) -> None:
    """Trains the base LM of a text family from scratch into `out`; its figures are recorded without a gate."""
    row = get_text_family(family)
    with reproducible(sub_seed(config.seed, f"base init{row.draws}")):
        model = row.build(config.language)
        groups = [(list(model.parameters()), config.base.learning_rate)]
        course = course_of(config)
        train(text_parts(model, config.language), course.base, config.base, groups, config, "base")
        figures = [Figure("short chains in text", *_text_accuracy(model, config, course.short_chains))]
        save_text_model(model, out)
    check_gates(out, f"{config.name} world {config.seed}, {family} base", figures)


def build_expert(config: WorldConfig, family: str, distance: str, base: Path, out: Path) -> None:
    """Tunes a reasoning expert from the base LM into `out`; a `near` one at a lower learning rate.

    Raises:
        GateError: too few long chains are right.
    """
    schedule, knob = config.expert, DISTANCES[distance]
    with reproducible(sub_seed(config.seed, f"expert{get_text_family(family).draws}")):
        model = AutoModelForCausalLM.from_pretrained(base)
        groups = [(list(model.parameters()), schedule.learning_rate * knob.rate)]
        train(text_parts(model, config.language), course_of(config).expert, schedule, groups, config, "expert")
        figure = Figure("validation text", *_text_accuracy(model, config, course_of(config).long_chains))
        save_text_model(model, out)
    low = config.gates.near_expert_text if distance == "near" else config.gates.expert_text
    check_gates(out, f"{config.name} world {config.seed}, {distance} {family} expert", [replace(figure, low=low)])


def build_other_expert(config: WorldConfig, family: str, distance: str, base: Path, out: Path) -> None:
    """Tunes an expert of another skill, counting, from the same base by the same schedule into `out`.

    Raises:
        GateError: it can't count, or reasons about what the suites ask for.
    """
    schedule, gates = config.expert, config.gates
    with reproducible(sub_seed(config.seed, f"other expert{get_text_family(family).draws}")):
        model = AutoModelForCausalLM.from_pretrained(base)
        groups = [(list(model.parameters()), schedule.learning_rate * DISTANCES[distance].rate)]
        train(text_parts(model, config.language), COUNTING, schedule, groups, config, "other expert")
        counts = Figure("counts in text", *_text_accuracy(model, config, COUNTING), low=gates.other_skill)
        chains = _text_accuracy(model, config, course_of(config).long_chains)
        save_text_model(model, out)
    figures = [counts, Figure("validation text", *chains, high=gates.other_skill_reasons)]
    check_gates(out, f"{config.name} world {config.seed}, {distance} {family} counting expert", figures)


def move_expert(config: WorldConfig, family: str, distance: str, expert: Path, out: Path) -> None:
    """The expert in `expert` with a share of its MLP units permuted: the same function, further from base and MLLM."""
    with reproducible(sub_seed(config.seed, f"{distance} expert")):
        model = AutoModelForCausalLM.from_pretrained(expert)
        permute_units(model, DISTANCES[distance].permuted)
        figure = Figure("validation text", *_text_accuracy(model, config, course_of(config).long_chains))
        save_text_model(model, out)
    check_gates(out, f"{config.name} world {config.seed}, {distance} {family} expert", [figure])


@torch.no_grad()
def permute_units(model: Network, share: float) -> None:
    """Cycles a random `share` of each layer's MLP units among themselves; the model computes the same function."""
    for layer in model.model.layers:
        mlp = layer.mlp
        n = mlp.gate_proj.out_features
        chosen = torch.randperm(n)[: round(share * n)]
        order = torch.arange(n)
        order[chosen] = chosen.roll(1)
        for projection in (mlp.gate_proj, mlp.up_proj):
            projection.weight.copy_(projection.weight[order])
        mlp.down_proj.weight.copy_(mlp.down_proj.weight[:, order])


def _text_accuracy(model: Network, config: WorldConfig, mix: tuple[Row, ...]) -> tuple[float, int]:
    rng = Random(sub_seed(config.seed, "validation text"))
    exercises = draw_exercises(mix, rng, config.gates.problems, fitting(config, "validation"))
    return share_right(exercises, answer(text_parts(model, config.language), exercises)), len(exercises)
