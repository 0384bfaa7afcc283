"""Singular pairs: exact where a matrix is small, within the stated bound where it is large, the same at each call."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drift.singular import LowRank, error_factor, exact, leading, squared_norm


def matrix(m: int, n: int, values: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """(m, n) with these singular values."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.linalg.qr(torch.randn(d, len(values), generator=generator)).Q for d in (m, n))
    return (left * values) @ right.T


def test_worked_example_by_hand():
    """[[3, 0], [4, 0]] is 5 times the product of (3/5, 4/5) and (1, 0)."""
    pairs = leading(torch.tensor([[3.0, 0.0], [4.0, 0.0]]), 1, "a")
    assert pairs.values.tolist() == pytest.approx([5.0])
    torch.testing.assert_close(pairs.left.abs(), torch.tensor([[0.6], [0.8]]))
    torch.testing.assert_close(pairs.right.abs(), torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(pairs.product(), torch.tensor([[3.0, 0.0], [4.0, 0.0]]))


def test_all_pairs_give_the_matrix_back():
    a = torch.randn(7, 12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(exact(a).product(), a, atol=1e-5, rtol=0)
    torch.testing.assert_close(exact(a).first(3).product(), leading(a, 3, "a").product())


@pytest.mark.parametrize("rank", [1, 4, 16])
@pytest.mark.parametrize("decay", ["flat", "slow", "fast"])
def test_a_randomised_product_misses_by_no_more_than_the_stated_bound(rank, decay):
    """The bound is of the mean over draws; each draw here is within it, and most far below."""
    count = torch.arange(1.0, 121.0)
    values = {"flat": torch.ones(120), "slow": count**-0.5, "fast": 0.7**count}[decay]
    a = matrix(120, 300, values)
    for name in ("a", "b", "c"):
        missed = torch.linalg.matrix_norm(a - leading(a, rank, name, exact_up_to=0).product(), ord=2)
        assert missed <= error_factor((120, 300), rank) * values[rank] + 1e-6


def test_a_randomised_pair_is_the_exact_one_where_the_values_are_apart():
    a = matrix(150, 200, 0.5 ** torch.arange(150.0))
    found, known = leading(a, 2, "a", exact_up_to=0), exact(a).first(2)
    torch.testing.assert_close(found.values, known.values, rtol=1e-5, atol=0)
    torch.testing.assert_close(found.product(), known.product(), atol=1e-5, rtol=0)


def test_the_name_alone_decides_the_draw():
    a = matrix(100, 130, torch.ones(100))
    first, again, other = (leading(a, 2, name, exact_up_to=0).product() for name in ("a", "a", "b"))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 3), st.data())
def test_any_slice_of_the_factors_is_that_of_their_product(m, n, k, data):
    generator = torch.Generator().manual_seed(m * n + k)
    left, right = torch.randn(m, k, generator=generator), torch.randn(k, n, generator=generator)
    flat = (left @ right).reshape(-1)
    start = data.draw(st.integers(0, m * n))
    stop = data.draw(st.integers(start, m * n))
    part = LowRank(left, right, start, stop)
    assert part.numel() == stop - start
    torch.testing.assert_close(part[:], flat[start:stop])
    inner = data.draw(st.integers(0, stop - start))
    torch.testing.assert_close(part[inner:], flat[start + inner : stop])
    torch.testing.assert_close(part[0:inner], flat[start : start + inner])
    assert squared_norm(left, right) == pytest.approx(float(flat.double().square().sum()), rel=1e-5)
