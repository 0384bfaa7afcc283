"""FRISM (arXiv:2601.21187): the expert's change in its singular directions, each behind a gate that is learned.

tau = R - B of every linear layer of attention and MLP is U S V^T, and its leading `rank` pairs are kept, two vectors
each. The gates g alone are trained: the layer is W = V + scale U diag(sigmoid(g) S) V^T, the MLLM's own elsewhere. The
loss keeps what the MLLM says on the data, and takes in as much of tau as that allows:

    KL(MLLM || gated) over reply tokens - weight * sum ||sigmoid(g) S||^2 / sum ||S||^2

Differs from the paper, which publishes neither scale nor weight: the second term is a share of the whole, so that its
weight means the same in every model; both are for a validation split to choose. W is formed once, at the end.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax
from transformers import PreTrainedModel

from drift.config import FrismConfig
from drift.errors import TrainingError
from drift.families import family_of, lm_parameters
from drift.merging.card import copy_side_files
from drift.processing import load_processor
from drift.singular import LowRank, Singular, leading
from drift.sources import Source, check_fit, open_source, select_target
from drift.training.batches import IGNORED, collate
from drift.training.config import TrainingConfig
from drift.training.conversations import read_conversations
from drift.training.data import encode
from drift.training.model import load_model
from drift.writer import Writer

log = logging.getLogger(__name__)

GROUPS = ("attn", "mlp")
_CHUNK = 1 << 20


class Gated:
    """Adds scale * U diag(sigmoid(g) S) V^T x to a linear layer's output while `is_open`."""

    is_open = True

    def __init__(self, layer: nn.Linear, pairs: Singular, scale: float) -> None:
        device = layer.weight.device
        self.left, self.values, self.right = (side.to(device) for side in (pairs.left, pairs.values, pairs.right))
        self.gate = torch.zeros_like(self.values, requires_grad=True)
        self._scale = scale
        self._handle = layer.register_forward_hook(self._add)

    def strengths(self) -> Tensor:
        """sigmoid(g) S, (k,)."""
        return torch.sigmoid(self.gate) * self.values

    def _add(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if not self.is_open:
            return output
        x = inputs[0].to(self.right.dtype)
        return output + (self._scale * (x @ self.right.T * self.strengths()) @ self.left.T).to(output.dtype)

    def close(self) -> LowRank:
        """Takes the hook off; what the gates came to, as factors of what is added to the weight."""
        self._handle.remove()
        left = (self._scale * self.left * self.strengths()).detach().cpu()
        return LowRank(left, self.right.cpu())


@dataclass(frozen=True)
class FrismResult:
    """What was learned: the last step's KL, and the mean of the gates, open at 1."""

    divergence: float
    gate: float
    matrices: int
    steps: int


def inject_gated(mllm: Path, expert: Path, base: Path, data: Path, out: Path, config: FrismConfig) -> FrismResult:
    """Learns the gates on the data's examples and writes the checkpoint that they come to.

    Args:
        mllm, expert, base: checkpoint folders of one LM architecture.
        data: a sharegpt JSON whose answers the MLLM shall go on giving: perception, not reasoning.
        out: folder to write.
    Raises:
        DriftError: bad data or models that don't fit.
    """
    sources = {role: open_source(folder) for role, folder in (("mllm", mllm), ("expert", expert), ("base", base))}
    names = select_target(sources["mllm"], GROUPS)
    for role in ("expert", "base"):
        check_fit(sources["mllm"], sources[role], names)
    torch.manual_seed(config.seed)
    model = _frozen(mllm)
    gated = _attach(model, mllm, sources, names, config)
    batches = _batches(mllm, data, config)
    divergence = _learn(model, list(gated.values()), batches, config)
    result = FrismResult(divergence, _mean_gate(gated.values()), len(gated), config.steps)
    _write({name: each.close() for name, each in gated.items()}, sources["mllm"], out, result)
    return result


def _frozen(folder: Path) -> PreTrainedModel:
    is_cuda = torch.cuda.is_available()
    config = TrainingConfig(zero_stage=0, precision="bf16" if is_cuda else "fp32")
    return load_model(folder, config).requires_grad_(False).eval().to("cuda" if is_cuda else "cpu")


def _attach(
    model: PreTrainedModel, folder: Path, sources: Mapping[str, Source], names: Sequence[str], config: FrismConfig
) -> dict[str, Gated]:
    """A gate on every linear layer of the selected names; vectors, such as biases, stay the MLLM's."""
    layers = {id(module.weight): module for module in model.modules() if isinstance(module, nn.Linear)}
    parameters = lm_parameters(model, family_of(folder))
    gated = {}
    for name in names:
        shape = sources["mllm"].shape(name)
        if len(shape) == 2:
            expert, base = (
                sources[role].read_slice(name, 0, shape[0] * shape[1]).float() for role in ("expert", "base")
            )
            pairs = leading((expert - base).view(shape), config.rank, name)
            gated[name] = Gated(layers[id(parameters[name])], pairs, config.scale)
    return gated


def _batches(mllm: Path, data: Path, config: FrismConfig) -> list[dict[str, Tensor]]:
    """The first examples of the data, as many as the steps take, `batch` at a time."""
    processor = load_processor(mllm, config.image_backend)
    conversations = read_conversations(data)[: config.steps * config.batch]
    examples = [encode(processor, each, max_pixels=config.image_max_pixels) for each in conversations]
    pad = processor.tokenizer.pad_token_id
    pad_id = pad if pad is not None else processor.tokenizer.eos_token_id
    return [collate(examples[n : n + config.batch], pad_id) for n in range(0, len(examples), config.batch)]


def _learn(
    model: PreTrainedModel, gated: Sequence[Gated], batches: Sequence[dict[str, Tensor]], config: FrismConfig
) -> float:
    optimizer = torch.optim.Adam([each.gate for each in gated], lr=config.learning_rate)
    whole = sum(float(each.values.square().sum()) for each in gated)
    divergence = torch.zeros(())
    for step in range(config.steps):
        batch = {key: tensor.to(model.device) for key, tensor in batches[step % len(batches)].items()}
        is_reply = batch.pop("labels")[:, 1:] != IGNORED
        divergence = _divergence(model, gated, batch, is_reply)
        taken = torch.stack([each.strengths().square().sum() for each in gated]).sum() / max(whole, 1e-30)
        loss = divergence - config.weight * taken
        if not torch.isfinite(loss):
            raise TrainingError(f"the gates' loss is {loss.item()} at step {step + 1}; lower frism.learning_rate")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(divergence.detach())


def _divergence(
    model: PreTrainedModel, gated: Sequence[Gated], batch: Mapping[str, Tensor], is_reply: Tensor
) -> Tensor:
    """Mean KL(MLLM || gated) of the next token over the replies."""
    with torch.no_grad():
        told = _replies(model, gated, batch, is_reply, is_open=False)
    says = _replies(model, gated, batch, is_reply, is_open=True)
    return kl_div(says, told, reduction="batchmean", log_target=True)


def _replies(
    model: PreTrainedModel, gated: Sequence[Gated], batch: Mapping[str, Tensor], is_reply: Tensor, *, is_open: bool
) -> Tensor:
    for each in gated:
        each.is_open = is_open
    output: Any = model(**batch)
    return log_softmax(output.logits[:, :-1][is_reply].float(), dim=-1)


def _mean_gate(gated: Any) -> float:
    return float(torch.cat([torch.sigmoid(each.gate.detach()) for each in gated]).mean())


def _write(added: Mapping[str, LowRank], mllm: Source, out: Path, result: FrismResult) -> None:
    """The MLLM's checkpoint with what the gates let through added, slice by slice."""
    checkpoint, on_disk = mllm.checkpoint, {mllm.index[name]: delta for name, delta in added.items()}
    specs = [checkpoint.spec(name) for name in checkpoint.names]
    with Writer(out, specs) as writer:
        for spec in specs:
            for start in range(0, spec.numel, _CHUNK):
                stop = min(start + _CHUNK, spec.numel)
                part = checkpoint.read_slice(spec.name, start, stop)
                delta = on_disk.get(spec.name)
                writer.append(spec.name, part if delta is None else part.float() + delta[start:stop])
        copy_side_files(mllm.folder, writer.partial)
        (writer.partial / "frism.json").write_text(json.dumps(vars(result), indent=1) + "\n", encoding="utf-8")
    log.info("FRISM: KL %.4g, mean gate %.3f, in %s", result.divergence, result.gate, out)
