"""The scheduler's side: a line in the journal for what begins and what is made, and a sidecar that reads it.

What a tracker can't do never stops a run, nor slows it down: it is told, and the command ends with status 3.
"""

import logging
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines import stages
from pipelines.fingerprint import canonical
from pipelines.job import Job
from pipelines.job import environment as importing
from pipelines.schema import NoTracker, Wandb
from pipelines.stage import Call
from pipelines.store import Artifact, Store
from pipelines.tracking.journal import Begin, End, Finished, Message, Started, append
from pipelines.tracking.upload import SECONDS, apart, why_not

log = logging.getLogger(__name__)
LOG = "sidecar.log"
SAID = ".said"  # in place of the journal's suffix: what the sidecar could not do
_STAGES = (stages.TRAIN.name, stages.SCORE.name, stages.REPORT.name)
_BACKFILL = "drift track --backfill"


class Recorder:
    """Tells a sidecar of what a plan makes.

    Args:
        folder: of the recordings; wandb's own files lie in `wandb/` below it.
        store: whose artifacts they are.
        results: where the report is published.
        profile: a tag of every run, and the group of those that no table asks for.

    Attributes:
        trouble: why not everything was recorded as it was asked; empty where it was.
    """

    def __init__(self, tracker: Wandb | NoTracker, folder: Path, store: Path, results: Path, profile: str) -> None:
        self.tracker, self.folder, self.store, self.trouble = tracker, folder, store, ""
        self._journal = folder / f".journal-{platform.node()}-{os.getpid()}-{id(self):x}.jsonl"
        self._results, self._profile = results, profile
        self._sidecar: subprocess.Popen[bytes] | None = None
        self._groups: dict[str, str] = {}
        self._tried: set[str] = set()
        self._done: Mapping[str, Artifact] = {}
        self._uploads = False
        if isinstance(tracker, Wandb) and tracker.mode == "online":
            why = why_not(os.environ)
            self._uploads = not why
            if why:
                self._degrade(f"tracker=online, and {why}", "make sync")

    def planned(self, calls: Sequence[Call], done: Mapping[str, Artifact]) -> None:
        """Takes note of which table asks first for each call; `done` fills with artifacts as the plan goes on."""
        self._done = done
        self._groups = groups(calls)
        self._tried = {key for call in calls if call.stage is stages.CHOOSE for key in _scores(call)}

    def started(self, key: str, job: Job) -> None:
        """A job began; of a training there is something to see from now on."""
        if job.stage is not stages.TRAIN:
            return
        made = {
            "stage": job.stage.name,
            "fingerprint": job.fingerprint,
            "label": job.label,
            "params": canonical(job.params, whole=True),
            "inputs": {name: artifact.fingerprint for name, artifact in job.inputs.items()},
        }
        partial = Store(self.store).partial(job.stage.name, job.fingerprint)
        self._tell(Started(self._groups.get(key, self._profile), made, partial))

    def __call__(self, artifact: Artifact) -> None:
        """An artifact was made."""
        if artifact.manifest["stage"] not in _STAGES:
            return
        keys = [key for key, made in self._done.items() if made is artifact]
        group = next((self._groups[key] for key in keys if key in self._groups), self._profile)
        self._tell(Finished(group, artifact.path, bool(keys) and self._tried.issuperset(keys)))

    def finish(self, seconds: float | None = SECONDS + 30) -> None:
        """Waits for what is still to be recorded and sent, no longer than so many seconds; None is as long as it takes.

        A sidecar that does not end is ended: what it has not recorded stays in the store.
        """
        if self._sidecar is None:
            return
        self._tell(End())
        try:
            status = self._sidecar.wait(seconds)
        except subprocess.TimeoutExpired:
            self._degrade(f"not all was recorded within {seconds:.0f} s", _BACKFILL)
            self._sidecar.kill()
            self._sidecar.wait()
        else:
            said = self._journal.with_suffix(SAID)
            if said.is_file():
                self._degrade(said.read_text(), "make sync" if self._uploads else _BACKFILL)
                said.unlink()
            elif status:
                self._degrade(f"the recorder ended with status {status}; it says why in {self.folder / LOG}", _BACKFILL)
        self._journal.unlink(missing_ok=True)
        self._sidecar = None

    def _tell(self, message: Message) -> None:
        """Writes a line, the first time for a sidecar that is started to read it."""
        if isinstance(self.tracker, NoTracker):
            return
        try:
            if self._sidecar is None:
                self._start(self.tracker)
            append(self._journal, message)
        except OSError as error:
            self._degrade(f"{self.folder} can't be written to ({error})", _BACKFILL)

    def _start(self, tracker: Wandb) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        begin = Begin(tracker, self.folder, self.store, self._results, self._profile, self._uploads)
        append(self._journal, begin)
        with (self.folder / LOG).open("ab") as output:
            # In a session of its own, since a Ctrl-C is the scheduler's; when that dies its stdin ends, and so does it.
            self._sidecar = subprocess.Popen(
                [sys.executable, "-m", "pipelines.tracking.sidecar", str(self._journal)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=apart() | importing() | environment(self.folder),
                start_new_session=True,
            )

    def _degrade(self, why: str, remedy: str) -> None:
        if not self.trouble:
            log.warning("%s; the run goes on. What the store holds is recorded later by: %s", why, remedy)
        self.trouble = why


def _scores(choice: Call) -> list[str]:
    """The keys of the scores that a choice is made by."""
    return [source.key for source in choice.inputs.values() if source.stage is stages.SCORE]


def environment(folder: Path) -> dict[str, str]:
    """All that wandb keeps of recordings lies below their folder, and it reports no errors of its own to anybody."""
    places = {"WANDB_DATA_DIR": folder / ".data", "WANDB_CACHE_DIR": folder / ".cache"}
    return {name: str(path) for name, path in places.items()} | {"WANDB_ERROR_REPORTING": "false"}


def groups(calls: Sequence[Call]) -> dict[str, str]:
    """The key of each call -> the first table that asks for it, of the reports among the calls."""
    found: dict[str, str] = {}
    for report in calls:
        if isinstance(report.params, stages.ReportParams):
            for cell in report.params.cells:
                waiting = [report.inputs[name] for name in cell.artifacts.values()]
                while waiting:
                    call = waiting.pop()
                    if call.key not in found:
                        found[call.key] = cell.table
                        waiting += call.sources
    return found
