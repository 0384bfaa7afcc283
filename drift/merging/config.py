"""The merge methods as rows of data, and their hyperparameters as one frozen dataclass.

A row says what a method does by switches (which vectors are trimmed and how, how signs are elected, what the sum is
divided by), names its source and gives its defaults. methods.py has the tensor operations, a function for each recipe.
A new method is a row here and, where no recipe fits, a function there. This module imports no torch, so that a planner
can list methods, validate hyperparameters and hash them without paying for it.

Three variants stand side by side because the sources disagree: `br2v` is the code that the DRIFT paper's Table 9 comes
from (arXiv:2505.05464), `paper` is each method's own paper, `mergekit` is mergekit 0.1.5.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Annotated

from drift.config import Count, Natural, Positive, Range, SomeShare, Strength, faults
from drift.errors import DriftError, closest

Value = float | int | str

_WORDS = {
    "rescale": ("none", "density", "l1"),
    "direction": ("leading", "trailing", "random"),
    "length": ("delta", "own"),
}
# Embeddings and lm_head stay the MLLM's: vocabularies differ and rows of unlike tokens can't be mixed (BR2V).
MERGED_GROUPS = ("attn", "mlp", "norm", "final_norm")
_WITHOUT_BASE = ("interpolate", "slerp")  # recipes that mix the weights themselves


class MergeError(DriftError):
    """A merge is not possible as asked: unknown method, hyperparameter out of range, no base, no room on the disk."""


@dataclass(frozen=True)
class Hyperparameters:
    """What a merge can be told; a method uses the fields that its row names in `defaults`.

    Attributes:
        weight_mllm: scaling coefficient of the MLLM (of its task vector where there is a base).
        weight_expert: scaling coefficient of the reasoning expert.
        density: share of each task vector that is KEPT, in (0, 1].
        rescale: what a randomly dropped vector is multiplied by: `none` 1, `density` 1/density, `l1` the ratio of the
            L1 norms before and after.
        keep_layers: layer swap's k: layers 0..k stay the MLLM's, so 5 keeps six; -1 keeps none. "5/28" is the k of a
            model with 28 layers, scaled to the depth of the one that is merged and rounded down.
        top_layers: layer swap as in its paper: how many of the last layers stay the MLLM's too.
        t: place between MLLM (0) and expert (1) on the arc of SLERP.
        alpha: how much of B - V Selective-RL adds to the MLLM; 0 is its `direct` form.
        beta: how much of the reasoning direction it adds.
        rank: singular pairs of its direction.
        direction: leading, or its controls: trailing, random.
        length: delta (the direction is as long as the expert's whole change) or own.
        share: of the sum of the singular values that STAR keeps; of the eigenvectors that SWUDI moves along.
        time: how long SWUDI's gradient flow runs.
        scale: what Iso-C's and SWUDI's merged task vector is multiplied by.
    """

    weight_mllm: Strength = 1.0
    weight_expert: Strength = 0.0
    density: Annotated[float, Range("a share kept in (0, 1]", low=0, high=1, has_low=False)] = 1.0
    rescale: str = "none"
    keep_layers: Annotated[int, Range("the last layer kept, -1 for none", low=-1)] | str = -1
    top_layers: Natural = 0
    t: Annotated[float, Range("in [0, 1], from the MLLM to the expert", low=0, high=1)] = 0.0
    alpha: Strength = 0.0
    beta: Strength = 0.0
    rank: Count = 1
    direction: str = "leading"
    length: str = "delta"
    share: SomeShare = 1.0
    time: Positive = 300.0
    scale: Strength = 1.0

    def __post_init__(self) -> None:
        """Refuse values outside their ranges.

        Raises:
            MergeError: a number that is not finite or is out of range, or an unknown rescale.
        """
        keep = self.keep_layers
        is_depth = not isinstance(keep, str) or re.fullmatch(r"\d+/[1-9]\d*", keep) is not None
        expected = "the last layer kept (-1 for none) or the like of '5/28' (5 in a model of 28 layers)"
        found = faults(self, ("keep_layers", is_depth, expected))
        for name, known in _WORDS.items():
            if (word := getattr(self, name)) not in known:
                found.append(f"unknown {name} {word!r}; {closest(word, known)}")
        if found:
            raise MergeError("; ".join(found))

    def kept_layers(self, layers: int) -> int:
        """k in a model of so many layers."""
        if isinstance(self.keep_layers, int):
            return self.keep_layers
        kept, of = map(int, self.keep_layers.split("/"))
        return kept * layers // of


@dataclass(frozen=True)
class Method:
    """One row: a method in one variant.

    Attributes:
        key: registry key, the same word in YAML, code, tables and docs.
        variant: br2v, paper or mergekit.
        source: where the formula comes from.
        formula: the formula in one line; V and R are MLLM and expert, B the base, v and r their task vectors.
        recipe: the function of methods.py that merges by this row: interpolate, task_vectors, slerp, model_stock, tsv,
            selective_rl, star, iso_c, swudi.
        defaults: the hyperparameters that the method takes, with their defaults.
        layers: which layers are interpolated: all, above (layers 0..k stay the MLLM's) or sandwich (bottom and top
            stay the MLLM's, the middle becomes the expert's).
        normalize: divide an interpolation by the sum of its weights.
        trim: none, tensor (largest magnitudes of each tensor), model (of the whole vector) or random (Bernoulli).
        elect: none, unweighted or weighted (by the scaling coefficients) sign election.
        divide: none, count (of the vectors that agree) or weights (the sum of theirs).
    """

    key: str
    variant: str
    source: str
    formula: str
    recipe: str
    defaults: Mapping[str, Value]
    layers: str = "all"
    normalize: bool = False
    trim: str = "none"
    elect: str = "none"
    divide: str = "none"

    @property
    def needs_base(self) -> bool:
        """True for everything that works on task vectors."""
        return self.recipe not in _WITHOUT_BASE

    def is_drawn(self, hyperparameters: Mapping[str, Value]) -> bool:
        """Whether the seed decides what comes out."""
        return self.trim == "random" or hyperparameters.get("direction") == "random"


_BR2V = "https://arxiv.org/abs/2505.05464"
_SOUPS = "https://arxiv.org/abs/2203.05482"
_TASK_ARITHMETIC = "https://arxiv.org/abs/2212.04089"
_TIES = "https://arxiv.org/abs/2306.01708"
_DARE = "https://arxiv.org/abs/2311.03099"
_LAYER_SWAP = "https://arxiv.org/abs/2410.01335"
_MERGEKIT = "https://github.com/arcee-ai/mergekit (0.1.5)"
_SLERP = "https://doi.org/10.1145/325165.325242"
_MODEL_STOCK = "https://arxiv.org/abs/2403.19522"
_TSV = "https://arxiv.org/abs/2412.00081"
_STAR = "https://arxiv.org/abs/2502.10339, https://github.com/IBM/STAR"
_ISO = "https://arxiv.org/abs/2502.04959, https://github.com/danielm1405/iso-merging"
_SWUDI = "https://github.com/WalkerWorldPeace/MLLMerging, the closed form of https://arxiv.org/abs/2503.08099's loss"

_KEPT: dict[str, Value] = {"keep_layers": "5/28"}  # Table 9's k for Qwen2.5-VL-7B, whose LM has 28 layers
_NEAR: dict[str, Value] = {"weight_mllm": 0.9, "weight_expert": 0.1}
_TABLE9: dict[str, Value] = {"weight_mllm": 1.6, "weight_expert": 0.2, "density": 0.2}
_EQUAL: dict[str, Value] = {"weight_mllm": 1.0, "weight_expert": 1.0, "density": 0.2}
# 1.6 and 0.2 belong to vectors that lost four fifths of their mean; where the mean is kept, 0.9 and 0.1 is the
# mixture that Table 9 uses for undropped vectors.
_DARE_BR2V = _TABLE9 | {"rescale": "none"}
_DARE_PAPER = _NEAR | {"density": 0.2, "rescale": "density"}
_DARE_MERGEKIT = _NEAR | {"density": 0.2, "rescale": "l1"}

_ROWS = (
    Method("linear", "br2v", _BR2V, "w_V V + w_R R", "interpolate", _NEAR),
    Method("linear", "paper", _SOUPS, "mean of V and R", "interpolate", {"weight_mllm": 0.5, "weight_expert": 0.5}),
    Method("linear", "mergekit", _MERGEKIT, "(w_V V + w_R R) / (w_V + w_R)", "interpolate", _NEAR, normalize=True),
    # Eq. 1 of BR2V: with weights that sum to 1 the base cancels, so its code needs none.
    Method("task_arithmetic", "br2v", _BR2V, "w_V V + w_R R", "interpolate", _NEAR),
    Method("task_arithmetic", "paper", _TASK_ARITHMETIC, "B + w_V v + w_R r", "task_vectors", _NEAR),
    Method("task_arithmetic", "mergekit", _MERGEKIT, "B + w_V v + w_R r", "task_vectors", _NEAR),
    Method(
        "ties", "br2v", _BR2V, "B + sum of w t where signs agree / how many agree; signs unweighted, trim per tensor",
        "task_vectors", _TABLE9, trim="tensor", elect="unweighted", divide="count",
    ),
    # The paper scales the merged vector by one lambda: equal weights. Its default is lambda 1, density 0.2.
    Method(
        "ties", "paper", _TIES, "as br2v, trimmed over the whole flattened vector",
        "task_vectors", _EQUAL, trim="model", elect="unweighted", divide="count",
    ),
    Method(
        "ties", "mergekit", _MERGEKIT, "B + sum of w t where signs agree / sum of their w; signs weighted",
        "task_vectors", _TABLE9, trim="tensor", elect="weighted", divide="weights",
    ),
    Method(
        "dare_linear", "br2v", _BR2V, "B + w_V m v + w_R m r; masks m Bernoulli, NOT rescaled",
        "task_vectors", _DARE_BR2V, trim="random",
    ),
    Method(
        "dare_linear", "paper", _DARE, "B + (w_V m v + w_R m r) / density",
        "task_vectors", _DARE_PAPER, trim="random",
    ),
    Method(
        "dare_linear", "mergekit", _MERGEKIT, "B + w_V s m v + w_R s m r; s keeps each L1 norm",
        "task_vectors", _DARE_MERGEKIT, trim="random",
    ),
    Method(
        "dare_ties", "br2v", _BR2V, "ties with Bernoulli masks in place of the trim, NOT rescaled",
        "task_vectors", _DARE_BR2V, trim="random", elect="unweighted", divide="count",
    ),
    Method(
        "dare_ties", "paper", _DARE, "as br2v, rescaled by 1 / density",
        "task_vectors", _DARE_PAPER, trim="random", elect="unweighted", divide="count",
    ),
    Method(
        "dare_ties", "mergekit", _MERGEKIT, "sum of w s m t where weighted signs agree; s keeps each L1 norm",
        "task_vectors", _DARE_MERGEKIT, trim="random", elect="weighted",
    ),
    Method(
        "layer_swap", "br2v", _BR2V, "layers 0..k: V; everything else: w_V V + w_R R",
        "interpolate", _NEAR | _KEPT, layers="above",
    ),
    # The paper puts a language expert's bottom and top layers into a math expert; here the MLLM is the one that
    # knows the inputs and outputs. Layers next to the seams are averaged (its transition zone). It tunes how many
    # layers to swap for each pair; 5 and 5 are ours.
    Method(
        "layer_swap", "paper", _LAYER_SWAP, "bottom and top layers: V; middle layers: R; one layer at each seam: mean",
        "interpolate", {"keep_layers": 4, "top_layers": 5}, layers="sandwich",
    ),
    Method(
        "layer_swap", "mergekit", _MERGEKIT, "two slices: layers 0..k V, the rest linear",
        "interpolate", _NEAR | _KEPT, layers="above", normalize=True,
    ),
    Method("slerp", "paper", _SLERP, "great-circle interpolation of each flattened tensor", "slerp", {"t": 0.1}),
    Method("slerp", "mergekit", _MERGEKIT, "as paper", "slerp", {"t": 0.1}),
    Method("model_stock", "paper", _MODEL_STOCK, "r (V + R)/2 + (1 - r) B; r = 2 cos/(1 + cos) of v, r",
           "model_stock", {}),
    Method("model_stock", "mergekit", _MERGEKIT, "as paper", "model_stock", {}),
    Method("tsv", "paper", _TSV, "B + sum of half-rank SVDs of v and r with decorrelated singular vectors",
           "tsv", {"weight_mllm": 1.0, "weight_expert": 1.0}),
    # Matrices of attention and MLP alone; everything else stays the MLLM's.
    Method("selective_rl", "paper", "Selective-RL, the rank-one reasoning direction",
           "V + alpha (B - V) + beta ||R - B||_F u_1 v_1^T of R - B",
           "selective_rl", {"alpha": 0.05, "beta": 0.05, "rank": 1, "direction": "leading", "length": "delta"}),
    # Averaged, as in its paper and code; eta of 40 is its default.
    Method("star", "paper", _STAR, "B + w_V S(v) + w_R S(r); S keeps 40% of the singular values' sum, rescaled to it",
           "star", {"weight_mllm": 0.5, "weight_expert": 0.5, "share": 0.4}),
    Method("iso_c", "paper", _ISO, "B + scale U V^T mean(s) of w_V v + w_R r = U s V^T; vectors averaged",
           "iso_c", {"weight_mllm": 1.0, "weight_expert": 1.0, "scale": 1.0}),
    # 300 and 0.85 are the code's for language models.
    Method("swudi", "paper", _SWUDI, "B + scale T; T is where gradient flow on WUDI's loss is after a time",
           "swudi", {"weight_mllm": 1.0, "weight_expert": 1.0, "time": 300.0, "share": 0.85, "scale": 1.0}),
)  # fmt: skip

METHODS: Mapping[tuple[str, str], Method] = MappingProxyType({(row.key, row.variant): row for row in _ROWS})


def get_method(key: str, variant: str) -> Method:
    """The row of a method in a variant.

    Raises:
        MergeError: unknown method, or a variant that the method does not have; names what there is.
    """
    variants = [row.variant for row in _ROWS if row.key == key]
    if not variants:
        raise MergeError(f"unknown merge method {key!r}; {closest(key, {row.key for row in _ROWS})}")
    if variant not in variants:
        raise MergeError(f"{key} has no variant {variant!r}; {closest(variant, variants)}")
    return METHODS[key, variant]


def resolve_hyperparameters(method: Method, given: Mapping[str, object]) -> Hyperparameters:
    """The row's defaults overlaid with what was given, validated.

    Args:
        method: a row of METHODS.
        given: hyperparameters by name.
    Raises:
        MergeError: a name that the method does not take, a value of the wrong type or out of range.
    """
    label = f"{method.key} ({method.variant})"
    values: dict[str, Value] = dict(method.defaults)
    for name, value in given.items():
        if name not in method.defaults:
            raise MergeError(f"{label} takes no hyperparameter {name!r}; {closest(name, method.defaults)}")
        values[name] = _typed(label, name, value)
    return Hyperparameters(**values)  # type: ignore[arg-type]


def _typed(label: str, name: str, value: object) -> Value:
    """`value` as the type of the field `name`; whole numbers pass as floats, nothing else is converted."""
    wanted = type(getattr(Hyperparameters, name))
    if name == "keep_layers" and isinstance(value, str):
        return value
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise MergeError(f"{label}: {name} is {value!r}, a {type(value).__name__}; expected {wanted.__name__}")
    return value  # type: ignore[return-value]


def describe(method: Method, hyperparameters: Hyperparameters, layers: int | None = None) -> dict[str, Value]:
    """The hyperparameters that the method uses, by name: what belongs on a model card and in a fingerprint.

    Args:
        layers: the LM's depth where it is known; what scales with it is then the number that was used.
    """
    values = asdict(hyperparameters)
    if layers is not None:
        values["keep_layers"] = hyperparameters.kept_layers(layers)
    return {name: values[name] for name in method.defaults}
