"""No switch is wired to nothing: every key changes what is done, or is refused with what to do instead."""

import ast
import copy
import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from omegaconf import DictConfig, OmegaConf

from drift.config import identity_of
from drift.errors import DriftError
from drift.training.config import InjectionConfig, TrainingConfig
from pipelines import compose, effects, plan
from pipelines.errors import ConfigError
from pipelines.schema import Config

RUNS = {
    "drift": [],
    "drift at the paper's scale": ["profile=paper"],
    "alpha chosen": ["injection.alpha=auto"],
    "a merge": ["method=ties"],
    "a merge that is chosen": ["method=dare_ties", "merge.coefficient=auto"],
    "merge first": ["method=merge_sft", "prior=random"],
    "judged, through a server": [
        "profile=paper",
        "method=sft",
        "judge=openai",
        "engine=openai",
        "engine.url=http://h/v1",
    ],
    "own files": ["method=sft", "data=folder", "data.root=a", "suite=real", "suite.root=b", "engine=vllm"],
    "the toolkit beside it": ["method=baseline", "evaluator=vlmevalkit", "tracker=disabled", "judge.mode=semantic"],
    "two processes": ["launcher.processes=2", "train.per_device_batch_size=4", "tracker=online"],
}


def leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key that holds no mapping, with its value."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def choices(node: Any = Config, prefix: str = "") -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every dotted key of the schema whose values are named, with these."""
    for name, hint in get_type_hints(node).items():
        for kind in (hint, *get_args(hint)):
            if get_origin(kind) is Literal:
                yield f"{prefix}{name}", get_args(kind)
            elif isinstance(kind, type) and is_dataclass(kind):
                yield from choices(kind, f"{prefix}{name}.")


NAMED: dict[str, set[Any]] = {}
for _key, _values in choices():
    NAMED.setdefault(_key, set()).update(_values)


def others(key: str, value: Any) -> list[Any]:
    """Values to try in place of one."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [*NAMED.get(key, ()), value + 1, value / 2, value - 1]
    if isinstance(value, str):
        return [*sorted(map(str, NAMED.get(key, ()))), f"{value}x", f"{value}/x"]
    if isinstance(value, list) and value:
        return [value[:-1], value[::-1], [*value, *value]]
    return [1, 0.5, "x", ["x"], {"attn": -0.5}]


def with_leaf(composed: DictConfig, key: str, value: Any) -> Config | None:
    """The typed config with one key changed, interpolations to it included; None where the value is refused.

    What was composed is as it was afterwards: making one anew takes longer than to plan it.
    """
    *path, name = key.split(".")
    parent: Any = OmegaConf.select(composed, ".".join(path)) if path else composed
    before = OmegaConf.to_container(parent)[name]
    OmegaConf.update(composed, key, value, merge=False, force_add=True)
    try:
        return compose.to_config(composed)
    except DriftError:
        return None
    finally:
        OmegaConf.update(composed, key, before, merge=False, force_add=True)


def done(config: Config) -> Any:
    try:
        return effects.effect(config, plan.targets(config))
    except DriftError as error:  # refused when it is planned
        return str(error)


def as_word(key: str, value: Any) -> str:
    return f"{key}='{value}'" if isinstance(value, str) else f"{key}={json.dumps(value)}".replace('"', "")


@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS.keys())
def test_every_key_changes_what_is_done_or_is_refused(words: list[str]) -> None:
    composed = copy.deepcopy(compose._compose(tuple(words)))
    config = compose.to_config(composed)
    before, idle, tried = done(config), [], 0
    for key, value in leaves(OmegaConf.to_container(composed, resolve=True)):
        changes = ((other, with_leaf(composed, key, other)) for other in others(key, value))
        other, changed = next(((o, c) for o, c in changes if c not in (None, config)), (None, None))
        tried += changed is not None
        if changed is not None and done(changed) == before and key != "profile":  # the word profile=... is a group's
            idle.append(as_word(key, other))
    assert tried > 80
    for word in idle[:: max(1, len(idle) // 4)]:  # each is a composition by Hydra; all were seen idle above
        with pytest.raises(ConfigError, match=r"would change nothing here|is no key of"):
            effects.refuse_idle([*words, word], effects.of_run)


def test_every_field_of_the_config_is_read_by_some_code() -> None:
    """A field that is hashed and read by nobody would pass the law above."""
    read: set[str] = set()
    for package in ("drift", "evaluation", "pipelines"):
        for path in (compose.ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute):
                    read.add(node.attr)
                elif isinstance(node, ast.arg):
                    read.add(node.arg)  # a config handed over as keywords
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    read.add(node.value)  # read by name, as a range check does

    def names(node: Any) -> set[str]:
        hints = get_type_hints(node)
        below = [kind for f in fields(node) for kind in (hints[f.name], *get_args(hints[f.name]))]
        nested = [kind for kind in below if isinstance(kind, type) and is_dataclass(kind)]
        return {f.name for f in fields(node)}.union(*map(names, nested))

    assert names(Config) - read == set()


def test_zero_is_set_by_its_group_and_by_its_key() -> None:
    for words in (["zero=stage3"], ["train.zero_stage=3"]):
        assert plan.train(compose.load(words)).params.training.zero_stage == 3
    assert plan.train(compose.load(["train.offload=cpu"])).params.training.offload == "cpu"


def test_training_data_and_benchmarks_have_folders_of_their_own() -> None:
    config = compose.load(["method=sft", "data=folder", "data.root=/sft", "suite=real", "suite.root=/benchmarks"])
    assert plan.data(config).params.repo == "/sft"
    assert plan.benchmarks(config).params.root == "/benchmarks"


def test_an_engine_has_its_own_keys_and_no_others() -> None:
    engine: Any = compose.load(["engine=vllm", "engine.tensor_parallel=2", "engine.max_model_len=8192"]).engine
    assert (engine.tensor_parallel, engine.max_model_len) == (2, 8192)
    words = ["profile=paper", "engine=openai", "engine.url=http://h:1/v1", "engine.concurrency=3"]
    server: Any = compose.load(words).engine
    assert (server.url, server.server, server.concurrency) == ("http://h:1/v1", "vllm", 3)
    with pytest.raises(ConfigError, match=r"engine\.tensor_parallel is no key of the engine that was chosen here"):
        compose.load(["engine.tensor_parallel=2"])


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("+world.seed=7", "seed=7 draws another world"),
        ("pair.mllm.repo=/my/model", "pair.source=hub or folder"),
        ("data.mix.unfiltered=2.0 data=lab_mixed method=ties", "for a method that trains"),
        ("prior.seed=5", "only the random and shuffled ones draw"),
        ("seeds=[0,1]", "-m seed=0,1,2 makes three"),
        ("launcher.kind=deepspeed", "launcher.processes=2"),
        ("choose.alpha=[-0.2]", "injection.alpha=auto"),
        ("launcher.offline=true", "would change nothing"),
    ],
)
def test_a_switch_without_effect_is_refused_with_the_closest_remedy(word: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        effects.refuse_idle(word.split(), effects.of_run)


def test_a_word_that_says_what_is_so_already_is_no_fault() -> None:
    effects.refuse_idle(["injection.alpha=-1.0", "method=drift", "profile=lab"], effects.of_run)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("seeds=[]", "seeds"),
        ("seeds=[0,0]", "no sample"),
        ("seeds=[-1]", "seeds"),
        ("launcher.processes=0", r"launcher\.processes"),
        ("launcher.workers=0", r"launcher\.workers"),
        ("injection.alpha_schedule=cosin", "alpha_schedule"),
        ("injection.alpha=1e30", "alpha is 1e.30, expected a finite number"),
        ("train.learning_rate=0", "learning_rate is .*, expected a number above 0"),
        ("train.learning_rate=inf", "learning_rate is .*, expected a number above 0"),
        ("train.image_max_pixels=-5", "image_max_pixels is -5, expected at least 1"),
        ("train.add_tokens=[a,a]", "add_tokens is .*, expected distinct"),
        ("world.base.steps=0", r"world\.base\.steps is 0, expected at least 1"),
        ("world.base.learning_rate=-1", r"world\.base\.learning_rate"),
        ("selection.groups=[attn,attn]", "each once"),
        ("store=", "store"),
        ("prior.seed=-1", "prior.seed is -1"),
        ("engine.settings.min_pixels=-3", "min_pixels"),
        ("engine.settings.temperature=-1", "temperature"),
    ],
)
def test_a_value_out_of_range_is_refused_when_it_is_typed(word: str, message: str) -> None:
    with pytest.raises(DriftError, match=message):
        compose.load([word])


def test_the_papers_training_is_written_once_in_yaml_and_once_in_code_and_they_agree() -> None:
    assert identity_of(compose.load(["profile=paper"]).train) == identity_of(TrainingConfig())
    assert compose.load(["profile=paper"]).injection.semantics == InjectionConfig().semantics


def test_group_alpha_and_layers_reach_the_training() -> None:
    config = compose.load(["injection.group_alpha.attn=-0.5", "selection.layers=[0,2]"])
    assert plan.train(config).params.injection.group_alpha == {"attn": -0.5}
    assert plan.prior(config).params.selection.layers == (0, 2)


def test_a_merge_takes_its_hyperparameters_without_a_plus() -> None:
    merge = plan.merge(compose.load(["method=ties", "merge.hyperparameters.density=0.5"])).params.merge
    assert merge.hyperparameters["density"] == pytest.approx(0.5)


def test_conf_holds_every_choice_as_a_file() -> None:
    others = {path.name for path in compose.CONF.iterdir() if path.is_dir()} - {path.name for path in compose.groups()}
    assert others == {"table", "splits", "study", "claims"}


@pytest.mark.parametrize("word", ["selection=mlp", "selection.layers=[0]", "prior=random", "prior.rank=4"])
def test_what_plain_sft_is_only_measured_along_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="would change nothing here; method=drift"):
        effects.refuse_idle(["method=sft", word], effects.of_run)
    effects.refuse_idle(["method=drift", word], effects.of_run)
    effects.refuse_idle(["method=sft", "train.epochs=2"], effects.of_run)
