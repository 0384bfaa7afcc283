"""A call with everything resolved, and the file that takes it to a worker on another machine.

The file is JSON and holds no code: parameters are read back as the types that the stage's function declares, and the
fingerprint is computed again, so a file that was changed, or a type that does not come back as it went, is refused.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from drift.files import write_whole
from pipelines.errors import StageError
from pipelines.fingerprint import canonical, fingerprint
from pipelines.stage import Needs, Runtime, Stage
from pipelines.staleness import Wanted
from pipelines.store import Artifact, Store


@dataclass(frozen=True)
class Job:
    """What a worker is sent; `about` goes into the manifest as it is."""

    stage: Stage
    fingerprint: str
    params: Any
    inputs: Mapping[str, Artifact]
    label: str
    needs: Needs = field(default_factory=Needs)
    wanted: Wanted = field(default_factory=Wanted)
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Names the job in files and queues."""
        return f"{self.stage.name}-{self.fingerprint[:20]}"


def write(job: Job, runtime: Runtime) -> Path:
    """Writes the job file into the store; its path."""
    stage = job.stage
    content = {
        "stage": {"name": stage.name, "version": stage.version, "run": stage.run, "seconds": stage.seconds},
        "fingerprint": job.fingerprint,
        "params": canonical(job.params, whole=True),
        "inputs": {name: [item.manifest["stage"], item.fingerprint] for name, item in job.inputs.items()},
        "label": job.label,
        "wanted": asdict(job.wanted),
        "about": job.about,
        "runtime": asdict(runtime),
    }
    path = runtime.store / ".jobs" / f"{job.name}.json"
    write_whole(path, json.dumps(content, indent=2, default=str))
    return path


def read(path: Path) -> tuple[Job, Runtime]:
    """The job and the runtime of a job file.

    Raises:
        StageError: the file's parameters are not those that its fingerprint was computed from, or an input is gone.
    """
    content = json.loads(path.read_text())
    stage, mark = Stage(**content["stage"]), content["fingerprint"]
    runtime = TypeAdapter(Runtime).validate_python(content["runtime"])
    store = Store(runtime.store)
    try:
        params = TypeAdapter(get_type_hints(stage.function())["params"]).validate_python(content["params"])
    except ValidationError as error:
        raise StageError(f"{path}: the parameters are not those of stage {stage.name}: {error}") from None
    found = fingerprint(stage.name, stage.version, params, {name: item[1] for name, item in content["inputs"].items()})
    if found != mark:
        raise StageError(
            f"{path}: its parameters have fingerprint {found[:20]}, it says {mark[:20]}: it was changed, or holds a "
            "value of another type than declared (1 where 1.0 is)"
        )
    inputs = {name: _input(store, *item) for name, item in content["inputs"].items()}
    wanted = TypeAdapter(Wanted).validate_python(content["wanted"])
    return Job(stage, mark, params, inputs, content["label"], wanted=wanted, about=content["about"]), runtime


def command(path: Path) -> list[str]:
    """What makes a job file's artifact on a machine with the same filesystem."""
    return [sys.executable, "-m", "pipelines.worker", str(path)]


def environment() -> dict[str, str]:
    """What that command needs to find this code, and to compute as this process would, on another machine."""
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM") if name in os.environ}
    return {"PYTHONPATH": path, **kept}


def _input(store: Store, stage: str, mark: str) -> Artifact:
    artifact = store.find(stage, mark)
    if artifact is None:
        raise StageError(f"{store.path(stage, mark)} is not there on this host; is the store on a shared filesystem?")
    return artifact
