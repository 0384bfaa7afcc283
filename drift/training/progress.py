"""What a run leaves behind while it is going: metrics lines, complete checkpoints, and where to take up again.

A checkpoint counts once its `complete.json` exists: it lists every file with its size and is written last, after all
ranks. What a kill left without it is deleted at the next start. metrics.jsonl is cut back to the step that is taken up.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from drift.errors import TrainingError
from drift.files import read_jsonl, write_jsonl, write_whole
from drift.injection import RunObserver
from drift.injection.injector import LOG_PREFIX
from drift.injection.shards import rank
from drift.training import distributed

log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
MARKER = "complete.json"
# Keys of every metrics line beside the loss; null where a run does not measure one (plain SFT has no cosine).
OBSERVED = ("cosine", "injected_share", "alpha", "w_eff")


@dataclass(frozen=True)
class ResumePoint:
    """Where to go on: step 0 with no folder is a fresh start. `seconds` were spent before."""

    step: int
    folder: Path | None
    seconds: float


def find_resume_point(out: Path) -> ResumePoint:
    """The last complete checkpoint under `out`, after every rank has agreed that torn ones are gone."""
    if rank() == 0:
        for folder in (out / CHECKPOINTS).glob("checkpoint-*"):
            if not _is_complete(folder):
                log.info("dropping the torn checkpoint %s", folder.name)
                shutil.rmtree(folder)
    distributed.barrier()
    found = sorted((int(folder.name.split("-")[1]), folder) for folder in (out / CHECKPOINTS).glob("checkpoint-*"))
    if not found:
        return ResumePoint(0, None, 0.0)
    step, folder = found[-1]
    return ResumePoint(step, folder, json.loads((folder / MARKER).read_text())["seconds"])


def read_metrics(out: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, without a last one that a kill tore."""
    path = out / METRICS
    return read_jsonl(path, "metrics", allow_torn_end=True) if path.is_file() else []


def cut_metrics(out: Path, step: int) -> None:
    """metrics.jsonl keeps the lines up to `step`: what came later will be computed again."""
    write_jsonl(out / METRICS, (line for line in read_metrics(out) if line["step"] <= step))


class Recorder(TrainerCallback):
    """Writes one metrics line per logging step and the last, and seals each checkpoint."""

    def __init__(
        self,
        out: Path,
        observer: RunObserver | None,
        on_metrics: Callable[[Mapping[str, Any]], None] | None,
        seconds_before: float,
    ):
        """Args:
        out: the run's folder.
        observer: measures w_eff where no injection has put its own values into the log; None without a prior.
        on_metrics: called on rank 0 with each line.
        seconds_before: spent before this start.
        """
        self._out = out
        self._observer = observer
        self._on_metrics = on_metrics
        self._start = time.monotonic() - seconds_before

    def seconds(self) -> float:
        """Wall time of the run so far, over all its starts."""
        return time.monotonic() - self._start

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any):
        """The last step is always logged and never checkpointed: the final model follows at once."""
        if state.global_step >= state.max_steps:
            control.should_log = True
            control.should_save = False
        return control

    on_epoch_end = on_step_end  # transformers asks for a last checkpoint here again

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **event: Any) -> None:
        """One line; transformers' closing summary, which has no loss, is not one."""
        logs = event["logs"]
        if "loss" not in logs:
            return
        observed: dict[str, float | None] = dict.fromkeys(OBSERVED)
        observed |= {_own_name(key): value for key, value in logs.items() if key.startswith(LOG_PREFIX)}
        if observed["w_eff"] is None and self._observer is not None:
            observed["w_eff"] = self._observer.w_eff()
        line = {
            "step": state.global_step,
            "epoch": logs["epoch"],
            "loss": logs["loss"],
            "grad_norm": logs.get("grad_norm"),  # ZeRO 0 in fp32 does not report it
            "learning_rate": logs["learning_rate"],
            **observed,
        }
        if rank() == 0:
            with (self._out / METRICS).open("a") as file:
                file.write(json.dumps(line) + "\n")
            if self._on_metrics is not None:
                self._on_metrics(line)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Marks the checkpoint of this step complete once every rank has written, then deletes older ones."""
        distributed.barrier()
        if rank() != 0:
            return
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        sizes = {str(p.relative_to(folder)): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
        write_whole(folder / MARKER, json.dumps({"seconds": self.seconds(), "files": sizes}))
        for older in folder.parent.glob("checkpoint-*"):
            if older != folder:
                shutil.rmtree(older)


def require_same_job(out: Path, identity: Mapping[str, Any]) -> None:
    """The folder belongs to this job: empty so far, or begun with the same settings.

    Raises:
        TrainingError: it was begun with other settings; going on would mix two runs.
    """
    path = out / "job.json"
    wanted = json.loads(json.dumps(identity))
    if path.is_file():
        found = json.loads(path.read_text())
        differing = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
        if differing:
            raise TrainingError(
                f"{out} was begun with another job: {differing} differ "
                f"(found {[found.get(k) for k in differing]}, expected {[wanted.get(k) for k in differing]}); "
                f"choose another folder or delete it"
            )
    distributed.barrier()
    if rank() == 0:
        write_whole(path, json.dumps(wanted, indent=2) + "\n")


def _is_complete(folder: Path) -> bool:
    """Whether the marker exists and every file it lists has its size."""
    if not (folder / MARKER).is_file():
        return False
    sizes = json.loads((folder / MARKER).read_text())["files"]
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items())


def _own_name(key: str) -> str:
    """The injection's own norm is of the selected parameters before the bias; ours is of all, after it."""
    name = key.removeprefix(LOG_PREFIX)
    return name.replace("grad_norm", "selected_grad_norm", 1) if name.startswith("grad_norm") else name
