"""From a typed Config to the calls that make it true: which stage, with which parameters, from which inputs.

Pure: nothing is read, run or downloaded here, so a plan for 8 GPUs prints on a laptop. Calls that would make the same
artifact have equal keys, so the plans of many configs join into one DAG by themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from drift.families import get_family
from drift.merging.config import Value, describe, get_method, resolve_hyperparameters
from drift.selection import GEOMETRY_GROUPS
from drift.training.config import InjectionConfig
from evaluation.toolkit.job import check_comparable
from pipelines import stages
from pipelines.errors import ConfigError
from pipelines.fingerprint import fingerprint
from pipelines.lab.config import LAB, WorldConfig
from pipelines.schema import Config, Injection, Merge, Method
from pipelines.stage import Bind, Call

_CHOICES: dict[str, Call] = {}
_DRIFT = Method(name="drift", stage="train", start="mllm")


def model(config: Config, role: str) -> Call:
    """The MLLM, the expert, their `base`, or `prior_base` (what the expert was tuned from)."""
    pair = config.pair
    family = pair.family if role == "mllm" else get_family(pair.family).text
    if pair.source != "lab":
        ref = getattr(pair, role)
        params = stages.ModelParams(role, family, "", pair.source, None, ref.repo, ref.revision)
        return Call(stages.MODEL, params, label=f"{role} {ref.repo}")
    role = "base" if role == "prior_base" else role
    distance = pair.distance if role == "expert" else ""
    inputs = {}
    if distance in ("far", "farthest"):
        inputs["expert"] = model(replace(config, pair=replace(pair, distance="near")), "expert")
    elif role != "base":
        inputs["base"] = model(config, "base")
    params = stages.ModelParams(role, family, distance, "lab", _world(config), "", "")
    return Call(stages.MODEL, params, inputs, label=f"{distance} {family} {role} seed={config.seed}".lstrip())


def _world(config: Config, *sizes: str) -> WorldConfig:
    """The world with, of its data sizes, only those that count here: changing another one makes nothing anew."""
    others = {name: getattr(LAB, name) for name in ("sft_items", "suite_items", "wemath_groups") if name not in sizes}
    return replace(config.world, seed=config.seed, **others)


def data(config: Config) -> Call:
    """The SFT examples."""
    source = config.data
    if source.source == "lab":
        params = stages.DataParams("lab", _world(config, "sft_items"), "", "", source.unfiltered)
    elif source.unfiltered:
        raise ConfigError(
            f"data.unfiltered draws wrong rationales, which only a lab world can, and data.source is {source.source}; "
            "put them into a folder with the others: data=folder data.root=..."
        )
    else:
        repo = source.root if source.source == "folder" else source.repo
        params = stages.DataParams(source.source, None, repo, source.revision, unfiltered=False)
    return Call(stages.DATA, params, label=f"{config.data.name} seed={config.seed}")


def benchmarks(config: Config) -> Call:
    """The TSVs of the suite's benchmarks on its split."""
    suite, lab = config.suite, config.suite.source == "lab"
    params = stages.BenchmarksParams(
        source=suite.source,
        names=tuple(suite.benchmarks.values()),
        split=suite.split,
        world=_world(config, "suite_items", "wemath_groups") if lab else None,
        root=config.data.root if suite.source == "folder" else "",
        revision=config.data.revision if suite.source == "folder" else "",
    )
    return Call(stages.BENCHMARKS, params, label=f"{suite.name} {suite.split} seed={config.seed}")


def prior(config: Config) -> Call:
    """The reasoning prior over the selected groups."""
    drawn = config.prior.kind in ("random", "shuffled")
    seed = config.prior.seed + config.seed if drawn else 0
    params = stages.PriorParams(config.prior.kind, config.selection.groups, seed)
    inputs = {"mllm": model(config, "mllm"), "expert": model(config, "expert")}
    if config.prior.kind == "hierarchical":
        inputs["base"] = model(config, "prior_base")
    return Call(stages.PRIOR, params, inputs, label=f"{config.prior.kind} {_groups(config)} seed={config.seed}")


def geometry(config: Config) -> Call:
    """How far the pair's expert lies from its MLLM, layer by layer."""
    inputs = {"mllm": model(config, "mllm"), "expert": model(config, "expert")}
    label = f"{_pair(config)}seed={config.seed}"
    return Call(stages.GEOMETRY, stages.GeometryParams(GEOMETRY_GROUPS), inputs, label=label)


def merge(config: Config) -> Call:
    """The MLLM merged with the expert by the configured method."""
    chosen = config.merge
    row = get_method(chosen.method, chosen.variant)
    seed = chosen.seed + config.seed if chosen.method.startswith("dare") else 0
    binds = {}
    settings = _merge_settings(chosen, {})
    if chosen.coefficient == "auto":
        binds["hyperparameters"] = Bind(merge_choice(config), "chosen")
        settings = {}
    params = stages.MergeParams(chosen.method, chosen.variant, settings, seed)
    roles = ("mllm", "expert", "base") if row.needs_base else ("mllm", "expert")
    inputs = {role: model(config, role) for role in roles}
    label = f"{_pair(config)}{chosen.method} {chosen.variant} {chosen.coefficient} seed={config.seed}"
    return Call(stages.MERGE, params, inputs, binds, label)


def _merge_settings(merge: Merge, candidate: Mapping[str, Value]) -> dict[str, Value]:
    """Every hyper-parameter that the method takes, defaults and candidate included: what belongs in a fingerprint."""
    row = get_method(merge.method, merge.variant)
    return describe(row, resolve_hyperparameters(row, {**merge.hyperparameters, **candidate}))


def merge_choice(config: Config) -> Call:
    """The call that picks a merge's hyper-parameters on the validation draw over all seeds."""
    settings = [_merge_settings(config.merge, candidate) for candidate in config.merge.candidates]
    tried = [replace(config.merge, coefficient="given", hyperparameters=each) for each in settings]
    return _choice(config, tuple(settings), [replace(config, merge=each) for each in tried], config.merge.method)


def matched_merge(config: Config) -> Call:
    """The MLLM moved along Delta as far as the configured DRIFT run of the same seed moved it (its w_eff)."""
    run = train(replace(config, method=_DRIFT))
    params = stages.MergeParams("task_arithmetic", "br2v", {}, 0, matched=0.0)
    inputs = {role: model(config, role) for role in ("mllm", "expert")}
    return Call(stages.MERGE, params, inputs, {"matched": Bind(run, "w_eff")}, f"matched merge seed={config.seed}")


def train(config: Config) -> Call:
    """SFT or DRIFT. Plain SFT gets the prior too, to be measured against it, never to be moved by it."""
    matched = config.method.start == "matched_merge"
    plain = matched or config.injection.scale == "none"
    injection = _injection(config.injection, "none" if plain else config.injection.scale)
    seed = config.train.seed + config.seed
    training = replace(config.train, seed=seed, zero_stage=config.zero.stage, offload=config.zero.offload)
    inputs = {
        "model": matched_merge(config) if matched else model(config, "mllm"),
        "data": data(config),
        "prior": prior(config),
    }
    binds = {}
    if not plain and config.injection.alpha == "auto":
        chosen = alpha_choice(config)
        if isinstance(chosen, Call):
            binds["injection.alpha"] = Bind(chosen, "chosen")
        else:
            injection = replace(injection, alpha=chosen)
    alpha = "none" if plain else f"alpha={config.injection.alpha}"
    label = f"{_pair(config)}{config.method.name} {injection.scale} {alpha} {config.prior.kind} {_groups(config)}"
    label = f"{label} on {config.data.name} seed={config.seed}"
    return Call(stages.TRAIN, stages.TrainParams(training, injection, config.launcher.processes), inputs, binds, label)


def _injection(chosen: Injection, scale: str) -> InjectionConfig:
    """The injection with alpha still open where it is `auto`; a plain run has alpha 0, so equal runs hash equal."""
    if scale == "none":
        return InjectionConfig(scale="none", alpha=0.0)
    return InjectionConfig(
        scale=chosen.scale,
        alpha=0.0 if chosen.alpha == "auto" else chosen.alpha,
        semantics=chosen.semantics,
        rescale_to_parameter=chosen.rescale_to_parameter,
        alpha_schedule=chosen.alpha_schedule,
    )


def alpha_choice(config: Config) -> Call | float:
    """The call that picks alpha on the validation draw over all seeds; the value itself where one candidate is left.

    Every prior, selection and data of a scale share the choice made with the direct prior on `chosen_with` and filtered
    data, so that a control or an ablation differs from its row in one thing only.
    """
    values = config.injection.candidates
    if len(values) == 1:
        return values[0]
    reference = replace(
        config,
        method=_DRIFT,
        prior=replace(config.prior, kind="direct", seed=0),
        data=replace(config.data, unfiltered=False),
        selection=replace(config.selection, groups=config.injection.chosen_with),
    )
    tried = [replace(reference, injection=replace(config.injection, alpha=value)) for value in values]
    return _choice(config, values, tried, f"alpha for {config.injection.scale}")


def _choice(config: Config, values: tuple[Any, ...], tried: Sequence[Config], label: str) -> Call:
    """Each tried config scored on the validation draw in every seed's world; the best mean wins.

    Every row and seed of a table asks for the same few choices, and each is a hundred calls: they are built once.
    """
    suite = replace(config.validation, split="validation")
    tried = [replace(each, seed=0, suite=suite) for each in tried]
    asked = fingerprint(label, 0, {"values": values, "tried": tried}, {})
    if asked not in _CHOICES:
        inputs = {
            f"{place}:{seed}": score(replace(each, seed=seed))
            for place, each in enumerate(tried)
            for seed in config.seeds
        }
        _CHOICES[asked] = Call(stages.CHOOSE, stages.ChooseParams(values), inputs, label=f"{_pair(config)}{label}")
    return _CHOICES[asked]


def choice(config: Config) -> Call | None:
    """The call that chose a hyper-parameter of the config's checkpoint; None where none was chosen."""
    if config.method.stage == "merge" and config.merge.coefficient == "auto":
        return merge_choice(config)
    if config.injection.scale != "none" and config.injection.alpha == "auto":
        chosen = alpha_choice(config)
        return chosen if isinstance(chosen, Call) else None
    return None


def checkpoint(config: Config) -> Call:
    """The checkpoint that the method makes."""
    makers = {"none": lambda: model(config, "mllm"), "merge": lambda: merge(config), "train": lambda: train(config)}
    return makers[config.method.stage]()


def generate(config: Config) -> Call:
    """The checkpoint's responses to the suite."""
    engine = config.engine
    params = stages.GenerateParams(
        benchmarks=tuple(config.suite.benchmarks.values()),
        variant=config.suite.variant,
        engine=engine.name,
        url=engine.url,
        dtype=engine.dtype,
        image_backend=engine.image_backend,
        settings=engine.settings,
    )
    made = checkpoint(config)
    label = f"{made.label} on {config.suite.name} {config.suite.split}"
    return Call(stages.GENERATE, params, {"model": made, "benchmarks": benchmarks(config)}, label=label)


def score(config: Config) -> Call:
    """The scores of the checkpoint on the suite: what a table cell is read from."""
    judge = config.judge
    params = stages.ScoreParams(dict(config.suite.benchmarks), judge.mode, judge.name, judge.model, judge.url)
    responses = generate(config)
    inputs = {"responses": responses, "benchmarks": benchmarks(config)}
    return Call(stages.SCORE, params, inputs, label=responses.label)


def second_opinion(config: Config) -> Call:
    """VLMEvalKit's own verdicts on the same checkpoint and tables, beside ours.

    Raises:
        DataError: a benchmark or a judge that the toolkit can't do.
        ConfigError: responses that don't come from an engine which runs inside the toolkit.
    """
    engine, suite, evaluator = config.engine, config.suite, config.evaluator
    names = tuple(suite.benchmarks.values())
    check_comparable(names, evaluator.judge, evaluator.judge_url)
    if engine.name != "transformers":
        raise ConfigError(
            f"evaluator=vlmevalkit generates with engine=transformers inside the toolkit, not {engine.name}"
        )
    params = stages.SecondOpinionParams(
        commit=evaluator.revision,
        benchmarks=names,
        variant=suite.variant,
        dtype=engine.dtype,
        image_backend=engine.image_backend,
        settings=engine.settings,
        judge=evaluator.judge,
        judge_url=evaluator.judge_url,
    )
    scores = score(config)
    inputs = {"scores": scores, "model": checkpoint(config), **scores.inputs}
    return Call(stages.SECOND_OPINION, params, inputs, label=scores.label)


def _groups(config: Config) -> str:
    return "+".join(config.selection.groups)


def _pair(config: Config) -> str:
    """The pair's name and its expert's distance in front of a label."""
    return f"{config.pair.name} {config.pair.distance} "
