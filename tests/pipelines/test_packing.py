"""Examples packed into one row are trained on as if they were padded, in every family: the same loss and gradients."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import PreTrainedModel

from drift.errors import TrainingError
from drift.training.batches import Packer, collate
from drift.training.config import TrainingConfig
from drift.training.conversations import Conversation, Turn
from drift.training.data import encode
from pipelines import compose
from pipelines.lab.families import LAB_FAMILIES, LabFamily

SMOKE = compose.load(["world=smoke"]).world
SAID = {  # question with its pictures, reply
    "picture": ("<image>list . sum ?", "<think> 3 + 8 = 1 </think> 1"),
    "words": ("8 5 . sum ?", "3"),
    "two pictures": ("<image><image>sum ? think", "<think> 5 + 3 = 8 . 8 + 1 = 9 </think> 9"),
    "picture late": ("list 3 8 5 1 . sum ? <image>", "7"),
}


def examples(family: LabFamily, folder: Path) -> list[dict[str, torch.Tensor]]:
    """Of four lengths, with one picture, none, two, and one."""
    made, rng = [], np.random.default_rng(0)
    for n, (question, reply) in enumerate(SAID.values()):
        pictures = []
        for k in range(question.count("<image>")):
            pictures.append(folder / f"{n}-{k}.png")
            Image.fromarray(rng.integers(0, 256, (8, 64), dtype=np.uint8)).save(pictures[-1])
        turns = (Turn("user", question), Turn("assistant", reply))
        made.append(encode(family.processor(), Conversation(str(n), turns, tuple(pictures))))
    return made


def network(family: LabFamily, attention: str) -> PreTrainedModel:
    """Random weights, large enough that every position and neighbour shows."""
    torch.manual_seed(0)
    model = family.build(SMOKE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    model.set_attn_implementation(attention)
    return model.train()


def learnt(model: PreTrainedModel, batch: dict) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss and every gradient."""
    model.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def farthest(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    """The largest difference in any tensor, by that tensor's largest gradient, or a thousandth of the model's."""
    assert one.keys() == two.keys()
    sizes = {name: gradient.abs().max() for name, gradient in one.items()}
    floor = max(sizes.values()) / 1000
    return max(((one[name] - two[name]).abs().max() / max(size, floor)).item() for name, size in sizes.items())


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", LAB_FAMILIES.values(), ids=lambda row: row.name)
def test_packed_examples_have_the_loss_and_gradients_of_padded_ones(family, attention, tmp_path):
    model, rows = network(family, attention), examples(family, tmp_path)
    loss, gradients = learnt(model, collate(rows, pad_id=0))
    packed = Packer(model)(rows)
    assert packed["input_ids"].shape == (1, sum(len(row["input_ids"]) for row in rows))
    packed_loss, packed_gradients = learnt(model, packed)
    assert packed_loss == pytest.approx(loss, rel=1e-6)
    assert farthest(gradients, packed_gradients) < 2e-4
    for lacking in ("position_ids", "use_cache"):  # without either, an example sees those before it
        seen, unparted = learnt(model, {key: value for key, value in packed.items() if key != lacking})
        assert seen != pytest.approx(loss, rel=1e-3)
        assert farthest(gradients, unparted) > 0.05


def test_packing_a_pass_of_one_example_is_refused_by_a_plan():
    with pytest.raises(TrainingError, match="packing is True, expected false where a pass has one example"):
        TrainingConfig(packing=True, per_device_batch_size=1)
    with pytest.raises(TrainingError, match="packing is True, expected false"):
        compose.load(["profile=paper", "train.packing=true"])
    assert compose.load(["profile=paper", "train.packing=true", "train.per_device_batch_size=4"]).train.packing
