"""Merges by singular values: each formula by hand on tiny matrices, and what must hold of any."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drift.merging.config import MergeError, get_method, resolve_hyperparameters
from drift.merging.methods import merge_tensors
from drift.merging.spectral import isotropic, least_interference, reasoning_direction, truncated

MATRIX, VECTOR = "model.layers.0.mlp.up_proj.weight", "model.layers.0.input_layernorm.weight"


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def merged(key, sides, seed=0, **given):
    """The matrix and the vector that a method makes of (MLLM, expert, base), each a (matrix, vector)."""
    method = get_method(key, "paper")
    models = [dict(zip((MATRIX, VECTOR), side, strict=True)) for side in sides]
    out = merge_tensors(method, resolve_hyperparameters(method, given), *models, seed=seed)
    return out[MATRIX], out[VECTOR]


def test_selective_rl_by_hand():
    """Delta = diag(3, 4): u_1 v_1^T is the second entry, ||Delta||_F is 5. W = V + 0.5 (B - V) + 0.1 * 5 e_2 e_2^T."""
    base, vector = torch.eye(2), torch.tensor([1.0, 1.0])
    expert, mllm = base + torch.diag(torch.tensor([3.0, 4.0])), base + torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    sides = [(mllm, vector * 2), (expert, vector * 3), (base, vector)]
    matrix, kept = merged("selective_rl", sides, alpha=0.5, beta=0.1)
    torch.testing.assert_close(matrix, torch.tensor([[1.0, 1.0], [0.0, 1.5]]))
    assert torch.equal(kept, vector * 2)
    direct, _ = merged("selective_rl", sides, alpha=0.0, beta=0.1)
    torch.testing.assert_close(direct, torch.tensor([[1.0, 2.0], [0.0, 1.5]]))
    unscaled, _ = merged("selective_rl", sides, alpha=0.0, beta=0.1, length="own")
    torch.testing.assert_close(unscaled, torch.tensor([[1.0, 2.0], [0.0, 1.4]]))
    trailing, _ = merged("selective_rl", sides, alpha=0.0, beta=0.1, direction="trailing")
    torch.testing.assert_close(trailing, torch.tensor([[1.5, 2.0], [0.0, 1.0]]))
    both, _ = merged("selective_rl", sides, alpha=0.0, beta=0.1, rank=2)
    torch.testing.assert_close(both, torch.tensor([[1.3, 2.0], [0.0, 1.4]]))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["leading", "trailing", "random"]), st.integers(1, 4), st.integers(0, 100))
def test_every_direction_is_as_long_as_the_whole_change_and_of_its_rank(direction, rank, seed):
    delta = drawn(5, 7, seed=seed)
    found = reasoning_direction(delta, rank, direction, "delta", "a", seed)
    assert float(found.norm()) == pytest.approx(float(delta.norm()), rel=1e-4)
    assert int(torch.linalg.matrix_rank(found, rtol=1e-4)) == rank


def test_a_random_direction_is_another_for_each_seed_and_tensor():
    delta = drawn(30, 40)
    found = [
        reasoning_direction(delta, 1, "random", "delta", n, s) for n, s in (("a", 0), ("a", 0), ("a", 1), ("b", 0))
    ]
    assert torch.equal(found[0], found[1])
    for other in found[2:]:
        assert abs(float(torch.cosine_similarity(found[0].flatten(), other.flatten(), dim=0))) < 0.5


def test_star_by_hand():
    """diag(6, 3, 1): 6 of 10 reach 40%, and become 10; 90% takes 6 and 3, each times 10/9."""
    delta = torch.diag(torch.tensor([6.0, 3.0, 1.0]))
    torch.testing.assert_close(truncated(delta, 0.4), torch.diag(torch.tensor([10.0, 0.0, 0.0])))
    torch.testing.assert_close(truncated(delta, 0.8), torch.diag(torch.tensor([6.0, 3.0, 0.0])) * 10 / 9)
    zero, vector = torch.zeros(3, 3), torch.zeros(3)
    matrix, averaged = merged("star", [(zero, vector + 2), (delta, vector + 4), (zero, vector)])
    torch.testing.assert_close(matrix, torch.diag(torch.tensor([5.0, 0.0, 0.0])))
    assert averaged.tolist() == [3.0, 3.0, 3.0]


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 1.0), st.integers(0, 100))
def test_star_keeps_the_sum_of_the_singular_values(share, seed):
    delta = drawn(6, 9, seed=seed)
    found = truncated(delta, share)
    assert float(torch.linalg.svdvals(found).sum()) == pytest.approx(float(torch.linalg.svdvals(delta).sum()), rel=1e-4)
    torch.testing.assert_close(truncated(delta, 1.0), delta, atol=1e-4, rtol=0)
    assert truncated(torch.zeros(3, 4), share).count_nonzero() == 0


def test_iso_c_by_hand():
    """diag(4, 0) and diag(0, 2) sum to singular values 4 and 2, which both become 3."""
    mllm, expert, zero = torch.diag(torch.tensor([4.0, 0.0])), torch.diag(torch.tensor([0.0, 2.0])), torch.zeros(2, 2)
    vector = torch.tensor([1.0, 1.0])
    matrix, averaged = merged("iso_c", [(mllm, vector), (expert, vector * 3), (zero, vector * 0)], scale=0.5)
    torch.testing.assert_close(matrix, torch.eye(2) * 1.5)
    assert averaged.tolist() == [1.0, 1.0]


def test_iso_c_turns_as_the_sum_does():
    """Singular vectors stay: U^T (isotropic) V is the mean times the identity."""
    total = drawn(5, 8)
    u, s, vh = torch.linalg.svd(total, full_matrices=False)
    torch.testing.assert_close(u.T @ isotropic(total) @ vh.T, torch.eye(5) * s.mean(), atol=1e-5, rtol=0)


def test_swudi_by_hand():
    """Of numbers a and b, C = 2 and D = a + b: from the sum, e^(-2 t) of it is left over their mean's share."""
    a, b, time = torch.tensor([[3.0]]), torch.tensor([[1.0]]), 0.5
    left = torch.exp(torch.tensor(-2.0 * time))
    expected = 4.0 * left + 2.0 * (1.0 - left)
    torch.testing.assert_close(least_interference([a, b], time, 1.0), expected.view(1, 1))


def test_swudi_ends_where_the_loss_is_least():
    """After a long time T C = D, which is where the loss's gradient vanishes."""
    deltas = [drawn(6, 4, seed=1), drawn(6, 4, seed=2)]
    found = least_interference(deltas, 1e4, 1.0)
    gradient = sum((found - t) @ t.T @ t / t.square().sum() for t in deltas)
    assert float(torch.as_tensor(gradient).abs().max()) < 1e-4

    def loss(merged: torch.Tensor) -> float:
        return sum(float(((merged - t) @ t.T).square().sum() / t.square().sum()) for t in deltas)

    assert loss(found) < min(loss(found + 0.01 * drawn(6, 4, seed=n)) for n in range(3, 8))


def test_swudi_leaves_task_vectors_that_share_no_input_as_their_sum():
    a, b = torch.zeros(3, 4), torch.zeros(3, 4)
    a[:, :2], b[:, 2:] = drawn(3, 2, seed=1), drawn(3, 2, seed=2)
    torch.testing.assert_close(least_interference([a, b], 300.0, 1.0), a + b, atol=1e-5, rtol=0)
    torch.testing.assert_close(least_interference([a, torch.zeros(3, 4)], 300.0, 1.0), a, atol=1e-5, rtol=0)


def test_swudi_moves_along_the_leading_share_of_the_inputs_alone():
    """A quarter of four inputs is one: beyond the leading eigenvector of C the sum stays."""
    deltas = [drawn(6, 4, seed=1), drawn(6, 4, seed=2)]
    gram = sum(t.T @ t / t.square().sum() for t in deltas)
    leading = torch.linalg.eigh(torch.as_tensor(gram)).eigenvectors[:, -1:]
    moved = least_interference(deltas, 300.0, 0.25) - sum(deltas)
    torch.testing.assert_close(moved @ leading @ leading.T, moved, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"direction": "leadin"}, "unknown direction 'leadin'; did you mean 'leading'"),
        ({"length": "whole"}, "unknown length 'whole'"),
        ({"rank": 0}, "rank is 0, expected at least 1"),
    ],
)
def test_what_no_direction_has_is_refused(given, match):
    with pytest.raises(MergeError, match=match):
        resolve_hyperparameters(get_method("selective_rl", "paper"), given)
