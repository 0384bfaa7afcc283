"""Every backend on two processes gives the weights of one process that follows the paper's formulas literally.

Scale x semantics x {DDP, DeepSpeed ZeRO 0, 1, 2, 3, FSDP2} x {clipping, accumulation, CPU offload, round robin}; the
default cases share one launch, the rest of the product is `slow`. The reference is in injection_cases.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import torch
from injection_cases import Case, build_model, build_prior, reference
from injection_worker import launch
from torch import Tensor

pytestmark = pytest.mark.timeout(1800)

TOLERANCE = 1e-6
BACKENDS = ("ddp", "zero0", "zero1", "zero2", "zero3", "fsdp2")
SCALES = ("absolute", "gradnorm", "adaptive")
RIVALS = ("adaptive_toward", "pull")
SEMANTICS = ("step", "micro_batch")
WITH_NORMS = ("attn", "mlp", "norm", "embed_tokens")
WITH_HEAD = ("attn", "mlp", "norm", "final_norm", "lm_head")

CORE = [Case(b, scale, how, clip=0.5) for b, scale, how in product(BACKENDS, SCALES, SEMANTICS)]
VARIANTS = [
    *[Case(backend, accumulation=1) for backend in BACKENDS],
    Case("zero2", clip=0.5, offload=True),
    Case("zero3", semantics="micro_batch", clip=0.5, offload=True),
    Case("zero1", clip=0.5, round_robin=True),
    Case("zero2", semantics="micro_batch", clip=0.5, round_robin=True),
    Case("zero2", clip=0.5, round_robin=True, offload=True),
    Case("zero2", "absolute", rescale=True),
    Case("zero3", "absolute", "micro_batch", rescale=True),
    Case("zero2", tied=True, groups=WITH_NORMS),
    Case("fsdp2", tied=True, groups=WITH_NORMS, semantics="micro_batch"),
    Case("zero3", groups=WITH_HEAD),
    Case("zero2", inject=False),
    Case("zero0", "pull", clip=0.5),
    Case("zero2", "pull", clip=0.5, offload=True),
    Case("zero3", "pull", "micro_batch"),
    Case("fsdp2", "pull"),
    Case("zero1", "adaptive_toward", clip=0.5),
    Case("zero3", "adaptive_toward", "micro_batch"),
    Case("zero2", "gradnorm", "micro_batch", target=0.015),
    Case("fsdp2", target=0.015),
    Case("zero2", clip=0.5, rank=2),
    Case("zero3", semantics="micro_batch", rank=1),
    Case("fsdp2", "gradnorm", rank=2),
    Case("ddp", "absolute", "micro_batch", rank=1),
]
RESUMED = [
    Case("zero2", resume=True, clip=0.5),
    Case("zero3", resume=True, clip=0.5),
    Case("zero2", "pull", resume=True),
    Case("zero3", target=0.015, resume=True),
]
IN_BF16 = [Case("zero1", bf16=True), Case("zero2", bf16=True), Case("zero3", "gradnorm", "micro_batch", bf16=True)]
PLAIN_BF16 = [Case(f"zero{stage}", bf16=True, inject=False) for stage in (1, 2, 3)]
DEFAULT = [*CORE, *VARIANTS, *RESUMED, *IN_BF16, *PLAIN_BF16]
TRAINERS = [
    Case("accelerator", semantics="micro_batch", clip=0.5),
    Case("trainer_ddp", clip=0.5),
    Case("trainer_zero2", clip=0.5),
    Case("trainer_zero2", resume=True),
    Case("trainer_zero3", semantics="micro_batch", clip=0.5),
    Case("trainer_zero3", resume=True),
]


def _rest() -> Iterator[Case]:
    known = {case.name for case in DEFAULT}
    scales = (*SCALES, *RIVALS)
    for backend, scale, how, clip, steps in product(BACKENDS, scales, SEMANTICS, (0.0, 0.5), (1, 2)):
        yield Case(backend, scale, how, clip, steps)
    for backend, scale, how in product(BACKENDS, scales, SEMANTICS):
        yield Case(backend, scale, how, target=0.015)
        yield Case(backend, scale, how, rank=1)
    for stage, scale, how, offload, rounds in product((1, 2, 3), scales, SEMANTICS, (False, True), (False, True)):
        case = Case(f"zero{stage}", scale, how, 0.5, 2, offload, rounds and stage < 3)
        if case.name not in known:
            known.add(case.name)
            yield case


REST = [case for case in _rest() if case.name not in {known.name for known in DEFAULT}]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("matrix")
    launch(DEFAULT, folder, timeout=1500)
    return folder


@pytest.fixture(scope="module")
def trained_by_trainers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trainers")
    launch(TRAINERS, folder, timeout=1500)
    return folder


@pytest.fixture(scope="module")
def trained_rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rest")
    launch(REST, folder, timeout=1700)
    return folder


def _distance(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    return max(float((left[name] - right[name]).abs().max()) for name in right)


def _check(case: Case, folder: Path) -> None:
    expected = reference(case)
    result = torch.load(folder / f"{case.name}.pt", weights_only=False)
    assert _distance(result["weights"], expected) <= TOLERANCE
    if not case.inject:
        return
    assert (
        result["covered"]
        == result["expected"]
        == len(build_prior(build_model(case.tied), case.groups, case.rank).names)
    )
    assert result["w_eff"] == pytest.approx(_w_eff(case, expected), rel=1e-3)
    assert result["metrics"]["w_eff"] == result["w_eff"]


def _w_eff(case: Case, weights: dict[str, Tensor]) -> float:
    start = build_model(case.tied).state_dict()
    prior = build_prior(build_model(case.tied), case.groups, case.rank)
    deltas = {name: prior.read(name).double() for name in prior.names}
    moved = sum(float(((weights[n].double() - start[n].double()) * d).sum()) for n, d in deltas.items())
    return moved / sum(float(d.square().sum()) for d in deltas.values())


@pytest.mark.parametrize("case", [*CORE, *VARIANTS], ids=lambda case: case.name)
def test_two_processes_give_the_reference(case: Case, trained: Path):
    _check(case, trained)


@pytest.mark.parametrize("case", RESUMED, ids=lambda case: case.name)
def test_resumed_in_a_new_engine_equals_uninterrupted(case: Case, trained: Path):
    _check(case, trained)


@pytest.mark.parametrize("case", TRAINERS, ids=lambda case: case.name)
def test_trainer_and_accelerate_give_the_reference(case: Case, trained_by_trainers: Path):
    _check(case, trained_by_trainers)


def test_a_passive_observer_measures_the_same_w_eff_as_the_injector(trained_by_trainers: Path):
    for case in TRAINERS[1:]:
        result = torch.load(trained_by_trainers / f"{case.name}.pt", weights_only=False)
        assert result["watched"] == pytest.approx(result["w_eff"], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("case", REST, ids=lambda case: case.name)
def test_rest_of_the_product_gives_the_reference(case: Case, trained_rest: Path):
    _check(case, trained_rest)


@pytest.mark.parametrize("case", IN_BF16, ids=lambda case: case.name)
def test_bf16_differs_by_no_more_than_plain_bf16(case: Case, trained: Path):
    plain = next(other for other in PLAIN_BF16 if other.backend == case.backend)
    noise = _rms(torch.load(trained / f"{plain.name}.pt", weights_only=False)["weights"], reference(plain))
    result = torch.load(trained / f"{case.name}.pt", weights_only=False)
    expected = reference(case)
    assert _rms(result["weights"], expected) <= 1.2 * noise
    assert result["w_eff"] == pytest.approx(_w_eff(case, expected), rel=0.05)


def _rms(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    squares = sum(float((left[name] - right[name]).square().sum()) for name in right)
    return (squares / sum(tensor.numel() for tensor in right.values())) ** 0.5


def test_injection_moves_the_weights_a_thousand_times_further_than_the_tolerance():
    plain = reference(Case("ddp", inject=False, clip=0.5))
    for scale, semantics in product((*SCALES, *RIVALS), SEMANTICS):
        assert _distance(reference(Case("ddp", scale, semantics, clip=0.5)), plain) > 1000 * TOLERANCE


def test_the_two_semantics_differ_for_every_scale():
    for scale in (*SCALES, *RIVALS):
        step, micro = (reference(Case("ddp", scale, how, clip=0.5)) for how in SEMANTICS)
        assert _distance(step, micro) > 100 * TOLERANCE
