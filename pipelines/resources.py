"""What a call takes of a machine, computed from its parameters: time, GPUs, memory, disk, downloads and dollars.

A cost function stands here for each stage. It counts what the call does whatever machine does it (`Work`), and a
machine's rates (`pipelines.rates`) turn the counts into seconds. The lab's tiny models and published ones go through
the same functions. Nothing of it is part of an artifact's identity: it orders the queue and prints the price.

What can't be known before a run is assumed here, by name: how long answers and examples are, how large a table is.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from evaluation.benchmarks import get_benchmark
from evaluation.engines.config import OpenAIConfig, TransformersConfig, VLLMConfig
from evaluation.judging.config import LocalJudge
from evaluation.judging.cost import estimate
from pipelines.rates import STANDARD, Device, Rates, Work
from pipelines.sizes import Shape, Size, facts, of_repository
from pipelines.stage import Call, Needs

_DOWNLOAD_RETRIES = 2
_CORES = 8  # beside a GPU, and of a merge
_HOST_GB = 24  # of a process that holds a published model
_PIXELS_A_TOKEN = 28 * 28  # of Qwen's vision towers, and near enough for the others
_ITEM_BYTES = 1e5  # of a benchmark's table, its picture included
_ITEM_PIXELS = 5e5  # of a benchmark's picture, where the engine asks for no more
_UNKNOWN_EXAMPLES, _UNKNOWN_ITEMS, _UNKNOWN_QUESTIONS = 4000, 1000, 11_000
_LOOKING = 0.01  # seconds to open a picture and take its marks, a core
# Tokens: of a published example beside its picture, of a question, of an answer on average, of the longest in a batch;
# `short` are those of a perception benchmark and of suite.variant=direct.
_EXAMPLE_TOKENS, _QUESTION_TOKENS, _ANSWER_TOKENS, _LONGEST = 800, 200, 600, 1000
_SHORT = ("HallusionBench", "RealWorldQA", "MMStar")
_SHORT_ANSWER_TOKENS = 60
_LAB_VOCABULARY, _LAB_EXAMPLE_TOKENS, _LAB_QUESTION_TOKENS = 66, 46, 20
_SERVED = 256  # answers that vLLM has under way
_ANSWER_BYTES = 1_500.0  # of a published answer, its question and its verdict
_ACTIVATIONS_GB = 8  # of a training with gradient checkpointing, and of an engine's cache of keys and values
_OPTIMIZER_BYTES = {"adamw": 12, "sgd": 4}  # of a parameter: fp32 weight, and AdamW's two moments
# What a merge costs over the linear one, as measured (benchmarks/merge.md); what decomposes has a cost of its own.
_MERGING = {"ties": 6.7, "dare_ties": 6.7, "dare_linear": 4.5, "model_stock": 2.0, "slerp": 2.0}
_ITERATING = 40  # operations of the passes over a matrix per entry and vector (drift.singular)
# Operations of all decompositions per entry of a matrix and row of its shorter side.
_DECOMPOSING = {"tsv": 40, "star": 20, "iso_c": 10, "swudi": 25, "selective_rl": 10}


@cache
def is_lab(call: Call) -> bool:
    """Whether every model that the call works on was built in a laboratory's world."""
    if call.stage.name in ("model", "questions"):
        return bool(call.params.source == "lab")
    return all(is_lab(source) for source in call.inputs.values())


def origin(call: Call) -> Call:
    """The call of the MLLM that a prior, a merge, a training or an answer starts from."""
    while call.stage.name != "model":
        call = call.inputs["model"] if "model" in call.inputs else call.inputs["mllm"]
    return call


@cache
def size(call: Call) -> Size:
    """The size of the checkpoint that a call makes or starts from."""
    params = origin(call).params
    if params.world is None:
        return of_repository(params.repo)
    shape, vision = params.world.language, params.world.vision
    lm = Shape(shape.hidden, shape.layers, shape.heads, shape.kv_heads, shape.feed_forward, _LAB_VOCABULARY, tied=True)
    tower = vision.depth * (4 * vision.hidden**2 + 3 * vision.hidden * vision.feed_forward)
    projector = 16 * vision.hidden**2 + 4 * vision.hidden * shape.hidden
    return Size(lm, tower + projector if params.role == "mllm" else 0, 4)


def fetching_model(call: Call, rates: Rates = STANDARD) -> Needs:
    """A checkpoint trained in a lab's world, downloaded, or linked."""
    params, weights = call.params, size(call)
    if params.world is not None:
        recipe = getattr(params.world, params.role)
        steps = 1 if "expert" in call.inputs else recipe.steps  # a far expert is the near one, permuted
        tokens = steps * recipe.batch * _LAB_EXAMPLE_TOKENS
        seconds = rates.seconds("model", "cpu", Work(steps, 6 * weights.parameters * tokens))
        return Needs(seconds=seconds, kept=weights.bytes)
    if params.source == "folder":
        return Needs(seconds=30)
    return _download("model", weights.bytes, rates)


def fetching_data(call: Call, rates: Rates = STANDARD) -> Needs:
    """SFT examples."""
    if call.params.source != "hub":
        return Needs(
            seconds=rates.seconds("data", "cpu", Work()), kept=500.0 * examples(call) * (call.params.world is not None)
        )
    known = facts().data.get(call.params.repo)
    return _download("data", known.bytes if known else _ITEM_BYTES * _UNKNOWN_EXAMPLES, rates)


def fetching_questions(call: Call, rates: Rates = STANDARD) -> Needs:
    """Questions to distil from, each picture opened once."""
    count = questions(call)
    if call.params.source != "hub":
        return Needs(seconds=rates.seconds("data", "cpu", Work()) + _LOOKING * count, kept=700.0 * count)
    known = facts().data.get(call.params.repo)
    fetched = _download("data", known.bytes if known else _ITEM_BYTES * count, rates)
    return replace(fetched, seconds=fetched.seconds + _LOOKING * count, kept=fetched.downloaded)


def distilling(call: Call, rates: Rates = STANDARD) -> Needs:
    """A generator's answers to all questions."""
    return answering(call, rates)


def filtering(call: Call, rates: Rates = STANDARD) -> Needs:
    """The rules, the marks of every picture, and a copy of what is left."""
    asked = call.inputs["questions"]
    answers = questions(asked) * (call.inputs["answers"].params.sampling.samples if "answers" in call.inputs else 1)
    known = sum(sum(items(source).values()) for name, source in call.inputs.items() if name.startswith("benchmarks"))
    return Needs(cores=call.params.filter.processes, seconds=2 + _LOOKING * (answers + known), kept=2 * _weight(asked))


def mixing(call: Call, rates: Rates = STANDARD) -> Needs:
    """A copy of the filtered set and of the pictures of as many answers."""
    return Needs(seconds=2 + 0.001 * examples(call), kept=2 * _weight(call.inputs["questions"]))


def fetching_answers(call: Call, rates: Rates = STANDARD) -> Needs:
    """Published answers, with the tables that they are about."""
    size_of = _ANSWER_BYTES * sum(items(call).values())
    if call.params.source != "hub":
        return Needs(seconds=rates.seconds("benchmarks", "cpu", Work()), kept=size_of)
    return replace(_download("benchmarks", size_of, rates), kept=size_of)


def fetching_tables(call: Call, rates: Rates = STANDARD) -> Needs:
    """The benchmarks' tables."""
    if call.params.source != "hub":
        return Needs(seconds=rates.seconds("benchmarks", "cpu", Work()), kept=600.0 * sum(items(call).values()))
    return _download("benchmarks", _ITEM_BYTES * sum(items(call).values()), rates)


def extracting(call: Call, rates: Rates = STANDARD) -> Needs:
    """A prior: reads two or three models, writes the groups' Delta in bf16, or iterates to a low rank's pairs."""
    kept, rank = delta_bytes(call), call.params.prior.rank
    iterated = _ITERATING * (rank + 16) * size(call).of_groups(call.params.selection.groups) if rank else 0
    work = Work(flops=iterated, bytes=2 * _read(call) + 2 * kept)
    return _streamed(call, rates.seconds("prior", "cpu", work), kept)


def measuring(call: Call, rates: Rates = STANDARD) -> Needs:
    """A geometry: reads two models."""
    return _streamed(call, rates.seconds("geometry", "cpu", Work(bytes=2 * _read(call))), 0)


def merging(call: Call, rates: Rates = STANDARD) -> Needs:
    """A merge: reads two or three models tensor by tensor, writes one; some also decompose each matrix."""
    method, weights = call.params.merge.method, size(call)
    streamed = (_read(call) + weights.bytes) * _MERGING.get(method, 1.0)
    each = weights.shape.hidden * _DECOMPOSING.get(method, 0)
    if method == "selective_rl" and call.params.merge.hyperparameters.get("direction") != "trailing":
        each = _ITERATING * (16 + int(call.params.merge.hyperparameters.get("rank", 1)))
    decomposed = weights.of_groups(("attn", "mlp")) * each
    work = Work(flops=decomposed, bytes=_read(call) + streamed + weights.bytes)
    return _streamed(call, rates.seconds("merge", "cpu", work), weights.bytes)


def gating(call: Call, rates: Rates = STANDARD) -> Needs:
    """FRISM on one GPU: decomposes each matrix, then two passes forward and one back a step; forms the result once."""
    config, weights, lab = call.params.frism, size(call), is_lab(call)
    tokens = _LAB_EXAMPLE_TOKENS if lab else _EXAMPLE_TOKENS + (config.image_max_pixels or 1e6) / _PIXELS_A_TOKEN
    decomposed = _ITERATING * (16 + config.rank) * weights.of_groups(("attn", "mlp"))
    passes = 8 * weights.parameters * tokens * config.steps * config.batch
    work = Work(config.steps, decomposed + passes, 2 * _read(call) + 2 * weights.bytes)
    if lab:
        return Needs(seconds=rates.seconds("train", "cpu", work), kept=weights.bytes)
    shape = weights.shape
    factors = 4 * config.rank * (shape.hidden + shape.feed_forward) * 7 * shape.layers
    memory = (2 * weights.parameters + factors) / 1e9 + _ACTIVATIONS_GB
    seconds = rates.seconds("train", "gpu", work)
    return Needs(1, _CORES, 2 * _HOST_GB, seconds, gpu_memory_gb=memory, kept=weights.bytes)


def training(call: Call, rates: Rates = STANDARD) -> Needs:
    """A GPU a process; the nodes' share of the optimizer is in their memory where it is offloaded."""
    processes, nodes, schedule, weights = call.params.processes, call.params.nodes, call.params.training, size(call)
    own = processes // nodes
    count, lab = examples(call.inputs["data"]), is_lab(call)
    tokens = _LAB_EXAMPLE_TOKENS if lab else _EXAMPLE_TOKENS + (schedule.image_max_pixels or 1e6) / _PIXELS_A_TOKEN
    steps = math.ceil(count / schedule.global_batch) * schedule.epochs
    passes = 8 if schedule.gradient_checkpointing else 6
    kept = weights.parameters * (4.0 if schedule.precision == "fp32" else 2.0)
    work = Work(
        steps, passes * weights.parameters * tokens * count * schedule.epochs / processes, 2 * _read(call) + 2 * kept
    )
    saves = min(2, steps // schedule.save_steps) if schedule.save_steps else 0
    passing = saves * (kept + _OPTIMIZER_BYTES[schedule.optimizer] * weights.parameters)
    if lab:
        seconds = rates.seconds("train", "cpu", work)
        return Needs(cores=own, memory_gb=2 * own, seconds=seconds, nodes=nodes, kept=kept, passing=passing)
    states = _OPTIMIZER_BYTES[schedule.optimizer] * weights.parameters
    offloaded = math.ceil(states / 1e9) if schedule.offload == "cpu" else 0
    return Needs(
        gpus=own,
        nodes=nodes,
        cores=_CORES * own,
        memory_gb=_HOST_GB * own + math.ceil(offloaded / nodes),
        seconds=rates.seconds("train", "gpu", work),
        gpu_memory_gb=_training_memory(call) / 1e9 + _ACTIVATIONS_GB,
        kept=kept,
        passing=passing,
    )


def _training_memory(call: Call) -> float:
    """Bytes on each GPU: weights, fp32 gradients, optimizer, each whole or a share by the ZeRO stage, Delta too."""
    schedule, share, weights = call.params.training, call.params.processes, size(call)
    trained = weights.parameters if schedule.train_vision else weights.parameters - weights.other
    stage = schedule.zero_stage
    states = _OPTIMIZER_BYTES[schedule.optimizer] * trained
    optimizer = 0 if schedule.offload == "cpu" else states / (share if stage >= 1 else 1)
    gradients = 4.0 * trained / (share if stage >= 2 else 1)
    delta = delta_bytes(call.inputs["prior"]) / (share if stage >= 1 else 1)
    return 2.0 * weights.parameters / (share if stage >= 3 else 1) + gradients + optimizer + delta


def answering(call: Call, rates: Rates = STANDARD) -> Needs:
    """A GPU, unless an endpoint answers."""
    engine = call.params.engine
    if isinstance(engine, OpenAIConfig):
        _, tokens = _decoding(call, _SERVED)
        return Needs(
            memory_gb=4, seconds=rates.seconds("generate", "gpu", Work(tokens / _SERVED)), retries=_DOWNLOAD_RETRIES
        )
    return _by_engine(call, rates, engine)


def agreeing(call: Call, rates: Rates = STANDARD) -> Needs:
    """Two engines answer the first items of each benchmark, one after the other."""
    engine, reference = call.params.engine, call.params.reference
    own, other = (_by_engine(call, rates, each) for each in (engine, reference))
    counts = items(call.inputs["benchmarks"])
    asked = sum(min(call.params.items, count) for count in counts.values()) / sum(counts.values())
    return replace(own, gpus=max(own.gpus, other.gpus), seconds=asked * (own.seconds + other.seconds))


def _by_engine(call: Call, rates: Rates, engine: TransformersConfig | VLLMConfig) -> Needs:
    if isinstance(engine, TransformersConfig):
        return _answered(call, rates, engine.gpus, engine.settings.batch_size)
    return _answered(call, rates, engine.gpus, _SERVED, engine.tensor_parallel)


def comparing(call: Call, rates: Rates = STANDARD) -> Needs:
    """VLMEvalKit answers on its own, with transformers, one item at a time."""
    return _answered(call, rates, 1, 1)


def _answered(call: Call, rates: Rates, gpus: int, batch: int, sharded: int = 1) -> Needs:
    """What a pass over the items takes: `batch` at once at each replica, whose weights lie on `sharded` GPUs."""
    weights, lab = size(call), is_lab(call)
    gpus = 0 if lab else gpus
    steps, tokens = _decoding(call, batch)
    share = max(gpus, 1)
    work = Work(steps, 2 * weights.parameters * tokens / share, steps * 2 * weights.parameters / share)
    device: Device = "gpu" if gpus else "cpu"
    seconds = rates.seconds("generate", device, work)
    kept = 500.0 * sum(_asked(call).values())
    if lab:
        return Needs(seconds=seconds, kept=kept)
    memory = 2 * weights.parameters / sharded / 1e9 + _ACTIVATIONS_GB
    cores = _CORES * gpus or _CORES
    return Needs(gpus, cores, _HOST_GB * share, seconds, gpu_memory_gb=memory if gpus else 0.0, kept=10 * kept)


def _decoding(call: Call, batch: int) -> tuple[float, float]:
    """Steps of the decoder over all benchmarks, and the tokens that go through the model."""
    settings, lab = call.params.engine.settings, is_lab(call)
    pixels = max(settings.min_pixels or 0, _ITEM_PIXELS)
    question = _LAB_QUESTION_TOKENS if lab else _QUESTION_TOKENS + pixels / _PIXELS_A_TOKEN
    steps = tokens = 0.0
    for name, count in _asked(call).items():
        answer, longest = (settings.max_new_tokens / 2, settings.max_new_tokens) if lab else _answer_tokens(call, name)
        steps += count * answer / batch if batch >= _SERVED else math.ceil(count / batch) * longest
        tokens += count * (question + answer)
    return steps, tokens


def _asked(call: Call) -> Mapping[str, int]:
    """How many answers an engine gives, by benchmark, or to questions."""
    if call.stage.name == "distil":
        return {name: n * call.params.sampling.samples for name, n in items(call.inputs["questions"]).items()}
    return items(call.inputs["benchmarks"])


def _answer_tokens(call: Call, benchmark: str) -> tuple[float, float]:
    """Of a published model's answer, on average and of the longest in a batch."""
    limit = call.params.engine.settings.max_new_tokens
    if benchmark in _SHORT or (call.stage.name != "distil" and call.params.variant == "direct"):
        return min(_SHORT_ANSWER_TOKENS, limit), min(2 * _SHORT_ANSWER_TOKENS, limit)
    return min(_ANSWER_TOKENS, limit), min(_LONGEST, limit)


def judging(call: Call, rates: Rates = STANDARD) -> Needs:
    """Rules take no time; a judge of one's own takes a GPU, an endpoint costs and may be away for a while."""
    judge, counts = call.params.judge, items(call.inputs["benchmarks"])
    kept = 300.0 * sum(counts.values())
    if call.stage.name == "score":
        return Needs(seconds=rates.seconds("score", "cpu", Work(len(counts))), kept=kept)
    asked = [estimate(get_benchmark(name), judge, count, _ANSWER_TOKENS) for name, count in counts.items()]
    if isinstance(judge, LocalJudge):
        seconds = judge.vllm.patience / 4 + sum(each.calls for each in asked) / judge.vllm.concurrency
        size = 0 if Path(judge.repo).is_dir() else of_repository(judge.repo).bytes
        return Needs(judge.vllm.gpus, _CORES, _HOST_GB, seconds, kept=kept, downloaded=size)
    seconds = 1.5 * sum(each.calls for each in asked) / judge.concurrency
    dollars = sum(each.cost for each in asked)
    return Needs(seconds=seconds, retries=_DOWNLOAD_RETRIES, kept=kept, dollars=dollars)


def delta_bytes(call: Call) -> float:
    """What a prior takes on disk, or whole in memory: bf16, or a low rank's two fp32 vectors a pair."""
    selection, shape, rank = call.params.selection, size(call).shape, call.params.prior.rank
    groups = size(call).of_groups(selection.groups)
    layers = len(selection.layers) / shape.layers if selection.layers is not None else 1.0
    whole = 2.0 * groups * layers
    shorter = shape.hidden * shape.feed_forward / (shape.hidden + shape.feed_forward)  # m n / (m + n) of most matrices
    return whole if rank is None else min(whole, 4.0 * rank * groups * layers / shorter)


def examples(call: Call) -> int:
    """SFT examples of a set; of a filter those that the paper's would keep."""
    params = call.params
    if call.stage.name == "mix":
        filtered = params.mix.filtered or examples(call.inputs["filtered"])
        return round(filtered * (1 + params.mix.unfiltered))
    if call.stage.name == "filter":
        return questions(call.inputs["questions"]) * 4 // 11
    if params.world is not None:
        return round(params.world.sft_items * (1 + params.direct))
    known = facts().data.get(params.repo)
    return known.examples if known else _UNKNOWN_EXAMPLES


def questions(call: Call) -> int:
    """Questions of a call that takes them in."""
    params = call.params
    if params.world is not None:
        return int(params.world.sft_items * 11 // 4)
    known = facts().data.get(params.repo)
    return known.examples if known else _UNKNOWN_QUESTIONS


def items(call: Call) -> Mapping[str, int]:
    """Rows of each of a call's benchmarks."""
    if call.stage.name == "questions":
        return {call.stage.name: questions(call)}
    if call.stage.name == "answers":
        return {file.benchmark: _rows(file.benchmark) for file in call.params.files if file.column}
    world = call.params.world
    if world is None:
        return {name: _rows(name) for name in call.params.names}
    grouped = world.wemath_groups * 7 // 2  # groups of two steps have three items, groups of three have four
    return {name: grouped if name == "LabWeMath" else world.suite_items for name in call.params.names}


def _rows(name: str) -> int:
    return get_benchmark(name).rows or facts().items.get(name, _UNKNOWN_ITEMS)


def _read(call: Call) -> float:
    """Bytes of the checkpoints and priors that a call reads, each hashed once before."""
    return sum(_weight(source) for source in call.inputs.values())


def _weight(call: Call) -> float:
    return call.needs.kept or call.needs.downloaded


def _streamed(call: Call, seconds: float, kept: float) -> Needs:
    """Reads checkpoints tensor by tensor on the CPU."""
    return Needs(seconds=seconds, kept=kept) if is_lab(call) else Needs(0, _CORES, _HOST_GB, seconds, kept=kept)


def _download(stage: str, size_of: float, rates: Rates) -> Needs:
    """A download may fail and be tried again."""
    seconds = rates.seconds(stage, "cpu", Work(bytes=size_of))
    return Needs(memory_gb=4, seconds=seconds, retries=_DOWNLOAD_RETRIES, downloaded=size_of)
