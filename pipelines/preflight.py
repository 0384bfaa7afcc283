"""What a run wants of this machine, asked before its first byte: GPUs, torchvision, disk.

A lab world wants nothing. A published pair (pair.source=hub) wants what can be known from the plan and is not in the
store: as many CUDA devices as a training has processes or an engine has shards, and room for the weights. GPU memory,
the network and licences are not looked at. Light: torch is imported where a GPU is wanted.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from drift.families import get_family
from evaluation.engines.config import EngineConfig, TransformersConfig, VLLMConfig
from pipelines import stages
from pipelines.errors import PreflightError
from pipelines.scheduler import resolve
from pipelines.schema import Config
from pipelines.session import rooted
from pipelines.stage import Call, ordered
from pipelines.store import Artifact, Store

log = logging.getLogger(__name__)

# bf16 weights of 8 billion parameters, about what each published model, merge, full prior and training comes to.
WEIGHTS = 16e9
# While one trains: two checkpoints of weights, fp32 master weights and two moments (drift.training.disk).
CHECKPOINTS = 2 * 7 * WEIGHTS
_KEPT = (stages.PRIOR, stages.MERGE, stages.TRAIN)
_ANSWERING = (stages.GENERATE, stages.SECOND_OPINION)


def check(config: Config, targets: Sequence[Call]) -> None:
    """Refuses a run that this machine can't carry; with preflight=warn it says so and goes on.

    Raises:
        PreflightError: everything that is missing, each with its remedy.
    """
    if not is_asked(ordered(list(targets))):
        return
    store = rooted(config.store)
    calls = _to_run(targets, Store(store))
    faults = [*_gpu_faults(calls), *_torchvision_faults(calls), *_disk_faults(calls, store, config.launcher.workers)]
    if config.preflight == "warn":
        for fault in faults:
            log.warning("preflight: %s", fault)
    elif faults:
        raise PreflightError("\n".join([*faults, "preflight=warn goes on all the same"]))


def is_asked(calls: Iterable[Call]) -> bool:
    """Whether any call wants something of the machine that it may lack."""
    return any(_is_published(call) or _wants_torchvision(call) for call in calls)


def _to_run(targets: Sequence[Call], store: Store) -> list[Call]:
    """The calls that the store does not hold; what waits for a chosen value counts as one."""
    done: dict[str, Artifact] = {}
    left = []
    for call in ordered(list(targets)):
        artifact = None
        if all(source.key in done for source in call.sources):
            artifact = store.usable(call.stage.name, resolve(call, done).fingerprint)
        if artifact is None:
            left.append(call)
        else:
            done[call.key] = artifact
    return left


def _gpu_faults(calls: Sequence[Call]) -> list[str]:
    """Trainings with more processes than there are CUDA devices, and engines with more shards."""
    remedies = {
        (stages.TRAIN,): "launcher.processes=N trains the same global batch on N",
        _ANSWERING: "engine=openai has a server answer, engine=transformers engine.device=cpu the CPU, for weeks",
    }
    faults = []
    for kinds, remedy in remedies.items():
        most = max((call for call in calls if call.stage in kinds), key=_gpus, default=None)
        if most is None or not _gpus(most):
            continue
        found, torch = _cuda_devices()
        if found < _gpus(most):
            build = ", a build without CUDA," if torch.endswith("+cpu") else ""
            faults.append(
                f"{most.stage.name} ({most.label}) wants {_gpus(most)} of the CUDA devices, and torch {torch}{build} "
                f"sees {found}; give it more, or: {remedy}"
            )
    return faults


def _torchvision_faults(calls: Sequence[Call]) -> list[str]:
    wanting = next((call for call in calls if _wants_torchvision(call)), None)
    missing = _torchvision_fault() if wanting else ""
    if wanting is None or not missing:
        return []
    return [
        f"image_backend=auto reads the pictures of {_mllm(wanting).family} with torchvision, and {missing}; say "
        f"image_backend=pil, or install the torchvision that goes with torch {version('torch')}"
    ]


def _disk_faults(calls: Sequence[Call], store: Path, workers: int) -> list[str]:
    """Disks without room for the weights that the calls download, keep, and write while they train.

    Data and benchmarks, a few GB, are not counted. The store and the hub's cache may share a disk.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    cache = Path(HF_HUB_CACHE)
    counts = Counter(call.stage.name for call in calls if call.stage in _KEPT and _is_published(call))
    counts["download"] = sum(_is_published(c) and not _is_cached(c, cache) for c in calls if c.stage is stages.MODEL)
    saving = sum(c.stage is stages.TRAIN and c.params.training.save_steps > 0 and _is_published(c) for c in calls)
    kept, passing = WEIGHTS * (counts.total() - counts["download"]), CHECKPOINTS * min(saving, workers)
    disks: dict[int, dict[Path, float]] = {}
    for place, size in ((store, kept + passing), (cache, WEIGHTS * counts["download"])):
        disks.setdefault(_existing(place).stat().st_dev, {})[place] = size
    what = ", ".join(f"{count} of {name}" for name, count in counts.items() if count)
    faults = []
    for places in disks.values():
        free, wanted = shutil.disk_usage(_existing(next(iter(places)))).free, sum(places.values())
        if free < wanted:
            faults.append(
                f"up to {_gb(wanted)} are wanted in {' and '.join(map(str, places))} and {_gb(free)} are free (in all "
                f"{what}, {_gb(WEIGHTS)} each as of 8 billion parameters, and {_gb(passing)} of checkpoints while one "
                "trains); give other disks: store=... and the variable HF_HOME, or save none: train.save_steps=0"
            )
    return faults


def _gb(size: float) -> str:
    return f"{size / 1e9:.0f} GB"


def _is_published(call: Call) -> bool:
    """Whether a call reads or makes weights of a published pair."""
    weighty = call.stage in (stages.MODEL, *_KEPT, *_ANSWERING)
    return weighty and (call.params if call.stage is stages.MODEL else _mllm(call)).source == "hub"


def _wants_torchvision(call: Call) -> bool:
    """The stock processors of the Qwen-VL families don't open without it; those of the other families do."""
    if call.stage is stages.TRAIN:
        backend = call.params.training.image_backend
    elif call.stage in _ANSWERING and isinstance(call.params.engine, TransformersConfig):
        backend = call.params.engine.image_backend
    else:
        return False
    return backend == "auto" and get_family(_mllm(call).family).sized_by == "area"


def _mllm(call: Call) -> stages.ModelParams:
    """The MLLM that a prior, a merge, a training or an answer starts from."""
    while call.stage is not stages.MODEL:
        call = call.inputs["model"] if "model" in call.inputs else call.inputs["mllm"]
    params: stages.ModelParams = call.params
    return params


def _gpus(call: Call) -> int:
    if not _is_published(call):
        return 0
    return call.needs.gpus if call.stage is stages.TRAIN else _engine_gpus(call.params.engine)


def _engine_gpus(engine: EngineConfig) -> int:
    if isinstance(engine, VLLMConfig):
        return engine.tensor_parallel
    return int(isinstance(engine, TransformersConfig) and engine.device != "cpu")


def _cuda_devices() -> tuple[int, str]:
    import torch

    return torch.cuda.device_count(), torch.__version__


def _torchvision_fault() -> str:
    """Why torchvision can't serve; empty where it can. Each of its releases is built for one release of torch."""
    try:
        wanted = [line.partition(";")[0].strip() for line in requires("torchvision") or ()]
    except PackageNotFoundError:
        return "it is not installed"
    torch = version("torch").partition("+")[0]
    misfit = next((w for w in wanted if w.startswith("torch==") and w != f"torch=={torch}"), "")
    return f"the one installed ({version('torchvision')}) wants {misfit}" if misfit else ""


def _is_cached(call: Call, cache: Path) -> bool:
    from huggingface_hub.file_download import repo_folder_name

    folder = cache / repo_folder_name(repo_id=call.params.repo, repo_type="model")
    return (folder / "snapshots" / call.params.revision).is_dir()


def _existing(place: Path) -> Path:
    return next(folder for folder in (place, *place.parents) if folder.exists())
