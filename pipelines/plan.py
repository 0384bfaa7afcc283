"""From a typed Config to the calls that make it true: which stage, with which parameters, from which inputs.

Pure: nothing is read, run or downloaded here, so a plan for 8 GPUs prints on a laptop. Calls that would make the same
artifact have equal keys, so the plans of many configs join into one DAG by themselves.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Any

from drift.config import FrismConfig, MergeConfig, PriorConfig, Selection
from drift.families import get_family
from drift.merging.config import Value, describe, get_method, resolve_hyperparameters
from drift.selection import GEOMETRY_GROUPS
from drift.training.config import AUTO, InjectionConfig
from evaluation.data.splits import RULE
from evaluation.engines.config import OpenAIConfig, TransformersConfig, VLLMConfig
from evaluation.judging.config import AskedJudge, PublishedJudge, RulesJudge
from evaluation.toolkit.job import check_comparable
from pipelines import stages
from pipelines.distil.config import MixConfig, settings_of
from pipelines.errors import ConfigError
from pipelines.fingerprint import fingerprint
from pipelines.lab.config import WorldConfig
from pipelines.schema import Config, Data, Distil, Gate, Method, PublishedFile, Split, Suite, VLMEvalKit
from pipelines.stage import Bind, Call

_CHOICES: dict[str, Call] = {}
_DRIFT = Method(name="drift", stage="train")
_BASELINE = Method(name="baseline", stage="none")
_SFT = Method(name="sft", stage="train")
_NO_INJECTION = InjectionConfig()
_DRAWS_APART = 1 << 20  # between the seeds of two draws in one world: more than there are worlds


def model(config: Config, role: str) -> Call:
    """The MLLM, the expert, their `base`, or `prior_base` (what the expert was tuned from)."""
    pair = config.pair
    family = pair.family if role == "mllm" else get_family(pair.family).text
    if pair.source != "lab" and pair.skill != "reasoning":
        raise ConfigError(
            f"pair.skill={pair.skill} is trained in a lab's world alone, and pair.source is {pair.source}"
        )
    if pair.source != "lab":
        ref = getattr(pair, role)
        params = stages.ModelParams(role, family, "", pair.source, None, ref.repo, ref.revision)
        return Call(stages.MODEL, params, label=f"{role} {ref.repo}")
    role, skill = "base" if role == "prior_base" else role, "reasoning"
    distance = pair.distance if role == "expert" else ""
    inputs = {}
    if role == "expert":
        skill = pair.skill
    if distance in ("far", "farthest"):
        inputs["expert"] = model(replace(config, pair=replace(pair, distance="near")), "expert")
    elif role != "base":
        inputs["base"] = model(config, "base")
    params = stages.ModelParams(role, family, distance, "lab", _world(config), "", "", skill)
    learnt = "" if skill == "reasoning" else f"{skill} "
    return Call(stages.MODEL, params, inputs, label=f"{distance} {family} {learnt}{role} seed={config.seed}".lstrip())


def _world(config: Config, *sizes: str) -> WorldConfig:
    """The world of the run's seed, its data sizes counting only where they decide what is made."""
    return _world_of(config.world, config.seed, sizes)


@cache
def _world_of(world: WorldConfig, seed: int, sizes: tuple[str, ...]) -> WorldConfig:
    """A table's thousand calls stand in a handful of worlds, and each one that is made is checked number by number."""
    return replace(world.counting(*sizes), seed=seed)


def answers(config: Config) -> Call:
    """Published answers to the suite's benchmarks, with its tables and the publisher's verdicts."""
    source, place = config.answers, bool(config.answers.root)

    def file(column: str, each: PublishedFile) -> stages.AnswerFile:
        sha256 = (each.place_sha256 or each.sha256) if place else each.sha256
        return stages.AnswerFile(column, each.benchmark, each.place if place else each.path, sha256)

    files = [file(column, each) for column, each in source.files.items()]
    files += [file("", source.questions)] if source.questions else []
    params = stages.AnswersParams(
        "folder" if place else "hub", source.format, source.repository, source.commit, tuple(files), source.root
    )
    return Call(stages.ANSWERS, params, label=f"{source.name} {source.chosen}")


def data(config: Config) -> Call:
    """The SFT examples."""
    return mixed(config) if config.data.mix != MixConfig() else filtered(config)


def filtered(config: Config) -> Call:
    """The filtered SFT examples: a lab world's, published ones, a folder's, or what a filter leaves of answers."""
    source = config.data
    if source.source == "distil":
        return distilled(config)
    if source.source == "lab":
        params = stages.DataParams("lab", _world(config, "sft_items"), "", "", source.direct)
    elif source.direct:
        raise ConfigError(
            f"data.direct draws further examples, which only a lab world can, and data.source is {source.source}; put "
            "them into a folder with the others: data=folder data.root=..."
        )
    else:
        repo = source.root if source.source == "folder" else source.repo
        params = stages.DataParams(source.source, None, repo, source.revision)
    return Call(stages.DATA, params, label=f"{config.data.name} seed={config.seed}")


def mixed(config: Config) -> Call:
    """Filtered SFT examples, with a generator's answers that no filter has seen."""
    inputs = {"filtered": filtered(config), "questions": questions(config), "answers": generated(config)}
    return Call(stages.MIX, stages.MixParams(config.data.mix), inputs, label=f"{config.data.name} seed={config.seed}")


def questions(config: Config) -> Call:
    """What a generator is asked to distil data from."""
    source = _distil(config).questions
    world = _world(config, "sft_items") if source.source == "lab" else None
    place = source.root if source.source == "folder" else source.repo
    params = stages.QuestionsParams(source.source, world, place, source.revision, source.files, source.limits)
    return Call(stages.QUESTIONS, params, label=f"questions of {place or 'the lab'} seed={config.seed}")


def generated(config: Config) -> Call:
    """The generator's answers to the questions."""
    asked = _distil(config)
    engine = replace(config.engine, settings=settings_of(asked.sampling, config.engine.settings))
    inputs = {"questions": questions(config)}
    if not (isinstance(engine, OpenAIConfig) and engine.model):
        inputs["model"] = generator(config)
    label = f"{asked.sampling.samples} answers each to {inputs['questions'].label}"
    return Call(stages.DISTIL, stages.DistilParams(asked.sampling, engine), inputs, label=label)


def generator(config: Config) -> Call:
    """Who answers them: a published checkpoint, or the lab's MLLM after more SFT than any row of the tables has."""
    source = _distil(config).generator
    if source.source != "lab":
        params = stages.ModelParams("mllm", source.family, "", source.source, None, source.repo, source.revision)
        return Call(stages.MODEL, params, label=f"generator {source.repo}")
    world = replace(config.world, sft_items=config.world.sft_items * source.examples)
    taught = replace(
        config,
        method=Method(name="sft", stage="train"),
        prior=PriorConfig(),
        selection=config.choose.selection,
        injection=_NO_INJECTION,
        data=Data(name="teacher", source="lab"),
        world=world,
    )
    return train(taught)


def distilled(config: Config) -> Call:
    """What the filter leaves of the generator's answers."""
    told = _distil(config)
    names = told.against.benchmarks if "contamination" in told.filter.rules else ()
    inputs = {"questions": questions(config), "answers": generated(config)}
    inputs |= {f"benchmarks {n}": call for n, call in enumerate(_against(config) if names else ())}
    label = f"{config.data.name} filtered seed={config.seed}"
    return Call(stages.FILTER, stages.FilterParams(told.filter, names), inputs, label=label)


def _against(config: Config) -> list[Call]:
    """The tables that a set may have no item of: whole, and of a lab's world both draws."""
    told = _distil(config).against
    splits: list[Split] = ["validation", "test"] if told.source == "lab" else ["all"]
    names = {name: name for name in told.benchmarks}
    suite = Suite("against", told.source, names, root=told.root, revision=told.revision)
    return [_tables(config, replace(suite, split=each)) for each in splits]


def _distil(config: Config) -> Distil:
    if config.data.distil is None:
        raise ConfigError(f"data={config.data.name} is distilled from no questions; data=distil, mixed, lab_mixed are")
    return config.data.distil


def benchmarks(config: Config) -> Call:
    """The TSVs of the suite's benchmarks on its split, or those that published answers are about."""
    if config.answers.files:
        return answers(config)
    return _tables(config, config.suite)


def _tables(config: Config, suite: Suite) -> Call:
    lab = suite.source == "lab"
    if lab and suite.split == "all":
        raise ConfigError("a lab world draws the items to choose on and to report on apart; suite.split is one of them")
    params = stages.BenchmarksParams(
        source=suite.source,
        names=tuple(suite.benchmarks.values()),
        split=suite.split,
        world=_world(config, "suite_items", "wemath_groups") if lab else None,
        root=suite.root,
        revision="" if lab else " ".join(filter(None, (suite.revision, RULE))),
    )
    return Call(stages.BENCHMARKS, params, label=f"{suite.name} {suite.split} seed={config.seed}")


def prior(config: Config) -> Call:
    """The reasoning prior over the selected groups."""
    chosen = config.prior
    seed = chosen.seed + config.seed if chosen.is_drawn else 0
    seed += _DRAWS_APART * chosen.draw if chosen.is_drawn else 0
    params = stages.PriorParams(replace(chosen, seed=seed, draw=0), config.selection)
    inputs = {"mllm": model(config, "mllm"), "expert": model(config, "expert")}
    if chosen.kind == "hierarchical":
        inputs["base"] = model(config, "prior_base")
    return Call(stages.PRIOR, params, inputs, label=f"{_kind(chosen)} {_groups(config)} seed={config.seed}")


def geometry(config: Config) -> Call:
    """How far the pair's expert lies from its MLLM, layer by layer."""
    inputs = {"mllm": model(config, "mllm"), "expert": model(config, "expert")}
    label = f"{_pair(config)}seed={config.seed}"
    return Call(stages.GEOMETRY, stages.GeometryParams(GEOMETRY_GROUPS), inputs, label=label)


def merge(config: Config) -> Call:
    """The MLLM merged with the expert by the configured method."""
    chosen = config.merge
    row = get_method(chosen.method, chosen.variant)
    merged, binds = _settled(chosen, {}, config.seed), {}
    if chosen.coefficient == AUTO:
        binds["merge.hyperparameters"] = Bind(merge_choice(config), "chosen")
        merged = replace(merged, hyperparameters={})
    roles = ("mllm", "expert", "base") if row.needs_base else ("mllm", "expert")
    inputs = {role: model(config, role) for role in roles}
    if config.method.start == "sft":  # what SFT changed and Delta are two task vectors of the MLLM
        inputs |= {"base": inputs["mllm"], "mllm": train(replace(config, method=_SFT, injection=_NO_INJECTION))}
    name = chosen.method if config.method.start == "mllm" else f"{config.method.name} {chosen.method}"
    label = f"{_pair(config)}{name} {chosen.variant} {chosen.coefficient} seed={config.seed}"
    return Call(
        stages.MERGE, stages.MergeParams(merged, selection=_merged(config)), inputs, binds, label, gates(config)
    )


def _merged(config: Config) -> Selection | None:
    """The tensors that a merge moves: all of the LM, or those that DRIFT would."""
    return config.selection if config.method.tensors == "selected" else None


def _settled(merge: MergeConfig, candidate: Mapping[str, Value], seed: int) -> MergeConfig:
    """A merge with every hyper-parameter that its method takes, defaults and candidate included: its identity."""
    row = get_method(merge.method, merge.variant)
    values = describe(row, resolve_hyperparameters(row, {**merge.hyperparameters, **candidate}))
    return MergeConfig(merge.method, merge.variant, values, merge.seed + seed if row.is_drawn(values) else 0)


def merge_choice(config: Config) -> Call:
    """The call that picks a merge's hyper-parameters on the validation draw over all seeds.

    Raises:
        ConfigError: the method has nothing to choose from.
    """
    chosen = config.merge
    if not chosen.candidates:
        raise ConfigError(f"merge.coefficient=auto, and {chosen.method} has no merge.candidates to choose from")
    settings = [_settled(chosen, candidate, 0).hyperparameters for candidate in chosen.candidates]

    def tried(of: Config, values: Mapping[str, Value]) -> Config:
        return replace(of, merge=replace(of.merge, coefficient="given", hyperparameters=values))

    return _choice(config, tuple(settings), tried, chosen.method)


def matched_merge(config: Config) -> Call:
    """The MLLM moved along Delta as far as the configured DRIFT run of the same seed moved it (its w_eff)."""
    run = train(replace(config, method=_DRIFT))
    params = stages.MergeParams(MergeConfig("task_arithmetic"), matched=0.0, selection=_merged(config))
    inputs = {role: model(config, role) for role in ("mllm", "expert")}
    label = f"matched merge seed={config.seed}"
    return Call(stages.MERGE, params, inputs, {"matched": Bind(run, "w_eff")}, label, gates(config))


def frism(config: Config) -> Call:
    """The MLLM with what FRISM's gates let through of the expert's change."""
    chosen, binds = config.frism, {}
    own = {f.name: getattr(chosen, f.name) for f in fields(FrismConfig)}
    own |= {"seed": chosen.seed + config.seed}
    if chosen.coefficient == AUTO:
        binds["frism.strengths"] = Bind(frism_choice(config), "chosen")
        own |= {"strengths": {}}
    inputs: dict[str, Call] = {role: model(config, role) for role in ("mllm", "expert", "base")}
    inputs["data"] = data(config)
    label = f"{_pair(config)}frism {chosen.coefficient} on {config.data.name} seed={config.seed}"
    return Call(stages.FRISM, stages.FrismParams(FrismConfig(**own)), inputs, binds, label, gates(config))


def frism_choice(config: Config) -> Call:
    """The call that picks FRISM's strengths on the validation draw over all seeds.

    Raises:
        ConfigError: there is nothing to choose from.
    """
    chosen = config.frism
    if not chosen.candidates:
        raise ConfigError("frism.coefficient=auto, and frism.candidates has nothing to choose from")

    def tried(of: Config, strengths: Mapping[str, float]) -> Config:
        return replace(of, frism=replace(of.frism, coefficient="given", strengths=strengths))

    return _choice(config, tuple(map(dict, chosen.candidates)), tried, "frism")


def train(config: Config) -> Call:
    """SFT or DRIFT. Plain SFT gets the prior too, to be measured against it, never to be moved by it."""
    start = config.method.start
    injection = _NO_INJECTION if start == "matched_merge" else config.injection
    inputs = {
        "model": merged_start(config) or model(config, "mllm"),
        "data": data(config),
        "prior": prior(config),
    }
    binds = {}
    if injection.alpha == AUTO:
        chosen = alpha_choice(config)
        if isinstance(chosen, Call):
            binds["injection.alpha"] = Bind(chosen, "chosen")
        else:
            injection = replace(injection, alpha=chosen)
    told = [config.method.name]
    if injection != _NO_INJECTION:
        told += [injection.scale, f"alpha={config.injection.alpha}", _kind(config.prior), _groups(config)]
    if injection.target_w_eff:
        told += [f"to w_eff={injection.target_w_eff:g}"]
    label = f"{_pair(config)}{' '.join(told)} on {config.data.name} seed={config.seed}"
    training = replace(config.train, seed=config.train.seed + config.seed)
    params = stages.TrainParams(training, injection, config.launcher.ranks, config.launcher.nodes)
    return Call(stages.TRAIN, params, inputs, binds, label, gates(config))


def merged_start(config: Config) -> Call | None:
    """The merge that training starts from; None where it starts from the MLLM."""
    starts = {"matched_merge": matched_merge, "merge": merge}
    made = starts.get(config.method.start) if config.method.stage == "train" else None
    return made(config) if made else None


def gates(config: Config) -> tuple[Call, ...]:
    """What must hold before anything is built on the pair's MLLM: that it scores as published, where that is known.

    It is the MLLM's own row on the config's suite, or on the main one where nothing is published of that, over every
    item, as the paper's.
    """
    gate, suites = config.gate, (config.suite, config.validation)
    suite = next((each for each in suites if _columns(gate, each)), None)
    if config.pair.source != "hub" or gate.mode == "none" or suite is None:
        return ()
    scores = score_of_all(replace(config, method=_BASELINE, suite=replace(suite, split="test")))
    params = stages.GateParams(_columns(gate, suite), gate.points, gate.mode)
    label = f"{config.pair.mllm.repo} as published on {suite.name}"
    return (Call(stages.GATE, params, {"scores": scores}, label=label),) if scores else ()


def _columns(gate: Gate, suite: Suite) -> dict[str, tuple[float, ...]]:
    """What is published of a suite's benchmarks; nothing is of a lab's stand-ins."""
    if suite.source == "lab":
        return {}
    return {name: gate.published[name] for name in gate.published if name.partition("_")[0] in suite.benchmarks}


def alpha_choice(config: Config) -> Call | float:
    """The call that picks alpha on the validation draw over all seeds; the value itself where one candidate is left.

    Every prior, selection and data of a scale share the choice made with the direct prior on `chosen_with` and filtered
    data, so that a control or an ablation differs from its row in one thing only; unless `choose.prior` is its own.
    """
    values = config.choose.alphas(config.injection.scale)
    if len(values) == 1:
        return values[0]
    reference = replace(config, method=_DRIFT, data=replace(config.data, mix=MixConfig()))
    if config.choose.prior == "direct":
        reference = replace(reference, prior=PriorConfig(), selection=config.choose.selection)

    def tried(of: Config, alpha: float) -> Config:
        return replace(of, injection=replace(of.injection, alpha=alpha))

    return _choice(reference, values, tried, f"alpha for {config.injection.scale}")


def _choice(config: Config, values: tuple[Any, ...], tried: Callable[[Config, Any], Config], label: str) -> Call:
    """Each tried config scored on the validation draw in every seed's world; the best mean wins.

    Every row and seed of a table asks for the same few choices, and each is a hundred calls: they are built once.

    Args:
        tried: the config with one of the values.
    """
    suite = replace(config.validation, split="validation")
    config = replace(config, seed=0, suite=suite)
    asked = fingerprint(label, 0, {"values": values, "config": config}, {})
    if asked not in _CHOICES:
        inputs = {
            f"{place}:{seed}": score(replace(tried(config, value), seed=seed))
            for place, value in enumerate(values)
            for seed in config.seeds
        }
        for role, split in (("seen", suite), ("reported", replace(suite, split="test"))):
            inputs |= {f"{role}:{n}": benchmarks(replace(config, suite=split, seed=n)) for n in config.seeds}
        params = stages.ChooseParams(values, tuple(suite.benchmarks.values()))
        _CHOICES[asked] = Call(stages.CHOOSE, params, inputs, label=f"{_pair(config)}{label}")
    return _CHOICES[asked]


def choice(config: Config) -> Call | None:
    """The call that chose a hyper-parameter of the config's checkpoint; None where none was chosen."""
    if config.answers.files:
        return None
    if "merge" in (config.method.stage, config.method.start) and config.merge.coefficient == AUTO:
        return merge_choice(config)
    if config.method.stage == "frism" and config.frism.coefficient == AUTO:
        return frism_choice(config)
    if config.injection.alpha == AUTO:
        chosen = alpha_choice(config)
        return chosen if isinstance(chosen, Call) else None
    return None


def checkpoint(config: Config) -> Call:
    """The checkpoint that the method makes; published answers stand for the one that gave them."""
    if config.answers.files:
        return answers(config)
    if config.method.stage == "none":
        return model(config, "mllm")
    return {"merge": merge, "frism": frism, "train": train}[config.method.stage](config)


def generate(config: Config) -> Call:
    """The checkpoint's responses to the suite, to the whole of one that is reported on in part; or published ones."""
    if config.answers.files:
        return answers(config)
    _check_pixel_limits(config)
    suite = (_of_all(config) or config).suite
    params = stages.GenerateParams(tuple(suite.benchmarks.values()), suite.variant, config.engine)
    made, asked = checkpoint(config), benchmarks(replace(config, suite=suite))
    label = f"{made.label} on {suite.name} {suite.split}"
    inputs = {"model": made, "benchmarks": asked}
    if isinstance(config.engine, VLLMConfig) and config.engine.agreement:
        inputs["agreement"] = agreement(config, config.engine)
    return Call(stages.GENERATE, params, inputs, label=label)


def agreement(config: Config, engine: VLLMConfig) -> Call:
    """The gate before vLLM answers for a pair: one for all its checkpoints and seeds, on the untouched MLLM."""
    settings = replace(engine.settings, temperature=0.0)
    reference = TransformersConfig("transformers", settings, engine.dtype, config.image_backend)
    asked = replace(config, seed=config.seeds[0], suite=(_of_all(config) or config).suite)
    params = stages.AgreementParams(
        tuple(config.suite.benchmarks.values()),
        config.suite.variant,
        replace(engine, settings=settings),
        reference,
        engine.agreement_items,
        engine.agreement,
    )
    inputs = {"model": model(asked, "mllm"), "benchmarks": benchmarks(asked)}
    return Call(stages.AGREEMENT, params, inputs, label=f"vLLM and transformers on {config.suite.name}")


def score(config: Config) -> Call:
    """The scores of the checkpoint on the suite: what a table cell is read from.

    Raises:
        ConfigError: a choice was made on a part of what would be scored.
    """
    suite, chosen_on = config.suite, config.validation
    shared = set(suite.benchmarks.values()) & set(chosen_on.benchmarks.values())
    if suite.split == "all" and suite.source == chosen_on.source and shared and choice(config) is not None:
        raise ConfigError(
            f"suite.split=all holds what `auto` chooses on ({', '.join(sorted(shared))}); say suite.split=test"
        )
    return scoring(config)


def scoring(config: Config) -> Call:
    """As `score`, of items that a choice has seen too: what is said of all items, beside what is reported."""
    if isinstance(config.judge, PublishedJudge) and not config.answers.files:
        raise ConfigError("judge=published takes the verdicts of published answers, and answers=none has none")
    params = stages.ScoreParams(dict(config.columns), config.judge)
    responses, asked = generate(config), benchmarks(config)
    label = f"{checkpoint(config).label} on {config.suite.name} {config.suite.split}"
    if config.answers.files:
        label = f"{responses.label} {config.judge.name} {config.judge.mode}"
    inputs = {"responses": responses, "benchmarks": asked}
    if isinstance(config.judge, AskedJudge):
        names = tuple(config.columns.values())
        judged = Call(stages.JUDGE, stages.JudgeParams(names, config.judge), dict(inputs), label=label)
        inputs["judged"] = judged
    return Call(stages.SCORE, params, inputs, label=label, config=config)


def score_of_all(config: Config) -> Call | None:
    """The same responses scored on every item, seen by a choice or not, as the paper does; None in a lab's world."""
    whole = _of_all(config)
    return scoring(whole) if whole else None


def all_benchmarks(config: Config) -> Call | None:
    """The whole tables that a published suite's split is a part of; None in a lab's world."""
    whole = _of_all(config)
    return benchmarks(whole) if whole else None


def _of_all(config: Config) -> Config | None:
    suite = config.suite
    is_part = suite.source != "lab" and suite.split == "test" and not config.answers.files
    return replace(config, suite=replace(suite, split="all")) if is_part else None


def score_by_rules(config: Config) -> Call | None:
    """The same responses scored without a judge; None where there is none."""
    if config.judge.name == "rules":
        return None
    judged = scoring(config)
    inputs = {name: call for name, call in judged.inputs.items() if name != "judged"}
    judge = RulesJudge("rules", config.judge.mode)
    params = replace(judged.params, judge=judge)
    return replace(judged, params=params, inputs=inputs, config=replace(config, judge=judge))


def published_score(config: Config) -> Call:
    """Published answers by their publisher's verdicts."""
    return score(replace(config, judge=PublishedJudge("published")))


def official_score(config: Config) -> Call:
    """The same responses by the benchmarks' own rules alone."""
    return score(replace(config, judge=RulesJudge("rules", "official")))


def semantic_score(config: Config) -> Call:
    """The same responses as a careful reader would take them, by rules alone."""
    return score(replace(config, judge=RulesJudge("rules", "semantic")))


def judged_score(config: Config) -> Call | None:
    """The same responses by the configured judge; None where rules alone decide."""
    return score(config) if isinstance(config.judge, AskedJudge) else None


def judging(config: Config) -> Call | None:
    """The judge's replies behind a score; None where nobody is asked."""
    return score(config).inputs.get("judged")


def second_opinion(config: Config) -> Call | None:
    """VLMEvalKit's own verdicts on the same checkpoint and tables, beside ours; None where nobody asked for them.

    Raises:
        DataError: a benchmark or a judge that the toolkit can't do.
        ConfigError: responses that don't come from an engine which runs inside the toolkit.
    """
    engine, suite, toolkit = config.engine, config.suite, config.evaluator
    if not isinstance(toolkit, VLMEvalKit):
        return None
    names = tuple(suite.benchmarks.values())
    check_comparable(names, toolkit.judge, toolkit.judge_url)
    if not isinstance(engine, TransformersConfig):
        raise ConfigError(
            f"evaluator=vlmevalkit generates with engine=transformers inside the toolkit, not {engine.name}"
        )
    params = stages.SecondOpinionParams(
        toolkit.revision, names, suite.variant, engine, toolkit.judge, toolkit.judge_url
    )
    scores = score(config)
    inputs = {"scores": scores, "model": checkpoint(config), **scores.inputs}
    return Call(stages.SECOND_OPINION, params, inputs, label=scores.label)


def targets(config: Config) -> list[Call]:
    """What one run is for: its score, and the toolkit's verdicts where they are asked for."""
    second = second_opinion(config)
    return [score(config), second] if second else [score(config)]


def _check_pixel_limits(config: Config) -> None:
    """Refuses, before anything is trained, limits that the family's image processor has no place for (ConfigError).

    `train.image_max_pixels` fits every family: drift.training.data resizes the pictures itself where it must.
    """
    limits, family = config.engine.settings.pixel_limits, get_family(config.pair.family)
    if limits and family.sized_by != "area":
        asked = " ".join(f"engine.settings.{name}={value}" for name, value in limits.items())
        remedy = " ".join(f"engine.settings.{name}=null" for name in limits)
        raise ConfigError(
            f"{asked}, and the image processor of pair.family {family.name} is sized by {family.sized_by or 'none'}, "
            f"not by area; say {remedy}"
        )


def _kind(prior: PriorConfig) -> str:
    marks = [f"draw={prior.draw}"] * bool(prior.draw) + [f"rank={prior.rank}"] * bool(prior.rank)
    return " ".join([prior.kind, *marks])


def _groups(config: Config) -> str:
    return "+".join(config.selection.groups)


def _pair(config: Config) -> str:
    """The pair's name and its expert's distance in front of a label."""
    return f"{config.pair.name} {config.pair.distance} "
