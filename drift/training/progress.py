"""What a run leaves behind while it is going: the job that it is, and metrics lines, cut back where it is taken up."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from drift.errors import TrainingError
from drift.files import read_jsonl, write_jsonl, write_whole
from drift.injection import RunObserver
from drift.injection.injector import LOG_PREFIX
from drift.injection.shards import rank
from drift.training import distributed, pace
from drift.training.checkpoints import keep_newest, seal
from drift.training.pace import Tokens

log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
# Keys of every metrics line beside the loss; null where a run does not measure one (plain SFT has no cosine).
OBSERVED = ("cosine", "injected_share", "alpha", "w_eff")


def read_metrics(out: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, without a last one that a kill tore."""
    path = out / METRICS
    return read_jsonl(path, "metrics", allow_torn_end=True) if path.is_file() else []


def cut_metrics(out: Path, step: int) -> None:
    """metrics.jsonl keeps the lines up to `step`: what came later will be computed again. So does pace.jsonl."""
    write_jsonl(out / METRICS, (line for line in read_metrics(out) if line["step"] <= step))
    pace.cut(out, step)


class Recorder(TrainerCallback):
    """Writes one metrics line per logging step and the last, and seals each checkpoint."""

    def __init__(
        self,
        out: Path,
        observer: RunObserver | None,
        on_metrics: Callable[[Mapping[str, Any]], None] | None,
        seconds_before: float,
        tokens: Tokens,
    ):
        """Args:
        out: the run's folder.
        observer: measures w_eff where no injection has put its own values into the log; None without a prior.
        on_metrics: called on rank 0 with each line.
        seconds_before: spent before this start.
        tokens: that this process has read.
        """
        self._out = out
        self._observer = observer
        self._on_metrics = on_metrics
        self._start = time.monotonic() - seconds_before
        self._pace = pace.Pace(out, tokens)

    def seconds(self) -> float:
        """Wall time of the run so far, over all its starts."""
        return time.monotonic() - self._start

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """The first step's pace is its own, without what came before it."""
        self._pace.begin()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any):
        """The last step is always logged and never checkpointed: the final model follows at once."""
        if state.global_step >= state.max_steps:
            control.should_log = True
            control.should_save = False
        if control.should_save and rank() == 0:
            keep_newest(self._out)
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
        if self._observer is not None:
            observed |= {f"w_eff/{group}": share for group, share in self._observer.w_eff_by_group().items()}
        line = {
            "step": state.global_step,
            "epoch": logs["epoch"],
            "loss": logs["loss"],
            "grad_norm": logs.get("grad_norm"),  # ZeRO 0 in fp32 does not report it
            "learning_rate": logs["learning_rate"],
            **observed,
        }
        self._pace.add(state.global_step, self.seconds())
        if rank() == 0:
            with (self._out / METRICS).open("a") as file:
                file.write(json.dumps(line) + "\n")
            if self._on_metrics is not None:
                self._on_metrics(line)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Seals the checkpoint of this step once every rank has written."""
        distributed.barrier()
        if rank() == 0:
            seal(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}", self.seconds())


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


def _own_name(key: str) -> str:
    """The injection's own norm is of the selected parameters before the bias; ours is of all, after it."""
    name = key.removeprefix(LOG_PREFIX)
    return name.replace("grad_norm", "selected_grad_norm", 1) if name.startswith("grad_norm") else name
