"""What a call takes of a machine, computed from its parameters: a laboratory's models are tiny, published ones are not.

The figures of published models are of 7B parameters in bf16 (15 GB) on GPUs of 80 GB, and are guesses: they order the
queue and are asked of a cluster, and no result depends on them.
"""

from functools import cache

from evaluation.engines.config import OpenAIConfig
from evaluation.judging.config import LocalJudge
from pipelines.stage import Call, Needs

_DOWNLOAD_RETRIES = 2
_TRAINING_EXAMPLES = 4000  # of the paper's SFT data
_ANSWER_SECONDS = {"transformers": 8000.0, "vllm": 600.0, "openai": 600.0}  # of a benchmark of a thousand items


@cache
def is_lab(call: Call) -> bool:
    """Whether every model that the call works on was built in a laboratory's world."""
    if call.stage.name == "model":
        return call.params.source == "lab"
    return all(is_lab(source) for source in call.inputs.values())


def _lab(call: Call) -> Needs:
    return Needs(seconds=call.stage.seconds)


def fetching(call: Call) -> Needs:
    """A download may fail and be tried again; a folder is linked."""
    if call.params.source == "lab":
        return _lab(call)
    if call.params.source == "folder":
        return Needs(seconds=30 if call.stage.name != "answers" else call.stage.seconds)
    return Needs(memory_gb=4, seconds=900, retries=_DOWNLOAD_RETRIES)


def streaming(call: Call) -> Needs:
    """A prior, a geometry, a merge: reads checkpoints tensor by tensor on the CPU."""
    return _lab(call) if is_lab(call) else Needs(cores=8, memory_gb=48, seconds=600)


def training(call: Call) -> Needs:
    """A GPU a process; the nodes' share of the optimizer is in their memory where it is offloaded."""
    processes, nodes, schedule = call.params.processes, call.params.nodes, call.params.training
    own = processes // nodes
    if is_lab(call):
        return Needs(cores=own, memory_gb=2 * own, seconds=call.stage.seconds, nodes=nodes)
    memory = 24 * own + (100 // nodes if schedule.offload == "cpu" else 0)
    seconds = 300 + 2.0 * _TRAINING_EXAMPLES * schedule.epochs / processes
    return Needs(gpus=own, cores=8 * own, memory_gb=memory, seconds=seconds, nodes=nodes)


def answering(call: Call) -> Needs:
    """A GPU, unless an endpoint answers."""
    if is_lab(call):
        return _lab(call)
    engine = call.params.engine
    gpus = 0 if isinstance(engine, OpenAIConfig) else engine.gpus
    memory = 24 * gpus or 4
    seconds = _ANSWER_SECONDS[engine.name] * len(call.params.benchmarks)
    return Needs(gpus=gpus, cores=8 * gpus or 1, memory_gb=memory, seconds=seconds)


def comparing(call: Call) -> Needs:
    """VLMEvalKit answers on its own, with transformers."""
    if is_lab(call):
        return _lab(call)
    return Needs(gpus=1, cores=8, memory_gb=24, seconds=_ANSWER_SECONDS["transformers"] * len(call.params.benchmarks))


def judging(call: Call) -> Needs:
    """Rules take no time; a judge of one's own takes a GPU, and an endpoint may be away for a while."""
    judge = call.params.judge
    if call.stage.name == "score":
        return _lab(call) if is_lab(call) else Needs(seconds=30)
    if isinstance(judge, LocalJudge):
        return Needs(gpus=judge.vllm.gpus, cores=8, memory_gb=24, seconds=600)
    return Needs(seconds=600, retries=_DOWNLOAD_RETRIES)
