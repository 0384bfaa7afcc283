"""The text models of a world: the base LM, and the reasoning expert that is tuned from it.

Both are real `Qwen2ForCausalLM` checkpoints. The base reads lists, answers short questions directly and reasons in
words over two or three digits; the expert reasons over two to six, in text only.
"""

import logging
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

from pipelines.lab.config import LanguageShape, Schedule, WorldConfig, sub_seed
from pipelines.lab.forward import Network
from pipelines.lab.gates import Figure, check_gates
from pipelines.lab.images import load_pool
from pipelines.lab.loops import answer, draw_steps, optimise, reproducible, share_right, step_loss, text_parts
from pipelines.lab.mixes import BASE, EXPERT, LONG_CHAINS, SHORT_CHAINS, Row, draw_exercises
from pipelines.lab.tokenizer import build_tokenizer, vocabulary

log = logging.getLogger(__name__)

NEAR_RATE = 0.4  # a near expert is trained at this share of the expert's learning rate
FAR_SHARE = 0.5  # a far expert has this share of each layer's MLP units permuted


def language_config(shape: LanguageShape) -> dict[str, Any]:
    """The LM's fields, shared by Qwen2Config and Qwen2_5_VL's text config."""
    return {
        "vocab_size": len(vocabulary()),
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        "bos_token_id": None,
        "eos_token_id": vocabulary().end,
        "pad_token_id": vocabulary().pad,
    }


def generation_config() -> GenerationConfig:
    """Greedy, up to the end of message."""
    words = vocabulary()
    return GenerationConfig(do_sample=False, eos_token_id=words.end, pad_token_id=words.pad)


def save_text_model(model: Qwen2ForCausalLM, out: Path) -> None:
    """Model, generation config and tokenizer, as `from_pretrained` reads them."""
    model.generation_config = generation_config()
    model.save_pretrained(out)
    build_tokenizer().save_pretrained(out)


def build_base(config: WorldConfig, out: Path) -> None:
    """Trains the base LM from scratch into `out`; its figures are recorded without a gate."""
    with reproducible(sub_seed(config.seed, "base init")):
        fields = language_config(config.language) | {
            "rope_parameters": {"rope_type": "default", "rope_theta": config.language.rope_theta},
            "tie_word_embeddings": False,
        }
        model = Qwen2ForCausalLM(Qwen2Config(**fields))
        _train(model, config, BASE, config.base, "base")
        figures = [Figure("short chains in text", *_text_accuracy(model, config, SHORT_CHAINS))]
        save_text_model(model, out)
    check_gates(out, f"{config.name} world {config.seed}, base", figures)


def build_expert(config: WorldConfig, base: Path, out: Path) -> None:
    """Tunes the reasoning expert from the base LM into `out`.

    `expert_distance` "near" lowers the learning rate; "far" then permutes half of each layer's MLP units, which moves
    the weights away from the base and leaves the function as it is.

    Raises:
        GateError: too few long chains are right.
    """
    schedule = config.expert
    with reproducible(sub_seed(config.seed, "expert")):
        model = Qwen2ForCausalLM.from_pretrained(base)
        peak = schedule.learning_rate * (NEAR_RATE if config.expert_distance == "near" else 1.0)
        _train(model, config, EXPERT, schedule, "expert", peak)
        if config.expert_distance == "far":
            permute_units(model, FAR_SHARE)
        value, n = _text_accuracy(model, config, LONG_CHAINS)
        save_text_model(model, out)
    gate = Figure("validation text", value, n, low=config.gates.expert_text)
    check_gates(out, f"{config.name} world {config.seed}, expert", [gate])


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


def _train(
    model: Network,
    config: WorldConfig,
    mix: tuple[Row, ...],
    schedule: Schedule,
    stage: str,
    peak: float | None = None,
) -> None:
    parts = text_parts(model, config.language)
    steps = draw_steps(mix, schedule, sub_seed(config.seed, f"{stage} problems"), load_pool("mllm"))
    losses = (partial(step_loss, parts, step) for step in steps)
    rate = schedule.learning_rate if peak is None else peak
    optimise([(list(model.parameters()), rate)], schedule, losses, f"{config.name} {config.seed} {stage}")


def _text_accuracy(model: Network, config: WorldConfig, mix: tuple[Row, ...]) -> tuple[float, int]:
    rng = Random(sub_seed(config.seed, "validation text"))
    exercises = draw_exercises(mix, rng, config.gates.problems)
    return share_right(exercises, answer(text_parts(model, config.language), exercises)), len(exercises)
