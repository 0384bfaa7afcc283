"""What a run wants of this machine, asked before its first byte; all that is missing is told at once, with its remedy.

A lab world wants nothing. A published pair (pair.source=hub) wants what can be known from the plan and is not in the
store: as many CUDA devices as a training has processes or an engine has shards, with the memory that the cost
functions say, a driver, the torchvision that fits torch, vLLM where it answers, room on each disk, pinned revisions,
and access to gated repositories. The hub is asked about those alone that are gated or unknown
(conf/repositories.yaml). Light: torch is imported where a GPU is wanted.
"""

import logging
import re
import shutil
from collections.abc import Collection, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from drift.families import get_family
from evaluation.engines.base import EngineError
from evaluation.engines.config import EngineConfig, TransformersConfig, VLLMConfig
from evaluation.judging.config import LocalJudge
from pipelines import held, stages
from pipelines.errors import PreflightError
from pipelines.forecast import Machine, downloads, forecast
from pipelines.outline import gigabytes
from pipelines.rates import load as load_rates
from pipelines.resources import origin
from pipelines.schema import Config
from pipelines.session import freshness, rooted
from pipelines.sizes import terms
from pipelines.stage import Call, ordered
from pipelines.stages.outside import hub_cache
from pipelines.store import Store

log = logging.getLogger(__name__)

_FETCHED = (stages.MODEL, stages.DATA, stages.QUESTIONS)
_KEPT = (stages.PRIOR, stages.MERGE, stages.TRAIN)
_ANSWERING = (stages.GENERATE, stages.DISTIL, stages.SECOND_OPINION)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DRIVER = Path("/proc/driver/nvidia/version")
_ROOM = 1.05  # of a GPU's memory, for what its driver keeps for itself


def check(config: Config, targets: Sequence[Call]) -> None:
    """Refuses a run that this machine can't carry; with preflight=warn it says so and goes on.

    Raises:
        PreflightError: everything that is missing, each with its remedy.
    """
    if not is_asked(ordered(list(targets))):
        return
    store = rooted(config.store)
    planned = ordered(list(targets))
    found = held.states(planned, Store(store), freshness(config))
    calls = [call for call in planned if found[call.key].word != "store"]
    have = {call.key for call in planned if found[call.key].word == "store"}
    faults = [
        *_gpu_faults(calls),
        *torchvision_faults(calls),
        *_vllm_faults(calls),
        *revision_faults(calls),
        *_access_faults(calls, store, config.launcher.offline),
        *_answer_faults(calls, store),
        *_disk_faults(config, planned, have, store),
    ]
    if config.preflight == "warn":
        for fault in faults:
            log.warning("preflight: %s", fault)
    elif faults:
        raise PreflightError("\n".join([*faults, "preflight=warn goes on all the same"]))


def is_asked(calls: Iterable[Call]) -> bool:
    """Whether any call wants something of the machine that it may lack."""
    return any(_is_published(call) or _wants_torchvision(call) or call.stage is stages.ANSWERS for call in calls)


def _gpu_faults(calls: Sequence[Call]) -> list[str]:
    """Trainings with more processes than there are CUDA devices, and engines with more shards."""
    remedies = {
        (stages.TRAIN,): "launcher.processes=N trains the same global batch on N",
        _ANSWERING: "engine=openai has a server answer, engine=transformers engine.device=cpu the CPU, for weeks",
        (stages.JUDGE,): "judge=openai asks a server, judge=rules nobody, which its scores say",
    }
    faults = []
    for kinds, remedy in remedies.items():
        most = max((call for call in calls if call.stage in kinds), key=_gpus, default=None)
        if most is None or not _gpus(most):
            continue
        found, torch = _cuda_devices()
        wanted = max(call.needs.gpu_memory_gb for call in calls if call.stage in kinds)
        if found < _gpus(most):
            build = ", a build without CUDA," if torch.endswith("+cpu") else "" if found else _driver_fault()
            faults.append(
                f"{most.stage.name} ({most.label}) wants {_gpus(most)} of the CUDA devices, and torch {torch}{build} "
                f"sees {found}; give it more, or: {remedy}"
            )
        elif 0 < (memory := _gpu_memory_gb()) < wanted * _ROOM:
            faults.append(
                f"{most.stage.name} wants about {wanted:.0f} GB on each GPU, and the smallest here has {memory:.0f}: "
                "zero=stage3 and train.offload=cpu for a training, engine.tensor_parallel=2 for engine=vllm"
            )
    return faults


def torchvision_faults(calls: Sequence[Call]) -> list[str]:
    """Stock processors that don't open here."""
    wanting = next((call for call in calls if _wants_torchvision(call)), None)
    missing = _torchvision_fault() if wanting else ""
    if wanting is None or not missing:
        return []
    return [
        f"image_backend=auto reads the pictures of {origin(wanting).params.family} with torchvision, and {missing}; "
        f"say image_backend=pil, or install the torchvision that goes with torch {version('torch')}"
    ]


def _vllm_faults(calls: Sequence[Call]) -> list[str]:
    """vLLM where nobody has set it up: answers and a judge of one's own come hours after the start."""
    engines = [getattr(call.params, "engine", None) for call in calls]
    engines += [judge.vllm for call in calls if isinstance(judge := getattr(call.params, "judge", None), LocalJudge)]
    commands = {engine.command for engine in engines if isinstance(engine, VLLMConfig)}
    if not commands:
        return []
    from evaluation.engines.vllm import executable

    faults = []
    for command in sorted(commands):
        try:
            executable(command)
        except EngineError as error:
            faults.append(str(error))
    return faults


def revision_faults(calls: Sequence[Call]) -> list[str]:
    """Repositories by a name that moves: what was made from one could not be made again."""
    fetched = [call for call in calls if call.stage in _FETCHED and call.params.source == "hub"]
    moving = {call.params.repo: call.params.revision for call in fetched if not _COMMIT.fullmatch(call.params.revision)}
    return [
        f"{repo} is at {revision!r}, which is no commit; write its 40 digits where it is named in conf/, or "
        "`locked` to have them looked up and kept"
        for repo, revision in moving.items()
    ]


def _access_faults(calls: Sequence[Call], store: Path, offline: bool) -> list[str]:
    """Repositories that ask who comes, where nobody is logged in or nobody was let in."""
    cache, faults = hub_cache(store / ".cache"), []
    wanted = {c.params.repo: c for c in calls if c.stage is stages.MODEL and c.params.source == "hub"}
    for repo, call in wanted.items():
        gated = terms(repo)[1]
        if offline or gated == "no" or _is_cached(call, cache):
            continue
        if gated != "unknown" and not _has_token():
            faults.append(
                f"{repo} is gated and no token is set: ask for access at https://huggingface.co/{repo}, then `hf auth "
                "login`, or the variable HF_TOKEN"
            )
        elif refusal := _refusal(repo):
            faults.append(f"the hub does not give {repo}: {refusal}; ask for access at https://huggingface.co/{repo}")
    return faults


def _answer_faults(calls: Sequence[Call], store: Path) -> list[str]:
    """Published answers that are neither in a folder nor fetched before, where their site does not answer."""
    wanted = [call for call in calls if call.stage is stages.ANSWERS and call.params.source == "hub"]
    if not wanted:
        return []
    from evaluation.data.download import unreachable
    from pipelines.stages.published import SITE, fetched

    lacking = [call.params for call in wanted if not all(path.exists() for path in fetched(call.params, store))]
    refusal = unreachable(SITE) if lacking else ""
    if not refusal:
        return []
    names = ", ".join(sorted({params.repository for params in lacking}))
    return [f"{SITE} has the published answers of {names} and does not answer ({refusal}); say answers.root=FOLDER"]


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _refusal(repo: str) -> str:
    """Why this user may not download a repository; empty where he may."""
    from huggingface_hub import auth_check
    from huggingface_hub.errors import HTTPError

    try:
        auth_check(repo)
    except (HTTPError, OSError) as error:  # HTTPError: no connection; and the base of what the hub answers
        return str(error).strip().splitlines()[0]
    return ""


def _disk_faults(config: Config, planned: Sequence[Call], have: Collection[str], store: Path) -> list[str]:
    """Disks without room for what the plan downloads, keeps, and writes on the way (`pipelines.forecast`).

    The store and the hub's cache may share a disk.
    """
    rates, cache = load_rates(store), hub_cache(store / ".cache")
    machine = Machine(config.launcher.workers, config.launcher.gpus)
    price = forecast(planned, have, config.keep, machine, lambda call: call.needs_on(rates))
    lacking = [c for c in downloads([c for c in planned if c.key not in have]) if not _is_cached(c, cache)]
    fetched = sum(call.needs.downloaded for call in lacking)
    disks: dict[int, dict[Path, float]] = {}
    for place, size in ((store, price.peak), (cache, fetched)):
        disks.setdefault(_existing(place).stat().st_dev, {})[place] = size
    faults = []
    for places in disks.values():
        free, wanted = shutil.disk_usage(_existing(next(iter(places)))).free, sum(places.values())
        if free < wanted:
            faults.append(
                f"up to {gigabytes(wanted)} are wanted in {' and '.join(map(str, places))} and {gigabytes(free)} are "
                f"free: {gigabytes(price.peak)} in the store at most, {gigabytes(fetched)} to download; give other "
                "disks: store=... and the variable HF_HOME; keep less: keep=scores; or no checkpoints of a training: "
                "train.save_steps=0"
            )
    return faults


def _is_published(call: Call) -> bool:
    """Whether a call reads or makes weights of a published pair."""
    weighty = call.stage in (stages.MODEL, *_KEPT, *_ANSWERING)
    return weighty and origin(call).params.source == "hub"


def _wants_torchvision(call: Call) -> bool:
    """The stock processors of the Qwen-VL families don't open without it; those of the other families do."""
    if call.stage is stages.TRAIN:
        backend = call.params.training.image_backend
    elif call.stage in _ANSWERING and isinstance(call.params.engine, TransformersConfig):
        backend = call.params.engine.image_backend
    else:
        return False
    return backend == "auto" and get_family(origin(call).params.family).sized_by == "area"


def _gpus(call: Call) -> int:
    if call.stage is stages.JUDGE:
        return call.needs.gpus
    if not _is_published(call):
        return 0
    return call.needs.gpus if call.stage is stages.TRAIN else _engine_gpus(call.params.engine)


def _engine_gpus(engine: EngineConfig) -> int:
    return engine.gpus if isinstance(engine, (TransformersConfig, VLLMConfig)) else 0


def _cuda_devices() -> tuple[int, str]:
    import torch

    return torch.cuda.device_count(), torch.__version__


def _gpu_memory_gb() -> float:
    """Of the smallest device that torch sees; 0 where it sees none."""
    import torch

    sizes = [torch.cuda.get_device_properties(place).total_memory for place in range(torch.cuda.device_count())]
    return min(sizes, default=0) / 1e9


def _driver_fault() -> str:
    """What to say of the driver under a build of torch with CUDA that sees too little."""
    return "" if _DRIVER.exists() else f", and no NVIDIA driver is loaded ({_DRIVER} is not there),"


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
    """Whether the hub's cache has a checkpoint or a data set at the call's revision; all else is not kept there."""
    from huggingface_hub.file_download import repo_folder_name

    if call.stage not in _FETCHED:
        return False
    kind = "model" if call.stage is stages.MODEL else "dataset"
    folder = cache / repo_folder_name(repo_id=call.params.repo, repo_type=kind)
    return (folder / "snapshots" / call.params.revision).is_dir()


def _existing(place: Path) -> Path:
    return next(folder for folder in (place, *place.parents) if folder.exists())
