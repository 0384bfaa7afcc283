"""Each merge method on numbers small enough to follow by hand, in every variant, and the laws that always hold."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drift.merging import primitives as p
from drift.merging.config import METHODS, Hyperparameters, MergeError, describe, get_method, resolve_hyperparameters
from drift.merging.methods import RECIPES, merge_tensors, plan_merge
from drift.merging.operands import Operands
from drift.merging.threshold import magnitude_threshold

A, B = "model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.up_proj.weight"

BASE = torch.tensor([[10.0, 20.0, 30.0], [40.0, 50.0, 60.0]])
V = torch.tensor([[4.0, -3.0, 1.0], [-2.0, 0.5, 0.0]])  # the MLLM's task vector
R = torch.tensor([[-1.0, 2.0, 3.0], [-4.0, -0.5, 0.25]])  # the expert's


def merge(key, variant, *, v=V, r=R, base=BASE, name=A, seed=0, **hyperparameters):
    """One tensor merged in memory."""
    method = get_method(key, variant)
    chosen = resolve_hyperparameters(method, hyperparameters)
    sides = {name: base + v}, {name: base + r}, {name: base}
    return merge_tensors(method, chosen, *sides, seed=seed)[name]


@pytest.mark.parametrize("key", ["linear", "task_arithmetic"])
def test_br2v_mixes_the_weights_themselves_and_needs_no_base(key):
    method = get_method(key, "br2v")
    merged = merge_tensors(method, Hyperparameters(0.75, 0.5), {A: torch.tensor([4.0])}, {A: torch.tensor([8.0])})
    assert merged[A].tolist() == [0.75 * 4 + 0.5 * 8]


def test_linear_in_mergekit_divides_by_the_sum_of_the_weights():
    merged = merge("linear", "mergekit", weight_mllm=3.0, weight_expert=1.0)
    torch.testing.assert_close(merged, BASE + (3 * V + R) / 4)


def test_linear_in_the_soups_paper_is_the_mean():
    torch.testing.assert_close(merge("linear", "paper"), BASE + (V + R) / 2)


@pytest.mark.parametrize("variant", ["paper", "mergekit"])
def test_task_arithmetic_adds_weighted_task_vectors_to_the_base(variant):
    merged = merge("task_arithmetic", variant, weight_mllm=2.0, weight_expert=0.5)
    assert merged.tolist() == [[17.5, 15.0, 33.5], [34.0, 50.75, 60.125]]


def test_ties_br2v_elects_unweighted_signs_and_divides_by_how_many_agree():
    # density 1/2 keeps v = [[4, -3, 0], [-2, 0, 0]] and r = [[0, 2, 3], [-4, 0, 0]]; signs + - + / - + +
    merged = merge("ties", "br2v", weight_mllm=2.0, weight_expert=0.5, density=0.5)
    assert merged.tolist() == [[18.0, 14.0, 31.5], [37.0, 50.0, 60.0]]


def test_ties_mergekit_elects_weighted_signs_and_divides_by_their_weights():
    merged = merge("ties", "mergekit", weight_mllm=2.0, weight_expert=0.5, density=0.5)
    torch.testing.assert_close(merged, torch.tensor([[14.0, 17.0, 33.0], [37.6, 50.0, 60.0]]))


def test_ties_sign_election_follows_the_variant():
    v, r, base = torch.tensor([2.0]), torch.tensor([-3.0]), torch.tensor([0.0])
    weights = {"weight_mllm": 2.0, "weight_expert": 0.5, "density": 1.0}
    assert merge("ties", "br2v", v=v, r=r, base=base, **weights).tolist() == [-1.5]  # 2 - 3 < 0: r wins, 0.5 * -3
    assert merge("ties", "mergekit", v=v, r=r, base=base, **weights).tolist() == [2.0]  # 4 - 1.5 > 0: v wins, 4 / 2


def test_ties_paper_trims_over_the_whole_model_and_not_per_tensor():
    method, tens = get_method("ties", "paper"), torch.full((2, 3), 10.0)
    base = {A: BASE, B: BASE}
    mllm, expert = {A: BASE + V, B: BASE + tens}, {A: BASE + R, B: BASE}
    merged = merge_tensors(method, Hyperparameters(1.0, 1.0, density=0.5), mllm, expert, base)
    torch.testing.assert_close(merged[A], BASE + R)  # V lost every entry to the tens of B
    torch.testing.assert_close(merged[B], BASE + tens)


def test_dare_linear_br2v_masks_and_does_not_rescale():
    merged = merge("dare_linear", "br2v", weight_mllm=2.0, weight_expert=0.5, density=0.5, seed=3)
    masks = [torch.from_numpy(p.random_mask(3, role, A, 0.5, 0, 6)).view(2, 3) for role in ("mllm", "expert")]
    torch.testing.assert_close(merged, BASE + 2 * V * masks[0] + 0.5 * R * masks[1])


def test_dare_linear_paper_divides_by_the_density():
    merged = merge("dare_linear", "paper", weight_mllm=2.0, weight_expert=0.5, density=0.5, seed=3)
    masks = [torch.from_numpy(p.random_mask(3, role, A, 0.5, 0, 6)).view(2, 3) for role in ("mllm", "expert")]
    torch.testing.assert_close(merged, BASE + (2 * V * masks[0] + 0.5 * R * masks[1]) / 0.5)


def test_dare_linear_mergekit_keeps_each_l1_norm():
    v, r = torch.randn(40, 50), torch.zeros(40, 50)
    merged = merge("dare_linear", "mergekit", v=v, r=r, base=torch.zeros(40, 50), weight_mllm=1.0, weight_expert=1.0)
    assert merged.abs().sum().item() == pytest.approx(v.abs().sum().item(), rel=1e-5)
    assert 0.1 < (merged != 0).float().mean() < 0.3


@pytest.mark.parametrize(("variant", "scale"), [("br2v", 1.0), ("paper", 2.0)])
def test_dare_ties_is_ties_on_masked_vectors(variant, scale):
    merged = merge("dare_ties", variant, weight_mllm=2.0, weight_expert=0.5, density=0.5, seed=5)
    v, r = (
        vector * scale * torch.from_numpy(p.random_mask(5, role, A, 0.5, 0, 6)).view(2, 3)
        for vector, role in ((V, "mllm"), (R, "expert"))
    )
    sign = torch.where(v + r >= 0, 1.0, -1.0)
    agree_v, agree_r = v.sign() == sign, r.sign() == sign
    expected = (2 * v * agree_v + 0.5 * r * agree_r) / (agree_v.int() + agree_r.int()).clamp(min=1)
    torch.testing.assert_close(merged, BASE + expected)
    assert agree_v.any()
    assert agree_r.any()


def test_dare_ties_mergekit_elects_weighted_signs_and_divides_by_nothing():
    merged = merge("dare_ties", "mergekit", weight_mllm=2.0, weight_expert=0.5, density=1.0)
    # weighted: [[8, -6, 2], [-4, 1, 0]] and [[-0.5, 1, 1.5], [-2, -0.25, 0.125]]
    assert (merged - BASE).tolist() == [[8.0, -6.0, 3.5], [-6.0, 1.0, 0.125]]


def test_dare_paper_keeps_the_mean_and_br2v_shrinks_it_to_the_density():
    n = 1 << 18
    v, zero = torch.ones(n), torch.zeros(n)
    settings_ = {"v": v, "r": zero, "base": zero, "weight_mllm": 1.0, "weight_expert": 1.0, "density": 0.2}
    error = 5 * math.sqrt(0.2 * 0.8 / n)
    assert merge("dare_linear", "paper", **settings_).mean().item() == pytest.approx(1.0, abs=5 * error)
    assert merge("dare_linear", "br2v", **settings_).mean().item() == pytest.approx(0.2, abs=error)


def swap(variant, count=8, **hyperparameters):
    """Expert's share of each layer and of the final norm, MLLM = 0 and expert = 1."""
    names = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(count)] + ["model.norm.weight"]
    method = get_method("layer_swap", variant)
    chosen = resolve_hyperparameters(method, hyperparameters)
    zeros, ones = ({name: torch.full((2,), value) for name in names} for value in (0.0, 1.0))
    merged = merge_tensors(method, chosen, zeros, ones)
    return [round(merged[name][0].item(), 6) for name in names]


def test_layer_swap_br2v_keeps_six_layers_at_k_5_and_mixes_the_rest_and_the_final_norm():
    assert swap("br2v", keep_layers=5) == [0.0] * 6 + [0.1, 0.1] + [0.1]


@pytest.mark.parametrize("variant", ["br2v", "mergekit"])
@pytest.mark.parametrize(("layers", "kept"), [(28, 5), (32, 5), (36, 6), (8, 1), (3, 0)])
def test_layer_swap_keeps_table_9_s_share_of_the_layers_unless_told_otherwise(variant, layers, kept):
    method = get_method("layer_swap", variant)
    chosen = resolve_hyperparameters(method, {})
    assert describe(method, chosen)["keep_layers"] == "5/28"
    assert describe(method, chosen, layers)["keep_layers"] == kept
    assert describe(method, resolve_hyperparameters(method, {"keep_layers": 2}), layers)["keep_layers"] == 2
    assert swap(variant, count=layers) == swap(variant, count=layers, keep_layers=kept)
    assert resolve_hyperparameters(method, describe(method, chosen)) == chosen


def test_every_recipe_has_a_row_and_every_row_a_recipe():
    assert {method.recipe for method in METHODS.values()} == set(RECIPES)


def test_layer_swap_paper_keeps_bottom_and_top_averages_the_seams_and_takes_the_middle_from_the_expert():
    assert swap("paper", keep_layers=1, top_layers=2) == [0.0, 0.0, 0.5, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0]


def test_layer_swap_refuses_to_keep_every_layer():
    with pytest.raises(MergeError, match=r"layers 0\.\.5 .* the model has 4 layers, so nothing is left"):
        swap("br2v", count=4, keep_layers=5)


def test_slerp_halfway_between_orthogonal_vectors_keeps_their_norm():
    x, y = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    merged = merge("slerp", "paper", v=x, r=y, base=torch.zeros(2), t=0.5)
    torch.testing.assert_close(merged, torch.tensor([math.sqrt(0.5), math.sqrt(0.5)]))


def test_slerp_of_parallel_vectors_is_the_straight_line():
    merged = merge("slerp", "paper", v=torch.ones(4), r=3 * torch.ones(4), base=torch.zeros(4), t=0.25)
    torch.testing.assert_close(merged, torch.full((4,), 1.5))


def test_model_stock_goes_further_the_better_the_vectors_agree():
    base, x, y = torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    orthogonal = merge("model_stock", "paper", v=x, r=y, base=base)
    torch.testing.assert_close(orthogonal, base)  # cos 0: ratio 0, the base
    parallel = merge("model_stock", "paper", v=x, r=x, base=base)
    torch.testing.assert_close(parallel, base + x)  # cos 1: ratio 1, the mean
    diagonal = merge("model_stock", "paper", v=x, r=x + y, base=base)  # cos 1/sqrt(2): ratio 2 cos / (1 + cos)
    ratio = 2 * math.sqrt(0.5) / (1 + math.sqrt(0.5))
    torch.testing.assert_close(diagonal, base + ratio * (x + 0.5 * y))


def test_tsv_leaves_orthogonal_rank_one_vectors_whole_and_averages_biases():
    v = torch.tensor([[3.0, 0.0], [0.0, 0.0]])
    r = torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    zero = torch.zeros(2, 2)
    torch.testing.assert_close(merge("tsv", "paper", v=v, r=r, base=zero), v + r, atol=1e-6, rtol=0)
    bias = merge("tsv", "paper", v=torch.tensor([2.0, 4.0]), r=torch.tensor([0.0, 2.0]), base=torch.zeros(2))
    torch.testing.assert_close(bias, torch.tensor([1.0, 3.0]))


@pytest.mark.parametrize(("key", "variant"), [row for row in METHODS if "density" in METHODS[row].defaults])
def test_coefficient_0_and_density_1_give_the_base_bit_for_bit(key, variant):
    base = torch.randn(7, 9)
    base[0, 0] = -0.0
    v, r = torch.randn(7, 9), torch.randn(7, 9)
    merged = merge(key, variant, v=v, r=r, base=base, weight_mllm=0.0, weight_expert=0.0, density=1.0)
    assert torch.equal(merged.view(torch.int32), base.view(torch.int32))


@pytest.mark.parametrize(("key", "variant"), [("ties", "br2v"), ("ties", "paper"), ("dare_ties", "mergekit")])
def test_slices_of_a_tensor_of_many_blocks_join_to_the_whole(key, variant):
    torch.manual_seed(0)
    sides = [{A: torch.randn(300_000).bfloat16()} for _ in range(3)]
    method = get_method(key, variant)
    chosen = resolve_hyperparameters(method, {})
    whole = merge_tensors(method, chosen, *sides)[A]
    readers = {role: sides[i][A].__getitem__ for i, role in enumerate(("mllm", "expert", "base"))}
    operands = Operands(A, (300_000,), {role: lambda a, b, get=get: get(slice(a, b)) for role, get in readers.items()})
    (merged,) = plan_merge(method, chosen, [operands], 0)
    cuts = [0, 1, 77_777, 131_072, 299_999, 300_000]
    slices = [merged.read(a, b) for a, b in itertools.pairwise(cuts)]
    assert torch.equal(torch.cat(slices), whole)


@pytest.mark.parametrize("variant", ["br2v", "paper", "mergekit"])
def test_density_1_makes_dare_linear_the_task_arithmetic(variant):
    weights = {"weight_mllm": 0.9, "weight_expert": 0.1}
    assert torch.equal(
        merge("dare_linear", variant, density=1.0, **weights), merge("task_arithmetic", "mergekit", **weights)
    )


def test_elected_sign_follows_magnitude_and_ties_go_up():
    deltas = [torch.tensor([3.0, -1.0, 2.0, 0.0]), torch.tensor([-1.0, 0.5, -2.0, 0.0])]
    assert p.elect_sign(deltas).tolist() == [1.0, -1.0, 1.0, 1.0]


def test_trim_keeps_every_entry_tied_at_the_threshold():
    assert p.trim_(torch.tensor([3.0, -2.0, 1.999, 2.0]), 2.0).tolist() == [3.0, -2.0, 0.0, 2.0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 2**31))
def test_a_dare_draw_depends_on_seed_model_name_and_index_alone(a, b, seed):
    start, stop = min(a, b), max(a, b)
    whole = p.random_mask(seed, "mllm", A, 0.3, 0, 5000)
    assert np.array_equal(p.random_mask(seed, "mllm", A, 0.3, start, stop), whole[start:stop])
    assert not np.array_equal(p.random_mask(seed, "expert", A, 0.3, 0, 5000), whole)
    assert not np.array_equal(p.random_mask(seed + 1, "mllm", A, 0.3, 0, 5000), whole)


@pytest.mark.parametrize("density", [0.01, 0.2, 0.9])
@pytest.mark.parametrize("kind", ["normal", "sorted", "few values"])
def test_the_streamed_threshold_is_the_kth_largest_magnitude(density, kind):
    torch.manual_seed(0)
    x = torch.randn(700_001)
    x = {"normal": x, "sorted": x.sort().values, "few values": (x * 4).round()}[kind]
    cut = 400_000
    parts = [
        (lambda start, stop: x[:cut][start:stop].clone(), cut),
        (lambda start, stop: x[cut:][start:stop].clone(), len(x) - cut),
    ]
    expected = x.abs().sort(descending=True).values[int(density * len(x)) - 1].item()
    assert magnitude_threshold(parts, density) == expected


def test_a_threshold_of_nan_is_refused():
    with pytest.raises(MergeError, match="not numbers"):
        magnitude_threshold([(lambda start, stop: torch.full((stop - start,), torch.nan), 10)], 0.5)


@pytest.mark.parametrize(
    ("key", "variant", "given_", "message"),
    [
        ("tyes", "br2v", {}, "did you mean 'ties'"),
        ("ties", "mergkit", {}, "did you mean 'mergekit'"),
        ("slerp", "br2v", {}, "slerp has no variant 'br2v'"),
        ("ties", "br2v", {"densty": 0.5}, "takes no hyperparameter 'densty'; did you mean 'density'"),
        ("ties", "br2v", {"density": 0.0}, r"density is 0.0, expected a share kept in \(0, 1\]"),
        ("ties", "br2v", {"density": 1.5}, r"density is 1.5"),
        ("ties", "br2v", {"density": "abc"}, r"density is 'abc', a str; expected float"),
        ("ties", "br2v", {"weight_mllm": math.inf}, "weight_mllm is inf"),
        ("linear", "br2v", {"density": 0.5}, "linear .br2v. takes no hyperparameter 'density'"),
        ("layer_swap", "br2v", {"keep_layers": 1.5}, "keep_layers is 1.5, a float; expected int"),
        ("layer_swap", "br2v", {"keep_layers": "five"}, "keep_layers is 'five', expected .*the like of '5/28'"),
        ("layer_swap", "br2v", {"keep_layers": "5/0"}, "keep_layers is '5/0"),
        ("layer_swap", "br2v", {"keep_layers": -2}, "keep_layers is -2"),
        ("dare_linear", "paper", {"rescale": "l2"}, "unknown rescale 'l2'"),
        ("slerp", "paper", {"t": 2.0}, r"t is 2.0, expected in \[0, 1\]"),
    ],
)
def test_what_a_method_does_not_take_is_refused(key, variant, given_, message):
    with pytest.raises(MergeError, match=message):
        resolve_hyperparameters(get_method(key, variant), given_)


def test_a_task_vector_method_without_base_is_refused():
    method = get_method("ties", "br2v")
    with pytest.raises(MergeError, match=r"ties .br2v. works on task vectors and needs base="):
        merge_tensors(method, Hyperparameters(density=0.2), {A: V}, {A: R})


def test_defaults_are_those_of_table_9():
    def defaults(key):
        return dict(get_method(key, "br2v").defaults)

    near = {"weight_mllm": 0.9, "weight_expert": 0.1}
    extrapolated = {"weight_mllm": 1.6, "weight_expert": 0.2, "density": 0.2}
    assert defaults("task_arithmetic") == near
    assert defaults("layer_swap") == near | {"keep_layers": "5/28"}
    assert defaults("ties") == extrapolated
    assert defaults("dare_linear") == defaults("dare_ties") == extrapolated | {"rescale": "none"}


def test_what_is_described_is_what_the_method_uses():
    method = get_method("ties", "br2v")
    chosen = resolve_hyperparameters(method, {"density": 1})
    assert describe(method, chosen) == {"weight_mllm": 1.6, "weight_expert": 0.2, "density": 1.0}
