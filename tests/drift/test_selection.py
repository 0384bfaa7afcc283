"""Groups partition the LM's tensors, layers narrow them, and a mismatch between two sides is named."""

import pico
import pytest

from drift.errors import CoverageError
from drift.families import get_family, lm_parameters
from drift.selection import GROUPS, SelectionError, check_coverage, group_of, layer_of, module_of, select

NAMES = list(lm_parameters(pico.build("qwen2", layers=12), get_family("qwen2")))


@pytest.mark.parametrize("family", ["qwen2", "llama", "mistral", "qwen3"])
def test_every_lm_tensor_belongs_to_exactly_one_group(family):
    names = list(lm_parameters(pico.build(family), get_family(family)))
    chosen = [name for group in GROUPS for name in select(names, [group])]
    assert sorted(chosen) == sorted(names)


@pytest.mark.parametrize(
    ("family", "groups", "count"),
    [
        ("qwen2", ("attn",), 2 * 7),  # q, k, v with bias, o without
        ("mistral", ("attn",), 2 * 4),
        ("qwen3", ("attn",), 2 * 6),  # q_norm and k_norm
        ("qwen2", ("mlp",), 2 * 3),
        ("qwen2", ("norm",), 2 * 2),
        ("qwen2", ("lm_head",), 1),
        ("qwen2", ("attn", "mlp"), 20),
    ],
)
def test_groups_hold_the_tensors_of_table_4(family, groups, count):
    assert len(select(lm_parameters(pico.build(family), get_family(family)), groups)) == count


def test_the_paper_s_default_is_attention_and_mlp():
    assert select(NAMES) == select(NAMES, ("mlp", "attn"))
    assert {group_of(name) for name in select(NAMES)} == {"attn", "mlp"}


def test_names_come_in_the_model_s_order_whatever_order_they_went_in():
    everything = select(reversed(NAMES), GROUPS)
    layers = [layer_of(name) for name in everything if layer_of(name) is not None]
    assert layers == sorted(layers)
    assert everything[0] == "model.embed_tokens.weight"
    assert everything[-2:] == ["model.norm.weight", "lm_head.weight"]


def test_layers_narrow_the_selection():
    chosen = select(NAMES, ("mlp",), layers=[0, 10])
    assert [layer_of(name) for name in chosen] == [0, 0, 0, 10, 10, 10]
    assert {module_of(name) for name in chosen} == {"gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize(
    ("groups", "layers", "message"),
    [
        (("atn",), None, "unknown module group 'atn'; did you mean 'attn'"),
        ((), None, "non-empty list"),
        ("attn", None, "non-empty list"),
        (("attn",), [3, 12], "layer 12 was asked for; the model has layers 0 to 11"),
        (("attn",), [], "layer None was asked for"),
    ],
)
def test_what_does_not_exist_can_t_be_selected(groups, layers, message):
    with pytest.raises(SelectionError, match=message):
        select(NAMES, groups, layers)


def test_a_group_that_matches_nothing_is_refused():
    with pytest.raises(SelectionError, match="group 'lm_head' matches none of 2 LM tensors"):
        select(["model.layers.0.mlp.up_proj.weight", "model.norm.weight"], ("mlp", "lm_head"))


def test_a_name_that_is_not_canonical_is_refused():
    with pytest.raises(SelectionError, match=r"'visual.blocks.0.mlp.up_proj.weight' is no canonical LM name"):
        group_of("visual.blocks.0.mlp.up_proj.weight")


def test_equal_sides_are_covered():
    check_coverage({"a": (1,)}, {"a": (1,)}, "prior against model")
    check_coverage(["a", "b"], ["b", "a"], "prior against model")


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (["a", "b"], ["a"], "prior against model: 1 of 2 tensors are covered, 1 missing, 0 unexpected.* lacks 'b'"),
        (["a"], ["a", "c"], "1 of 1 tensors are covered, 0 missing, 1 unexpected.* has an unexpected 'c'"),
        ({"a": (2, 3)}, {"a": (3, 2)}, r"'a' has shape \(2, 3\) on the first side and \(3, 2\) on the second"),
    ],
)
def test_the_first_mismatch_is_named(one, other, message):
    with pytest.raises(CoverageError, match=message):
        check_coverage(one, other, "prior against model")
