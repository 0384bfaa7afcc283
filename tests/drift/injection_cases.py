"""What the injection's numerical matrix trains: one small Qwen2, its data, an in-memory prior, and a reference.

The reference is one process that follows the paper's formulas literally, with whole gradients, and shares no code with
drift: it is what every backend on two processes must reproduce.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

WORLD = 2
STEPS = 3
LEARNING_RATE = 5e-4
ALPHA = -0.7


@dataclass(frozen=True)
class Case:
    """One cell of the matrix."""

    backend: str
    scale: str = "adaptive"
    semantics: str = "step"
    clip: float = 0.0
    accumulation: int = 2
    offload: bool = False
    round_robin: bool = False
    rescale: bool = False
    bf16: bool = False
    tied: bool = False
    groups: tuple[str, ...] = ("attn", "mlp")
    resume: bool = False
    inject: bool = True
    target: float | None = None
    rank: int | None = None

    @property
    def name(self) -> str:
        """A file name and test id that says what is not default."""
        words = [self.backend, self.scale, self.semantics, f"acc{self.accumulation}"]
        words += [f"clip{self.clip}"] if self.clip else []
        words += [f"target{self.target}"] if self.target else []
        words += [f"rank{self.rank}"] if self.rank else []
        flags = ("offload", "round_robin", "rescale", "bf16", "tied", "resume")
        words += [flag for flag in flags if getattr(self, flag)]
        words += ["-".join(self.groups)] if self.groups != ("attn", "mlp") else []
        return "_".join(words if self.inject else ["plain", *words])


class MemoryPrior:
    """A prior of seeded Gaussian Deltas that bf16 holds exactly."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], groups: tuple[str, ...], seed: int = 7) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.groups = groups
        self.dtype = torch.bfloat16
        self.tensors = {
            name: (0.02 * torch.randn(shape, generator=generator)).bfloat16().float() for name, shape in shapes.items()
        }

    @property
    def names(self) -> list[str]:
        return list(self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name].shape)

    def norm(self, name: str) -> float:
        return float(self.tensors[name].double().norm())

    def read(self, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.tensors[name].to(dtype)

    def read_slice(self, name: str, start: int, stop: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.tensors[name].reshape(-1)[start:stop].to(dtype)

    def held(self, name: str, start: int, stop: int, device: torch.device) -> Tensor:
        return self.read_slice(name, start, stop, dtype=self.dtype).to(device)


class LowRankPrior(MemoryPrior):
    """The same, its matrices cut to their leading singular pairs, held as factors."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], groups: tuple[str, ...], rank: int) -> None:
        super().__init__(shapes, groups)
        self.dtype = torch.float32
        self._factors = {}
        for name, tensor in self.tensors.items():
            if tensor.ndim == 2:
                u, s, vh = torch.linalg.svd(tensor, full_matrices=False)
                self._factors[name] = u[:, :rank] * s[:rank], vh[:rank]
        self.tensors |= {name: left @ right for name, (left, right) in self._factors.items()}

    def held(self, name: str, start: int, stop: int, device: torch.device) -> Any:
        from drift.singular import LowRank

        if name not in self._factors:
            return super().held(name, start, stop, device)
        left, right = self._factors[name]
        return LowRank(left.to(device), right.to(device), start, stop)


class MemoryStart:
    """The weights that `build_model` begins with, as a checkpoint's slices."""

    def __init__(self, tied: bool = False) -> None:
        self._tensors = build_model(tied).state_dict()

    def read_slice(self, name: str, start: int, stop: int) -> Tensor:
        return self._tensors[name].reshape(-1)[start:stop]


def choices(case: Case) -> dict[str, Any]:
    """The case as arguments of GradientInjector."""
    return {
        "alpha": ALPHA,
        "scale": case.scale,
        "semantics": case.semantics,
        "rescale_to_parameter": case.rescale,
        "target_w_eff": case.target,
        "total_steps": STEPS if case.target else None,
        "start": MemoryStart(case.tied) if case.scale == "pull" else None,
    }


def build_model(tied: bool = False) -> PreTrainedModel:
    """Two layers with sizes that no two ranks can split evenly, grouped-query attention and q/k/v biases."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=61,
        hidden_size=24,
        intermediate_size=25,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        tie_word_embeddings=tied,
        attn_implementation="eager",
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0) if parameter.ndim > 1 else parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.train()


def build_prior(model: nn.Module, groups: tuple[str, ...], rank: int | None = None) -> MemoryPrior:
    """Deltas for the groups' tensors, found by plain substrings."""
    marks = {
        "attn": "self_attn",
        "mlp": ".mlp.",
        "norm": "layernorm",
        "final_norm": "model.norm",
        "lm_head": "lm_head",
        "embed_tokens": "embed",
    }
    wanted = tuple(marks[group] for group in groups)
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters() if any(mark in n for mark in wanted)}
    return MemoryPrior(shapes, groups) if rank is None else LowRankPrior(shapes, groups, rank)


def batches(accumulation: int) -> Tensor:
    """Tokens, (steps, ranks, micro-batches, 2, 9)."""
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 61, (STEPS, WORLD, accumulation, 2, 9), generator=generator)


def strength(scale: str, gradient: Tensor, delta: Tensor) -> Tensor:
    """What alpha is multiplied by, as in the paper's section 3.3."""
    if scale in ("absolute", "pull"):
        return torch.tensor(1.0)
    ratio = gradient.norm() / delta.norm()
    if scale == "gradnorm":
        return ratio
    similarity = torch.nn.functional.cosine_similarity(gradient.flatten(), delta.flatten(), dim=0)
    return ratio * (1 + (-similarity if scale == "adaptive_toward" else similarity)) / 2


def budget(
    case: Case, number: int, model: nn.Module, start: dict[str, Tensor], deltas: dict[str, Tensor]
) -> dict[str, float]:
    """What each tensor's alpha is multiplied by: how far its group is behind, in twentieths of the target."""
    if case.target is None:
        return dict.fromkeys(deltas, 1.0)
    factors = {}
    for mark in ("self_attn", ".mlp."):
        names = [name for name in deltas if mark in name]
        moved = sum(float(((model.get_parameter(n).detach() - start[n]) * deltas[n]).sum()) for n in names)
        share = moved / sum(float(deltas[n].square().sum()) for n in names)
        due = min(2 * (number + 1) / STEPS, 1.0)
        factors |= dict.fromkeys(names, min(max(20 * (due - share / case.target), 0.0), 1.0))
    return factors


def reference(case: Case, ranks: int = WORLD) -> dict[str, Tensor]:
    """Weights after STEPS steps of AdamW on the biased gradient, by name."""
    model = build_model(case.tied)
    prior = build_prior(model, case.groups, case.rank)
    names, parameters = zip(*model.named_parameters(), strict=True)
    deltas = {name: prior.read(name) for name in prior.names}
    if case.rescale:
        deltas = {n: d * model.get_parameter(n).detach().norm() / d.norm() for n, d in deltas.items()}
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0)
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    whole = deltas
    for number, step in enumerate(batches(case.accumulation)):
        alphas = {name: ALPHA * factor for name, factor in budget(case, number, model, start, whole).items()}
        if case.scale == "pull":
            deltas = {n: d - (model.get_parameter(n).detach() - start[n]) for n, d in whole.items()}
        totals = {name: torch.zeros_like(parameter) for name, parameter in zip(names, parameters, strict=True)}
        for tokens in step[:ranks].flatten(0, 1):
            loss = model(input_ids=tokens, labels=tokens).loss / case.accumulation
            for name, gradient in zip(names, torch.autograd.grad(loss, parameters), strict=True):
                local = gradient.clone()
                if case.inject and case.semantics == "micro_batch" and name in deltas:
                    local += alphas[name] * strength(case.scale, gradient, deltas[name]) * deltas[name]
                totals[name] += local / ranks
        if case.inject and case.semantics == "step":
            for name, delta in deltas.items():
                totals[name] += alphas[name] * strength(case.scale, totals[name], delta) * delta
        for parameter, name in zip(parameters, names, strict=True):
            parameter.grad = totals[name]
        if case.clip:
            norm = torch.stack([total.norm() for total in totals.values()]).norm()
            for parameter in parameters:
                parameter.grad *= min(1.0, case.clip / (float(norm) + 1e-6))
        optimizer.step()
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
